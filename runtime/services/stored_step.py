"""Steps and items of executions as they are stored, or were at an event: read for many at once, seen one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias
from uuid import UUID

from runtime.engine.program import ProgramCache
from runtime.engine.scope import Resolve, nothing_loaded
from runtime.model.errors import BadInput, MaestroError, NotFound
from runtime.model.execution import StepExecution
from runtime.model.identity import Principal
from runtime.services.access import READ_EXECUTIONS, require
from runtime.services.item import NO_PAST
from runtime.services.item_view import MapView
from runtime.services.past import Past, past_of
from runtime.services.step_view import StepView
from runtime.services.watch import unknown
from runtime.store.execution_item import ItemRecords
from runtime.store.execution_record import ExecutionRecords
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards

# An execution as it is, or as it was at an event.
Moment: TypeAlias = tuple[UUID, int | None]


class StoredSteps:
    """Reads them for those who may read executions."""

    def __init__(self, shards: Shards, plans: PlanStore) -> None:
        self._records = ExecutionRecords(shards)
        self._items = ItemRecords(shards)
        self._plans = plans
        self._programs = ProgramCache()

    async def read(
        self, who: Principal, moments: Collection[Moment]
    ) -> dict[Moment, Past | MaestroError]:
        """What is stored of each; NotFound where there is none, BadInput where there is no such event."""
        require(who, READ_EXECUTIONS)
        tenant, ids = who.tenant_id, list(dict.fromkeys(one for one, _ in moments))
        # Before all else is read: what comes in between is there, and not asked for.
        last = {
            one: await self._records.last_sequence(tenant, one)
            for one in dict.fromkeys(one for one, at in moments if at is not None)
        }
        executions = await self._records.get_many(tenant, ids)
        rows, events = await self._records.attempts(tenant, list(executions))
        found: dict[Moment, Past | MaestroError] = {}
        for one, at in moments:
            if one not in executions:
                found[one, at] = unknown(one)
                continue
            stored = Past(executions[one], rows.get(one, ()), events.get(one, ()))
            try:
                found[one, at] = stored if at is None else past_of(stored, at, last[one])
            except MaestroError as error:  # of this event alone
                found[one, at] = error
        return found

    async def view(
        self, who: Principal, stored: Past, *, resolve: Resolve = nothing_loaded
    ) -> StepView:
        """The steps of what is stored; inputs that depend on large values, as far as `resolve` has these."""
        execution = stored.execution
        plan = await self._plans.get(execution.version_id)
        return StepView.of(
            execution,
            self._programs.get(plan),
            execution.version or (str(plan.version) if plan.version else None),
            who.tenant,
            stored.rows,
            stored.events,
            resolve=resolve,
        )

    async def step(
        self, who: Principal, view: StepView, key: str, items: Collection[int]
    ) -> Callable[[int], StepExecution]:
        """How a step (-1) and these items of it are seen; the rows of the items are read at once.

        Raises NotFound when there is no such step. What it gives raises NotFound when there is no such item, and
        BadInput in the past: nobody knows what items were.
        """
        execution = view.execution
        index = view.program.plan.number(key)
        if index is None:
            raise NotFound(
                f"The execution {execution.id} has no step {key!r}.", reason="STEP_NOT_FOUND"
            )
        numbers = [item for item in items if item >= 0] if execution.at is None else []
        found = MapView.of(view, index) if numbers else None
        numbers = [item for item in numbers if found is not None and item < found.total]
        rows = (
            await self._items.rows(who.tenant_id, found.key, numbers) if found and numbers else {}
        )

        def seen(item: int) -> StepExecution:
            if item < 0:
                return view.step(index)
            if execution.at is not None:
                raise BadInput(NO_PAST, reason="NO_PAST", path=("at",))
            if found is None or item >= found.total:
                raise NotFound(
                    f"The execution {execution.id} has no item {item} of this step.",
                    reason="ITEM_NOT_FOUND",
                )
            return found.item(item, rows.get(item, []), None)

        return seen
