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

_NOT_BEGUN: Final = frozenset({StepStatus.READY, StepStatus.PENDING})
# What items of an open map can be of which something is under way: events say more of them than rows.
_UNDER_WAY: Final = frozenset(
    {StepStatus.RUNNING, StepStatus.READY, StepStatus.RETRYING, StepStatus.IN_DOUBT}
)
NO_PAST: Final = "Items of maps are no part of the history: ask for them without `at`."


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
        self, who: Principal, view: StepView, step: int, items: Collection[int]
    ) -> dict[int, StepExecution]:
        """These items; none when the step is no map that has begun, nor those behind the end of its list."""
        require(who, READ_EXECUTIONS)
        found = _map_of(view, step)
        if found is None:
            return {}
        numbers = sorted(one for one in set(items) if 0 <= one < found.total)
        return {one.item: one for one in await self._items_of(who, found, numbers)}

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
        if statuses:
            wanted = found.possible(frozenset(statuses))
            items, is_more = await self._chosen(who, found, wanted, after, limit)
        else:
            behind = min(found.total, after + 2 + limit)
            items = await self._items_of(who, found, range(after + 1, behind))
            is_more = len(items) > limit
        shown = tuple(items[:limit])
        cursors = tuple(str(one.item + 1) for one in shown)
        total = None if statuses else found.total
        return Page(shown, cursors, is_more, after >= 0), total

    async def progress(self, who: Principal, view: StepView, step: int) -> MapProgress | None:
        """How far a map is; None when the step is no map that has begun."""
        require(who, READ_EXECUTIONS)
        found = _map_of(view, step)
        if found is None:
            return None
        begun = await self._begun(who, found, None) if found.is_running else {}
        completed, failed = await self._items.counts(who.tenant_id, found.key)
        rows = await self._items.rows(who.tenant_id, found.key, list(begun))
        running = [found.item(one, rows.get(one, ()), begun[one]).status for one in begun]
        return MapProgress(found.total, completed, failed, running.count(StepStatus.RUNNING))

    async def costs(self, who: Principal, id: UUID, at: int | None) -> dict[int, tuple[Money, ...]]:
        """What the items of each map of an execution cost, in all generations, up to an event if one is given."""
        require(who, READ_EXECUTIONS)
        return await self._items.costs(who.tenant_id, id, at=at)

    async def _items_of(
        self, who: Principal, found: MapView, numbers: Sequence[int]
    ) -> list[StepExecution]:
        """Items by their numbers. The events are read for those alone whose rows do not say all."""
        rows = await self._items.rows(who.tenant_id, found.key, numbers)
        asked = [one for one in numbers if found.has_begins(rows.get(one, ()))]
        begun = await self._begun(who, found, asked) if asked else {}
        return [found.item(one, rows.get(one, ()), begun.get(one)) for one in numbers]

    async def _chosen(
        self, who: Principal, found: MapView, wanted: frozenset[StepStatus], after: int, limit: int
    ) -> tuple[list[StepExecution], bool]:
        """The first items with these statuses behind a number, by rows or as they run; and whether more follow."""
        if not wanted:
            return [], False
        begun: dict[int, ExecutionEvent] = {}
        if found.is_cut_off or (found.is_running and wanted & _UNDER_WAY):
            begun = await self._begun(who, found, None)
        mine = sorted(one for one in begun if one > after)
        rows = await self._items.rows(who.tenant_id, found.key, mine)
        items = {one: found.item(one, rows.get(one, ()), begun[one]) for one in mine}
        numbers = {number for number, one in items.items() if one.status in wanted}
        more = (
            limit + 1 + len(items)
        )  # So many of those that rows speak of may be under way by now.
        tenant, key, is_open = who.tenant_id, found.key, found.is_open
        if by_rows := wanted - {StepStatus.PENDING, StepStatus.RUNNING}:
            chosen = await self._items.chosen(
                tenant, key, after=after, is_open=is_open, statuses=by_rows, limit=more
            )
            numbers.update(one for one in chosen if one not in items and one < found.total)
        if wanted & _NOT_BEGUN:
            ranges = await self._items.ranges(tenant, key, after=after)
            free = (one for one in _between(ranges, after + 1, found.total) if one not in items)
            numbers.update(islice(free, limit + 1))
        first = sorted(numbers)[:limit]
        rest = [one for one in first if one not in items]
        rows = await self._items.rows(tenant, key, rest)
        items |= {one: found.item(one, rows.get(one, ()), None) for one in rest}
        # What has become something else between two statements is left out.
        shown = [items[one] for one in first if items[one].status in wanted]
        if not shown and len(numbers) > limit:
            return await self._chosen(who, found, wanted, first[-1], limit)
        return shown, len(numbers) > limit

    async def _begun(
        self, who: Principal, found: MapView, items: Sequence[int] | None
    ) -> dict[int, ExecutionEvent]:
        """The begins that have no end: of what runs, or of what was under way when the execution was cut off."""
        after = 0 if found.is_cut_off else found.unowned
        return await self._items.under_way(who.tenant_id, found.key, after=after, items=items)


def _between(ranges: Sequence[range], first: int, behind: int) -> Iterator[int]:
    """The numbers that are in none of the ranges, which are in order."""
    for one in ranges:
        yield from range(first, min(one.start, behind))
        first = one.stop
    yield from range(first, behind)


def _map_of(view: StepView, step: int) -> MapView | None:
    return MapView.of(view, step) if 0 <= step < len(view.program.plan.steps) else None
