"""Reads of executions, their steps, events and logs."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import execution_uuid
from resolvers.words import is_storable, storable
from runtime.model.blob import Stored
from runtime.model.blocker import Blocker, foremost
from runtime.model.errors import BadInput, NotFound
from runtime.model.event import EventKind, ExecutionEvent, LogLine
from runtime.model.execution import (
    Execution,
    ExecutionFilter,
    ExecutionOrder,
    MapProgress,
    StepExecution,
    StepStatus,
    step_of,
)
from runtime.model.execution_comparison import ExecutionComparison
from runtime.model.page import Page, PageRequest
from runtime.model.step_table import StepColumn, StepTable
from runtime.model.values import Json, Money, total
from runtime.services.derived_input import InputKey, fitting
from runtime.services.item import NO_PAST
from runtime.services.step_view import StepView

T = TypeVar("T")


def execution(
    context: Context, *, id: str, at: int | None = None
) -> Awaitable[Execution | None] | None:
    """The execution of this id, once it is loaded; None when there is none for this caller.

    As it was `at` an event, if that is given; then it is an error when there is no such execution or event (any more).
    """
    key = execution_uuid(id)
    if at is None:
        return context.loaders.execution.load(key) if key else None
    if key is None:
        raise NotFound("There is no such execution.", reason="EXECUTION_NOT_FOUND")
    return context.loaders.execution_at(key, at)


async def execution_by_key(context: Context, *, key: str) -> Execution | None:
    """The execution that was enqueued with this idempotency key."""
    return await context.executions.find_by_key(context.who, key) if is_storable(key) else None


async def executions(
    context: Context, *, filter: ExecutionFilter, page: PageRequest, order: ExecutionOrder
) -> Page[Execution]:
    """A page of the tenant's executions, in this order."""
    return await context.executions.list(context.who, filter, page, order=order)


async def count_executions(context: Context, *, filter: ExecutionFilter) -> tuple[int, bool]:
    """How many executions a filter lets through, and whether counting stopped at its cap."""
    return await context.executions.count(context.who, filter)


async def steps(
    context: Context, *, execution_id: UUID, at: int | None = None
) -> tuple[StepExecution, ...]:
    """The steps of an execution's newest generation, in order of the plan."""
    return await context.loaders.steps_at(execution_id, at)


async def step_tables(
    context: Context, *, execution_ids: Sequence[UUID], columns: frozenset[StepColumn]
) -> list[StepTable | tuple[StepExecution, ...] | None]:
    """The steps of several executions, in their order: in columns where rows alone say everything.

    Whatever else a request asks of steps at the same time is read with them.
    """
    return await context.loaders.step_tables.load((tuple(execution_ids), columns))


async def blocker(context: Context, *, execution_id: UUID, at: int | None = None) -> Blocker | None:
    """Why nothing of an execution runs: the cause that ends first; None when something runs, or it has ended."""
    execution = await context.loaders.execution_at(execution_id, at)
    if execution is None or execution.status.is_terminal:
        return None
    found = await steps(context, execution_id=execution_id, at=at)
    standing = await context.loaders.standing.load(execution_id)
    if standing is None:
        return None
    blockers = {step.key: step.blocked(standing) for step in found}
    if any(step.status is StepStatus.RUNNING and not blockers[step.key] for step in found):
        return None
    return foremost([one for one in blockers.values() if one is not None])


async def comparison(context: Context, *, a: str, b: str) -> ExecutionComparison:
    """Two executions beside each other; raises NotFound, saying which, when there is none for this caller."""
    keys = []
    for name, given in (("a", a), ("b", b)):
        key = execution_uuid(given)
        if key is None or await context.loaders.execution.load(key) is None:
            raise NotFound(
                f"There is no execution `{name}`.", reason="EXECUTION_NOT_FOUND", path=(name,)
            )
        keys.append(key)
    return await context.executions.compare(context.who, *keys)


async def stack(
    context: Context, *, execution_id: UUID, step_key: str, at: int | None = None
) -> str | None:
    """Where the failure of a step was raised, for who may see it."""
    found = await steps(context, execution_id=execution_id, at=at)
    step = step_of(found, step_key)
    return None if step is None or step.error is None else step.error.stack


async def cost(context: Context, *, execution_id: UUID, at: int | None = None) -> tuple[Money, ...]:
    """What the steps of an execution cost: an amount for each currency."""
    found = await steps(context, execution_id=execution_id, at=at)
    spent = [one for step in found for one in step.costs]
    if any(step.items is not None for step in found):
        of_items = await context.loaders.item_costs.load((execution_id, at))
        spent += [one for costs in of_items.values() for one in costs]
    return total(spent)


async def step_cost(context: Context, *, step: StepExecution) -> tuple[Money, ...]:
    """What a step cost, that of a map with its items."""
    of_items = await context.loaders.item_costs.load((step.execution_id, step.at))
    return total((*step.costs, *of_items.get(step.index, ())))


async def items(
    context: Context,
    *,
    step: StepExecution,
    after: int,
    limit: int,
    statuses: Sequence[StepStatus],
) -> tuple[Page[StepExecution], int | None] | None:
    """The items of a map behind the first `after`, and how many there are; None of what is no map that has begun."""
    view = await _view_of(context, step)
    if view is None:
        return None
    return await context.executions.items.page(
        context.who, view, step.index, after=after - 1, limit=limit, statuses=statuses
    )


async def progress(context: Context, *, step: StepExecution) -> MapProgress | None:
    """How far a map is; None of what is no map that has begun."""
    if not _has_items(step):
        return None
    return await context.loaders.progress.load((step.execution_id, step.index))


async def _view_of(context: Context, step: StepExecution) -> StepView | None:
    return await context.loaders.view.load(step.execution_id) if _has_items(step) else None


def _has_items(step: StepExecution) -> bool:
    """Whether it is a map that has begun; raises BadInput for what is shown as it was."""
    if step.items is None:
        return False
    if step.at is not None:
        raise BadInput(NO_PAST, reason="NO_PAST")
    return True


async def shown(context: Context, *, execution_id: UUID, value: Stored) -> Json:
    """A value of an execution, or None when it is too large to be part of an answer."""
    return await context.artifacts.shown(context.who, execution_id, value)


async def step_input(context: Context, *, step: StepExecution) -> Json:
    """What a step was called with, derived from large values where it must be; None when it is too large."""
    if step.input_missing is None:
        return fitting(step.input)
    key = InputKey(step.execution_id, step.key, step.item, step.at)
    return await context.loaders.step_input.load(key)


async def events(
    context: Context,
    *,
    execution_id: UUID,
    after: int,
    limit: int,
    kinds: Sequence[EventKind],
    at: int | None = None,
) -> Page[ExecutionEvent]:
    """Events after a sequence number, in order; up to the event `at`, if that is given."""
    found = await context.executions.events(
        context.who, execution_id, after=after, limit=limit + 1, kinds=kinds, until=at
    )
    return _page(found[:limit], [str(event.sequence) for event in found], after, limit)


async def logs(
    context: Context,
    *,
    execution_id: UUID,
    step_key: str | None,
    after: int,
    limit: int,
    item: int | None = None,
    at: int | None = None,
) -> Page[LogLine]:
    """Log lines after a position, in order; raises BadInput for what is shown as it was: no event tells of a line."""
    if at is not None:
        raise BadInput(
            "Logs are no part of the history: ask for them without `at`.", reason="NO_PAST"
        )
    found = await context.executions.logs(
        context.who,
        execution_id,
        step_key=storable("stepKey", step_key),
        item=item,
        after=after,
        limit=limit + 1,
    )
    return _page(found[:limit], [str(line.position) for line in found], after, limit)


def _page(items: Sequence[T], cursors: Sequence[str], after: int, limit: int) -> Page[T]:
    return Page(tuple(items), tuple(cursors[:limit]), len(cursors) > limit, after > 0)
