"""Which executions changed, in the order of finished transactions: what subscriptions to lists live on.

The feed of the event bus says it; it is written only while somebody wants it. A process with subscribers keeps a row
among the cursors of handlers, and lets it follow some minutes behind: a client that comes back within
them, to this process or another, misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.event import EventKind
from runtime.store.shards import Shards
from runtime.store.statements import statements

# No handler can have such a name: handlers are named by words.
READER: Final = ":changes:"

_SQL: Final = statements("change_feed")
_ALL_KINDS: Final = sum(1 << kind for kind in EventKind)
_ROWS: Final = 500


class Mark(NamedTuple):
    """A place in the feed of one shard: behind this row of this transaction."""

    xact: int
    n: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """What comes after a place: executions, where they end, and whether there is more already.

    `is_behind`: some transaction is under way that may belong to what was rung for.
    """

    executions: tuple[UUID, ...]
    mark: Mark
    is_full: bool
    is_behind: bool


class ChangeFeed:
    """The feed of every shard, as one reader sees it."""

    def __init__(self, shards: Shards, name: str) -> None:
        self._shards = shards
        self._name = f"{READER}{name}"

    @property
    def shards(self) -> range:
        """The shards that have a feed."""
        return range(self._shards.count)

    async def join(self, shard: int, lease_seconds: float) -> int:
        """Have the feed written from now on; the number below which transactions may not know of it."""
        async with self._shards.database(shard).engine() as connection:
            await connection.execute(_SQL["join"], self._name, shard, _ALL_KINDS, lease_seconds)
            row = await connection.fetchrow(_SQL["bounds"])
        return int(row["newest"])

    async def begin(self, shard: int, unaware: int) -> Mark | None:
        """The place from which on the feed is whole; None while one is under way who does not know of it."""
        async with self._shards.database(shard).engine() as connection:
            oldest = (await connection.fetchrow(_SQL["bounds"]))["oldest"]
            if oldest < unaware:
                return None
            await connection.execute(_SQL["ready"], self._name, shard, oldest)
        return Mark(oldest)

    async def read(self, shard: int, after: Mark) -> Piece:
        """What changed after a place, up to the oldest transaction under way."""
        async with self._shards.database(shard).engine() as connection:
            rows = await connection.fetch(_SQL["read"], shard, *after, _ROWS)
        found = [row for row in rows if row["xact"] is not None]
        is_full = len(found) == _ROWS
        oldest, newest = rows[0]["oldest"], rows[0]["newest"]
        mark = Mark(found[-1]["xact"], found[-1]["n"]) if is_full else Mark(oldest)
        ids = dict.fromkeys(one for row in found for one in row["executions"])
        return Piece(tuple(ids), max(after, mark), is_full, oldest < newest)

    async def keep(self, shard: int, mark: Mark, lease_seconds: float) -> bool:
        """Say that one is alive and needs nothing before a place; not when one was forgotten meanwhile."""
        async with self._shards.database(shard).engine() as connection:
            kept = await connection.fetchval(
                _SQL["keep"], self._name, shard, mark.xact, lease_seconds
            )
        return kept is not None

    async def is_kept(self, shard: int, mark: Mark) -> bool:
        """Whether everything since a place is still there."""
        async with self._shards.database(shard).engine() as connection:
            return bool(await connection.fetchval(_SQL["is_kept"], shard, mark.xact))

    async def leave(self) -> None:
        """Need nothing any more."""
        for database in self._shards.databases:
            async with database.engine() as connection:
                await connection.execute(_SQL["leave"], self._name)

    async def owners(self, shard: int, executions: Sequence[UUID]) -> dict[UUID, UUID]:
        """The tenant of each execution that exists."""
        if not executions:
            return {}
        async with self._shards.database(shard).engine() as connection:
            rows = await connection.fetch(
                _SQL["owners"], shard, list(executions), min(executions), max(executions)
            )
        return {row["id"]: row["tenant_id"] for row in rows}
