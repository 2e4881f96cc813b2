"""Chunks of maps: items that the owner of an execution lends to other workers of its shard (ADR-083).

The lender's and the helper's calls are fenced, each by its own seat. What became of a chunk is text to this
store: the worker writes it and reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.checkpoint import OwnedExecution
from runtime.store.pool import Database
from runtime.store.statements import statements

_SQL: Final = statements("map_chunk")
_OWNED: Final = len(OwnedExecution._fields)


class ChunkKey(NamedTuple):
    """Which chunk of an execution: who lent it, and the number that its lender gave it."""

    execution: UUID
    lender: int
    number: int


class TakenChunk(NamedTuple):
    """A chunk that is this worker's to run: items by their numbers, each with the attempt that it is."""

    key: ChunkKey
    execution: OwnedExecution
    step: int
    items: tuple[tuple[int, int], ...]


class LentChunk(NamedTuple):
    """A chunk as its lender finds it: back, with what became of it if that is told, or still under way."""

    key: ChunkKey
    step: int
    items: tuple[tuple[int, int], ...]
    is_back: bool
    is_lost: bool
    outcomes: str | None


class MapChunks:
    """The chunks of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lend(
        self,
        seat: tuple[int, int, int],
        execution: UUID,
        number: int,
        step: int,
        items: Sequence[tuple[int, int]],
    ) -> bool:
        """Offer items of an own execution to the others; False when it is not owned. Raises Fenced, Unavailable."""
        numbers, attempts = [one for one, _ in items], [attempt for _, attempt in items]
        found = await self._value("lend", *seat, execution, number, step, numbers, attempts)
        return bool(found)

    async def take(self, seat: tuple[int, int, int]) -> TakenChunk | None:
        """The oldest chunk that nobody has; None when there is none. Raises Fenced, Unavailable."""
        async with self._database.worker() as connection:
            row = await connection.fetchrow(_SQL["take"], *seat)
        if row is None:
            return None
        owned = OwnedExecution._make(tuple(row)[:_OWNED])
        key = ChunkKey(owned.id, row["lender"], row["number"])
        return TakenChunk(key, owned, row["step"], _items(row))

    async def end(self, seat: tuple[int, int, int], key: ChunkKey, outcomes: str) -> bool:
        """Leave what became of a chunk; False when it is not this seat's. Raises Fenced, Unavailable."""
        return bool(await self._value("end", *seat, *key, outcomes))

    async def held(self, seat: tuple[int, int, int]) -> dict[ChunkKey, str | None]:
        """The chunks that this seat still has to run, and why they are to stop if they are."""
        async with self._database.worker() as connection:
            rows = await connection.fetch(_SQL["held"], *seat)
        return {ChunkKey(*tuple(row)[:3]): row["stop"] for row in rows}

    async def back(
        self,
        seat: tuple[int, int, int],
        execution: UUID,
        *,
        patience_seconds: float,
        stop: tuple[int, str] | None = None,
    ) -> list[LentChunk]:
        """All chunks of an own execution. Fetched, and gone, are those that ended, lost their helper, or found none.

        `stop`: the step whose items are to end, and why. Raises Fenced, Unavailable.
        """
        async with self._database.worker() as connection:
            arguments = (*seat, execution, patience_seconds, *(stop or (None, None)))
            rows = await connection.fetch(_SQL["back"], *arguments)
        return [
            LentChunk(
                ChunkKey(execution, row["lender"], row["number"]),
                row["step"],
                _items(row),
                row["is_back"],
                row["is_lost"],
                row["outcomes"],
            )
            for row in rows
        ]

    async def others(self, shard: int, me: int) -> int:
        """How many other workers serve the shard now."""
        return int(await self._value("others", shard, me))

    async def sweep(self, shard: int) -> int:
        """Forget what was lent of executions that run no more; how many chunks."""
        return int(await self._value("sweep", shard))

    async def _value(self, name: str, *arguments: object) -> Any:
        async with self._database.worker() as connection:
            return await connection.fetchval(_SQL[name], *arguments)


def _items(row: Any) -> tuple[tuple[int, int], ...]:
    return tuple(zip(row["items"], row["attempts"], strict=True))
