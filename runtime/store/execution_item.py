"""Items of maps as people read them: their rows, those under way, how many have ended and what they cost.

A map over a hundred thousand items has as many rows and twice as many events, so nothing here reads all of them into
memory: pages are read by their numbers, the rest is counted where it lies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.blocker import WaitingItem
from runtime.model.event import ExecutionEvent
from runtime.model.execution import StepStatus
from runtime.model.values import Money
from runtime.store.execution_record import AttemptRow, attempt_of, event_of
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("execution_item")
_NO_END: Final = 2**31 - 1


class OpenedMap(NamedTuple):
    """Which items are asked for: of a step, opened with the event `sequence` in a generation.

    Items that completed from the generation `first` on still count.
    """

    execution_id: UUID
    step: int
    sequence: int
    generation: int
    first: int


class ItemRecords:
    """Reads of items, each from the database that holds their execution."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def rows(
        self, tenant: UUID, one: OpenedMap, items: Sequence[int]
    ) -> dict[int, list[AttemptRow]]:
        """The attempts of these items in all generations, in order."""
        found: dict[int, list[AttemptRow]] = {}
        for row in await self._fetch(tenant, one, "rows", list(items)) if items else ():
            found.setdefault(row["item"], []).append(attempt_of(row))
        return found

    async def chosen(
        self,
        tenant: UUID,
        one: OpenedMap,
        *,
        after: int,
        is_open: bool,
        statuses: Collection[StepStatus],
        limit: int,
    ) -> list[int]:
        """The first items behind a number whose rows say one of these statuses, in order."""
        numbers = sorted(int(status) for status in statuses)
        counting = (one.first, one.generation, is_open)
        rows = await self._fetch(tenant, one, "chosen", after, *counting, numbers, limit)
        return [row["item"] for row in rows]

    async def ranges(self, tenant: UUID, one: OpenedMap, *, after: int) -> list[range]:
        """The items behind a number of which some row counts, in order."""
        rows = await self._fetch(tenant, one, "ranges", after, one.first, one.generation)
        return [range(row["low"], row["high"]) for row in rows]

    async def under_way(
        self, tenant: UUID, one: OpenedMap, *, after: int, items: Sequence[int] | None = None
    ) -> dict[int, ExecutionEvent]:
        """Of all items, or of these, the newest begin of each that began behind the event `after` and has not ended."""
        rows = await self._fetch(tenant, one, "under_way", max(after, one.sequence), items)
        return {row["item"]: event_of(row) for row in rows}

    async def counts(self, tenant: UUID, one: OpenedMap) -> tuple[int, int]:
        """How many items have completed, and how many failed for good."""
        (row,) = await self._fetch(tenant, one, "counts", one.first, one.generation)
        return row["completed"], row["failed"]

    async def costs(
        self, tenant: UUID, execution: UUID, *, at: int | None = None
    ) -> dict[int, tuple[Money, ...]]:
        """What the items of each map cost in all generations, up to an event if one is given."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            rows = await connection.fetch(_SQL["costs"], tenant, execution, at or _NO_END)
        found: dict[int, tuple[Money, ...]] = {}
        for row in sorted(rows, key=lambda row: str(row["currency"])):
            money = Money(row["amount"], row["currency"])
            found[row["step"]] = (*found.get(row["step"], ()), money)
        return found

    async def waiting(
        self, tenant: UUID, ids: Sequence[UUID]
    ) -> Mapping[UUID, dict[int, WaitingItem]]:
        """Of each map of these executions the item that goes on first, of those that wait."""
        found: dict[UUID, dict[int, WaitingItem]] = {}
        for database, some in self._shards.grouped(ids).items() if ids else ():
            arguments = (tenant, some, min(some), max(some))
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_SQL["parked"], *arguments)
            for row in rows:
                found.setdefault(row["execution_id"], {})[row["step"]] = _waiting_item(row)
        return found

    async def _fetch(self, tenant: UUID, one: OpenedMap, name: str, *more: object) -> list[Any]:
        arguments = (tenant, one.execution_id, one.step, *more)
        async with self._shards.holding(one.execution_id).tenant(tenant) as connection:
            rows: list[Any] = await connection.fetch(_SQL[name], *arguments)
            return rows


def _waiting_item(row: Any) -> WaitingItem:
    since = row["started_at"] if row["is_open"] else row["finished_at"]
    until = None if row["is_open"] else row["until"]
    return WaitingItem(row["item"], row["waiting"], row["attempt"], since, until, row["error"])
