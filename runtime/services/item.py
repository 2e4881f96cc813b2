"""ItemService: the items of maps, in pages, one by one and counted; of executions as they are.

What they were at an event nobody can ask: the past is told by events, and a map has twice as many of them as items.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from runtime.model.event import ExecutionEvent
from runtime.model.execution import MapProgress, StepExecution, StepStatus
from runtime.model.identity import Principal
from runtime.model.page import Page
from runtime.model.values import Money
from runtime.services.access import READ_EXECUTIONS, require
from runtime.services.item_view import MapView
from runtime.services.past import Past
from runtime.services.step_view import StepView
from runtime.store.execution_item import ItemRecords
from runtime.store.execution_record import ExecutionRecords

CHUNK: Final = 1_000
_NOT_BEGUN: Final = frozenset({StepStatus.READY, StepStatus.PENDING})
_ONLY_IN_OPEN: Final = frozenset({StepStatus.READY, StepStatus.RUNNING, StepStatus.RETRYING})
_NEVER_IN_OPEN: Final = frozenset({StepStatus.PENDING})
# What was stopped begins again, as long as its map is open.
_STOPPED: Final = frozenset({StepStatus.CANCELLED})
NO_PAST: Final = "Items of maps are no part of the history: ask for them without `at`."
# Which rows an item of this status may have; an item is never in a status that is not here.
_ROWS: Final = {
    StepStatus.RUNNING: frozenset[StepStatus](),
    StepStatus.READY: frozenset[StepStatus](),
    StepStatus.PENDING: frozenset[StepStatus](),
    StepStatus.RETRYING: frozenset(
        {StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.CANCELLED, StepStatus.IN_DOUBT}
    ),
    StepStatus.IN_DOUBT: frozenset({StepStatus.IN_DOUBT, StepStatus.RUNNING}),
    StepStatus.COMPLETED: frozenset({StepStatus.COMPLETED}),
    StepStatus.FAILED: frozenset({StepStatus.FAILED}),
    StepStatus.TIMED_OUT: frozenset({StepStatus.TIMED_OUT}),
    StepStatus.CANCELLED: frozenset(
        {StepStatus.CANCELLED, StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.IN_DOUBT}
    ),
}


class ItemService:
    """What callers may know of items."""

    def __init__(
        self,
        records: ExecutionRecords,
        items: ItemRecords,
        view: Callable[[Principal, Past], Awaitable[StepView]],
    ) -> None:
        self._records = records
        self._items = items
        self._view = view

    async def views(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, StepView]:
        """What is stored of the steps of these executions, read once for all that is asked about their items."""
        require(who, READ_EXECUTIONS)
        executions = await self._records.get_many(who.tenant_id, ids)
        rows, events = await self._records.attempts(who.tenant_id, list(executions))
        return {
            one: await self._view(who, Past(execution, rows.get(one, ()), events.get(one, ())))
            for one, execution in executions.items()
        }

    async def find(
        self, who: Principal, view: StepView, step: int, item: int
    ) -> StepExecution | None:
        """One item; None when the step is no map that has begun, or its list is shorter."""
        require(who, READ_EXECUTIONS)
        found = _map_of(view, step)
        if found is None or not 0 <= item < found.total:
            return None
        begun = await self._under_way(who, found)
        rows = await self._items.rows(who.tenant_id, found.key, [item])
        return found.item(item, rows.get(item, ()), begun.get(item))

    async def page(
        self,
        who: Principal,
        view: StepView,
        step: int,
        *,
        after: int,
        limit: int,
        statuses: Collection[StepStatus] = (),
    ) -> tuple[Page[StepExecution], int | None] | None:
        """The items behind a number, in the order of the list, and how many there are, unless statuses are named."""
        require(who, READ_EXECUTIONS)
        found = _map_of(view, step)
        if found is None:
            return None
        begun = await self._under_way(who, found)
        items: list[StepExecution] = []
        last, wanted = after, frozenset(statuses)
        looked = wanted - (_NEVER_IN_OPEN if found.is_open else _ONLY_IN_OPEN)
        while len(items) <= limit and (looked or not wanted):
            size = CHUNK if wanted else limit + 1
            numbers = await self._numbers(who, found, looked, last, size, begun)
            rows = await self._items.rows(who.tenant_id, found.key, numbers)
            seen = (found.item(one, rows.get(one, ()), begun.get(one)) for one in numbers)
            items += [one for one in seen if not wanted or one.status in wanted]
            if len(numbers) < size:
                break
            last = numbers[-1]
        shown = tuple(items[:limit])
        cursors = tuple(str(one.item + 1) for one in shown)
        total = None if wanted else found.total
        return Page(shown, cursors, len(items) > limit, after >= 0), total

    async def progress(self, who: Principal, view: StepView, step: int) -> MapProgress | None:
        """How far a map is; None when the step is no map that has begun."""
        require(who, READ_EXECUTIONS)
        found = _map_of(view, step)
        if found is None:
            return None
        begun = await self._under_way(who, found)
        completed, failed = await self._items.counts(who.tenant_id, found.key)
        rows = await self._items.rows(who.tenant_id, found.key, list(begun))
        running = [found.item(one, rows.get(one, ()), begun[one]).status for one in begun]
        return MapProgress(found.total, completed, failed, running.count(StepStatus.RUNNING))

    async def costs(self, who: Principal, id: UUID, at: int | None) -> dict[int, tuple[Money, ...]]:
        """What the items of each map of an execution cost, in all generations, up to an event if one is given."""
        require(who, READ_EXECUTIONS)
        return await self._items.costs(who.tenant_id, id, at=at)

    async def _under_way(self, who: Principal, found: MapView) -> dict[int, ExecutionEvent]:
        if not found.is_running:
            return {}
        return await self._items.under_way(who.tenant_id, found.key, after=found.unowned)

    async def _numbers(
        self,
        who: Principal,
        found: MapView,
        wanted: frozenset[StepStatus],
        last: int,
        size: int,
        begun: dict[int, ExecutionEvent],
    ) -> list[int]:
        """Behind `last` the next items that may have one of these statuses, in order; fewer than `size`: all."""
        if not wanted:
            return list(range(last + 1, min(found.total, last + 1 + size)))
        numbers = {one for one in begun if one > last}
        if statuses := frozenset[StepStatus]().union(*(_ROWS.get(one, ()) for one in wanted)):
            numbers.update(
                await self._items.numbers(
                    who.tenant_id, found.key, after=last, statuses=statuses, limit=size
                )
            )
        if wanted & _NOT_BEGUN:
            rows = await self._items.ranges(who.tenant_id, found.key, after=last, but=_STOPPED)
            numbers.update(islice(_between(rows, last + 1, found.total), size))
        return sorted(one for one in numbers if one < found.total)[:size]


def _between(ranges: Sequence[range], first: int, behind: int) -> Iterator[int]:
    """The numbers that are in none of the ranges, which are in order."""
    for one in ranges:
        yield from range(first, min(one.start, behind))
        first = one.stop
    yield from range(first, behind)


def _map_of(view: StepView, step: int) -> MapView | None:
    return MapView.of(view, step) if 0 <= step < len(view.program.steps) else None
