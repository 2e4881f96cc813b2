"""Shards: the databases of a process, and which of them holds what.

Made once by the bootstrap and handed to whoever reads or writes what belongs to executions; the
catalog (tenants, workflows, versions) is always `catalog`. With one database there is one shard, and
everything here is a look-up in a tuple.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar
from uuid import UUID

from runtime.model.errors import Unavailable
from runtime.model.ids import SLOTS, slot_for, slot_of
from runtime.model.shard_map import ShardMap
from runtime.store.pool import Database
from runtime.telemetry.log import get_logger

T = TypeVar("T")

_log = get_logger("store.shards")


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """What the databases answered that did, and the names of those that did not."""

    answers: tuple[T, ...]
    silent: tuple[str, ...] = ()


class Shards:
    """The databases of a shard map, connected."""

    def __init__(self, shard_map: ShardMap, databases: Iterable[Database]) -> None:
        """`databases` in the order of the map's places."""
        self.map = shard_map
        self.count = shard_map.total
        self.databases = tuple(databases)
        held = {
            shard: database
            for place, database in zip(shard_map.places, self.databases, strict=True)
            for shard in place.shards
        }
        self._held = tuple(held[shard] for shard in range(self.count))

    @classmethod
    def single(cls, database: Database) -> Self:
        """One database with one shard."""
        return cls(ShardMap.single(database.url), (database,))

    @classmethod
    async def open(cls, shard_map: ShardMap) -> Self:
        """Connect them all; those that do not answer are connected when they do, if at least one does."""
        patient = len(shard_map.places) > 1
        opened = await asyncio.gather(
            *(
                Database.open(
                    place.url, shards=place.shards, total=shard_map.total, patient=patient
                )
                for place in shard_map.places
            ),
            return_exceptions=True,
        )
        databases = [found for found in opened if isinstance(found, Database)]
        refusals = [found for found in opened if isinstance(found, BaseException)]
        away = [database.absent for database in databases if database.absent is not None]
        if refusals or len(away) == len(databases):
            for database in databases:
                await database.close()
            raise next(iter((*refusals, *away)))
        for reason in away:
            _log.error("database_away", reason=str(reason))
        return cls(shard_map, databases)

    @property
    def catalog(self) -> Database:
        """The database of tenants, workflows and versions."""
        return self.databases[0]

    def shard_of(self, execution_id: UUID) -> int:
        """The shard of an execution."""
        return 0 if self.count == 1 else slot_of(execution_id) * self.count // SLOTS

    def shard_of_slot(self, slot: int) -> int:
        """The shard that a slot falls into."""
        return slot * self.count // SLOTS

    def database(self, shard: int) -> Database:
        """The database that holds a shard."""
        return self._held[shard]

    def holding(self, execution_id: UUID) -> Database:
        """The database that holds an execution and what belongs to it."""
        return self._held[self.shard_of(execution_id)]

    def of_tenant(self, tenant: UUID, *, spread: bool) -> tuple[Database, ...]:
        """The databases in which executions of a tenant may be: one, unless it is spread."""
        if spread or len(self.databases) == 1:
            return self.databases
        return (self._held[self.shard_of_slot(slot_for(str(tenant)))],)

    def of_key(self, tenant: UUID, key: str, *, spread: bool) -> Database:
        """The database of the execution that a key was used for: the key is there with it."""
        parts = (str(tenant), key) if spread else (str(tenant),)
        return self._held[self.shard_of_slot(slot_for(*parts))]

    def grouped(self, ids: Iterable[UUID]) -> dict[Database, list[UUID]]:
        """Ids of executions by the database that holds them."""
        if len(self.databases) == 1:
            return {self.catalog: list(ids)}
        found: defaultdict[Database, list[UUID]] = defaultdict(list)
        for one in ids:
            found[self.holding(one)].append(one)
        return found

    async def gather(
        self, databases: Iterable[Database], ask: Callable[[Database], Awaitable[T]]
    ) -> Gathered[T]:
        """Ask several databases at once; one that is away is named, and raises only when none answers."""
        asked = tuple(databases)
        if len(asked) == 1:
            return Gathered((await ask(asked[0]),))
        found = await asyncio.gather(*map(ask, asked), return_exceptions=True)
        answers: list[T] = []
        silent: list[str] = []
        for database, answer in zip(asked, found, strict=True):
            if isinstance(answer, Unavailable):
                silent.append(self.name_of(database))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers.append(answer)
        if not answers:
            raise next(error for error in found if isinstance(error, Unavailable))
        return Gathered(tuple(answers), tuple(silent))

    def name_of(self, database: Database) -> str:
        """What the map calls a database."""
        return self.map.places[self.databases.index(database)].name

    def named(self, name: str) -> Database:
        """The database of a name; raises SetupError when the map has none."""
        return self.databases[self.map.places.index(self.map.place(name))]

    async def close(self) -> None:
        """Close all connections of all databases."""
        await asyncio.gather(*(database.close() for database in self.databases))
