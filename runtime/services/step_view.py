"""The steps of an execution as people see them, derived from plan, rows and events; of what is over, without events.

Stored are only outcomes and open calls; what is pending, ready, running or between two attempts follows
from them by the same replay that a worker does when it takes over. The input is rendered again from the
plan and upstream outputs, with every secret as `***`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from runtime.engine.blocking import Blocking
from runtime.engine.keeping import called_in
from runtime.engine.program import Program, StepProgram
from runtime.engine.replay import rebuild
from runtime.engine.rewinding import earlier_inputs
from runtime.engine.routes import is_ready, sees_as
from runtime.engine.scope import MASKED, Resolve, nothing_loaded, scope_of
from runtime.engine.state import COMPLETED, ExecutionState, Phase, RunInfo
from runtime.engine.waiting_facts import number_of, text_of
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, NotLoaded, Stored, stored
from runtime.model.blocker import Blocker, Standing
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent
from runtime.model.execution import (
    CachedFrom,
    Execution,
    ExecutionError,
    ExecutionStatus,
    StepAttempt,
    StepExecution,
    StepStatus,
    no_input,
    not_blocked,
)
from runtime.model.plan import Plan, StepPlan
from runtime.model.values import Json, Money, total
from runtime.services.opening import Opening, openings
from runtime.store.execution_record import AttemptRow
from runtime.store.execution_row import error_of

_NOT_REACHED: Final = frozenset({StepStatus.PENDING, StepStatus.READY, StepStatus.SKIPPED})
# How steps end for which nothing more is done, in an older generation too.
_SETTLED: Final = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.SKIPPED,
        StepStatus.FAILED,
        StepStatus.TIMED_OUT,
        StepStatus.CANCELLED,
        StepStatus.IN_DOUBT,
    }
)
_ENDED_WELL: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
# What of the events tells started, waiting and retried steps apart.
_READ: Final = frozenset(
    {kind for kind in EventKind if kind.name.startswith("STEP_") and "_CALL_" not in kind.name}
    | {
        EventKind.EXECUTION_WAITING,
        EventKind.EXECUTION_REWOUND,
        EventKind.EXECUTION_RETRIED,
        EventKind.EXECUTION_TAKEN_OVER,
        EventKind.EXECUTION_COMPENSATING,
        EventKind.MAP_OPENED,
        EventKind.CHILD_STARTED,
        EventKind.HUMAN_TASK_CREATED,
    }
)
# What of the events the replay reads here.
_MARKS: Final = frozenset(
    {
        EventKind.EXECUTION_REWOUND,
        EventKind.EXECUTION_RETRIED,
        EventKind.EXECUTION_COMPENSATING,
        EventKind.STEP_COMPENSATED,
        EventKind.STEP_JOINED,
        EventKind.MAP_OPENED,
        EventKind.CHILD_STARTED,
        EventKind.HUMAN_TASK_CREATED,
    }
)
_STILL_GOING: Final = frozenset(
    {
        StepStatus.PENDING,
        StepStatus.READY,
        StepStatus.RUNNING,
        StepStatus.RETRYING,
        StepStatus.WAITING,
    }
)

# What expressions saw in a generation: all of them, or one step that does not see all.
Scope: TypeAlias = Callable[[int, int | None], dict[str, object]]


class _Phase(NamedTuple):
    """Of the present generation: the event at which nobody had it, and doubts of which nothing came yet."""

    unowned: int
    settled: frozenset[Json]


def _phase(now: Sequence[ExecutionEvent]) -> _Phase:
    newest = {e.field("step"): e.kind for e in now if e.field("step") is not None}
    return _Phase(
        max((e.sequence for e in now if _is_unowned(e)), default=0),
        frozenset(s for s, kind in newest.items() if kind is EventKind.STEP_DOUBT_SETTLED),
    )


def _is_unowned(event: ExecutionEvent) -> bool:
    """Whether nobody owned the execution at this event: it was parked, or given to nobody."""
    if event.kind is EventKind.EXECUTION_TAKEN_OVER:
        return event.field("worker") is None
    return event.kind is EventKind.EXECUTION_WAITING


def steps_of(
    execution: Execution,
    program: Program,
    version: str | None,
    tenant: str,
    rows: Sequence[AttemptRow],
    events: Sequence[ExecutionEvent],
    *,
    resolve: Resolve = nothing_loaded,
    only: int | None = None,
    stacks: bool = False,
) -> tuple[StepExecution, ...]:
    """Every step of the newest generation, in the order of the plan; rows and events of items are not among these.

    Inputs that depend on a large value are left out unless `resolve` has it; `stacks` says whether the caller may see
    where in the code of a step its failure was raised.
    """
    view = StepView.of(
        execution, program, version, tenant, rows, events, resolve=resolve, stacks=stacks
    )
    return view.steps() if only is None else (view.step(only),)


@dataclass(frozen=True, slots=True)
class StepView:
    """What rows and events say of an execution, read once; its steps, and the items of its maps, are derived from it.

    `opened` are the newest openings of maps that still count, `started` the newest begins of this generation,
    `children` the newest starts of children, `undoing` the steps that are undone, or are to be.
    """

    execution: Execution
    program: Program
    state: ExecutionState
    scope: Scope
    phase: _Phase
    blocking: Blocking
    rows: Mapping[int, list[AttemptRow]]
    started: Mapping[Json, ExecutionEvent]
    retried: Sequence[ExecutionEvent]
    opened: Mapping[int, Opening]
    children: Mapping[Json, ExecutionEvent]
    undoing: frozenset[int]
    stacks: bool

    @classmethod
    def of(
        cls,
        execution: Execution,
        program: Program,
        version: str | None,
        tenant: str,
        rows: Sequence[AttemptRow],
        events: Sequence[ExecutionEvent],
        *,
        resolve: Resolve = nothing_loaded,
        stacks: bool = False,
    ) -> StepView:
        """From what is stored of steps; arguments are those of `steps_of`."""
        rows = [row for row in rows if not row.is_withdrawn]
        blocking = Blocking(program.plan, execution, events)
        events = [event for event in events if event.kind in _READ]
        retried = [event for event in events if event.kind in BEGINS_AGAIN]
        begins = retried[-1].sequence if retried else 0
        now = [event for event in events if event.sequence > begins]
        state = _state(execution, program, version, tenant, rows, events)
        return cls(
            execution,
            program,
            state,
            cache(partial(_scope, state, resolve, earlier_inputs(retried))),
            _phase(now),
            blocking,
            _by_step(rows),
            {e.field("step"): e for e in now if e.kind is EventKind.STEP_STARTED},
            retried,
            openings(events),
            {e.field("step"): e for e in events if e.kind is EventKind.CHILD_STARTED},
            frozenset(state.completed if state.phase is Phase.UNDOING else ()),
            stacks,
        )

    def generations(self, event: ExecutionEvent) -> tuple[int, int]:
        """The oldest generation that counted when this was told, and the one that told it."""
        before = [one for one in self.retried if one.sequence < event.sequence]
        anew = [n for n, e in enumerate(before, 1) if e.field("from_failed_step") is False]
        return max(anew, default=0), len(before)

    def sight(self, step: int, generation: int) -> dict[str, object]:
        """What the expressions of a step saw in a generation."""
        return self.scope(generation, _sight(self.state, step))

    def steps(self) -> tuple[StepExecution, ...]:
        """Every step, in the order of the plan."""
        return tuple(self.step(index) for index in range(len(self.program.plan.steps)))

    def step(self, index: int) -> StepExecution:
        """One step of the plan, or (by its number) what undoes one."""
        execution, rows, begun = self.execution, self.rows.get(index, []), self.started.get(index)
        counting = _counting(rows, execution.generation, self.state.status[index])
        status = _status(execution, self.state, index, counting, begun, phase=self.phase)
        opened = self.opened.get(index)
        return _step(
            execution,
            self.program.steps[index],
            counting,
            status,
            begun,
            scope=self.scope,
            sight=_sight(self.state, index),
            blocked=partial(self.blocking.of, index, status),
            costs=_costs(rows),
            stacks=self.stacks,
            items=None if opened is None else opened.items,
            child=child_id(self.children.get(index), counting, begun, self.generations),
            compensation=self._compensation(index),
            given=self._given(index),
        )

    def _given(self, index: int) -> AttemptRow | None:
        """The row of the output that the step was given when it had failed, if it was."""
        fallback = self.program.steps[index].plan.fallback
        if fallback is None or self.state.status[fallback] != COMPLETED:
            return None
        rows = self.rows.get(fallback, [])
        return _counting(rows, self.execution.generation, COMPLETED)[-1]

    def _compensation(self, index: int) -> StepExecution | None:
        """What undoes a step of this generation, once that is decided."""
        number = self.program.steps[index].plan.compensation
        return None if number is None or index not in self.undoing else self.step(number)


def steps_by_rows(
    execution: Execution,
    program: Program,
    version: str | None,
    tenant: str,
    rows: Sequence[AttemptRow],
    *,
    stacks: bool = False,
) -> tuple[StepExecution, ...] | None:
    """The same as `steps_of`, where rows alone say everything; None where they may not.

    They do of an execution that completed in its first generation when the newest attempt of every step ended well: the
    replay would give each step the status of that row. An input is rendered of what the replay of the rows gives, and
    that is made when the first one is looked at.
    """
    by_step = _by_step(rows)
    if not execution.ended_at_the_first_go or len(by_step) != len(program.plan.steps):
        return None
    if any(row.is_open or row.generation for row in rows) or _events_say_more(program.plan):
        return None
    for tried in by_step.values():
        tried.sort(key=lambda row: row.attempt)
    if any(tried[-1].status not in _ENDED_WELL for tried in by_step.values()):
        return None
    replayed = cache(partial(_state, execution, program, version, tenant, rows, ()))

    @cache
    def scope(generation: int, step: int | None) -> dict[str, object]:
        return _scope(replayed(), nothing_loaded, {}, generation, step)

    return tuple(
        _step(
            execution,
            step,
            by_step[index],
            by_step[index][-1].status,
            None,
            scope=scope,
            sight=None,
            blocked=not_blocked,
            costs=_costs(by_step[index]),
            stacks=stacks,
        )
        for index, step in enumerate(program.steps[: len(by_step)])
    )


def _events_say_more(plan: Plan) -> bool:
    """Whether events say more of steps than rows: which ways had met when one began, items of maps, children."""
    is_blind = plan.routes is not None and bool(plan.routes.blind)
    return is_blind or any(step.map is not None or step.workflow is not None for step in plan.steps)


def _by_step(rows: Sequence[AttemptRow]) -> dict[int, list[AttemptRow]]:
    found: dict[int, list[AttemptRow]] = {}
    for row in rows:
        found.setdefault(row.step, []).append(row)
    return found


def _costs(rows: Sequence[AttemptRow]) -> tuple[Money, ...]:
    return total(filter(None, map(cost_of, rows)))


def type_of(step: StepPlan) -> str:
    """What a step is called by: its connector with its version, or its kind."""
    return str(step.uses) if step.uses else str(step.kind)


def _scope(
    state: ExecutionState,
    resolve: Resolve,
    inputs: Mapping[int, Stored],
    generation: int,
    step: int | None,
) -> dict[str, object]:
    """What expressions saw in a generation: an end that still counts was made from that of its own."""
    was, params = copy(state), inputs.get(generation, state.run.params)
    was.run = state.run._replace(generation=generation, params=params)
    return scope_of(was, MASKED, resolve, step=step)


def _sight(state: ExecutionState, step: int) -> int | None:
    """The step, if it sees less than others or an older input; what undoes one sees what that saw."""
    routes, whose = state.program.plan.routes, sees_as(state, step)
    seen_by = step if whose is None else whose
    is_blind = routes is not None and seen_by in routes.blind
    return step if is_blind or step in state.inputs else None


def _state(
    execution: Execution,
    program: Program,
    version: str | None,
    tenant: str,
    rows: Sequence[AttemptRow],
    events: Sequence[ExecutionEvent],
) -> ExecutionState:
    run = RunInfo(
        id=execution.id,
        params=execution.input,
        generation=execution.generation,
        trigger=str(execution.trigger),
        version=version,
        namespace=execution.namespace,
        created_at=execution.created_at.isoformat(),
        identity=f"{tenant}/{execution.namespace}/{program.plan.name}",
    )
    records = [
        StepRecord(
            row.step,
            row.item,
            row.generation,
            row.attempt,
            int(row.status),
            row.is_open,
            0.0,
            row.result,
        )
        for row in rows
    ]
    marks = [Mark(event.kind, event.data) for event in events if event.kind in _MARKS]
    retries = [mark.data for mark in marks if mark.kind in BEGINS_AGAIN]
    return rebuild(program, run, records, retries, marks=marks).state


def _step(
    execution: Execution,
    step: StepProgram,
    rows: list[AttemptRow],
    status: StepStatus,
    started: ExecutionEvent | None,
    *,
    scope: Scope,
    sight: int | None,
    blocked: Callable[[Standing], Blocker | None],
    costs: tuple[Money, ...],
    stacks: bool,
    items: int | None = None,
    child: UUID | None = None,
    compensation: StepExecution | None = None,
    given: AttemptRow | None = None,
) -> StepExecution:
    plan = step.plan
    attempts = attempts_of(rows, status, started, stacks=stacks)
    last = rows[-1] if rows else None
    result = last.result if last is not None else {}
    generation = last.generation if last else execution.generation
    gave = result if given is None else given.result
    is_reached = status not in _NOT_REACHED
    # With what a step was called that is kept, only the past can say: what it saw is done again.
    is_kept = called_in(result, generation) != generation
    return StepExecution(
        execution_id=execution.id,
        tenant_id=execution.tenant_id,
        index=plan.index,
        key=plan.key,
        type=type_of(plan),
        status=status,
        attempt=attempts[-1].attempt if attempts else 0,
        max_attempts=plan.retry.max_attempts,
        generation=generation,
        attempts=attempts,
        output=stored(gave.get("output")),
        error=error_shown(result, stacks=stacks),
        input_hash=text_of(result.get("in")),
        output_hash=text_of(gave.get("out")),
        code=text_of(result.get("code")),
        code_hash=text_of(result.get("code_digest")),
        costs=costs,
        worker_id=text_of(result.get("worker")),
        started_at=attempts[0].started_at if attempts else None,
        finished_at=last.finished_at if last and status not in _STILL_GOING else None,
        skip_reason=text_of(result.get("reason")),
        derived=_Input(step, scope, generation, sight) if is_reached and not is_kept else no_input,
        blocked=blocked,
        is_map=plan.map is not None,
        items=items,
        child_id=child,
        cached_from=CachedFrom.of(result.get("cached_from")),
        compensation=compensation,
    )


def child_id(
    started: ExecutionEvent | None,
    rows: Sequence[AttemptRow],
    begun: ExecutionEvent | None,
    generations: Callable[[ExecutionEvent], tuple[int, int]],
) -> UUID | None:
    """The child of the attempt that is shown: the newest that has begun, else the one that ended.

    Attempts are counted anew in each generation, so an attempt is known by both.
    """
    if started is None:
        return None
    shown = {(row.generation, row.attempt) for row in rows}
    if begun is not None:
        shown.add((generations(begun)[1], number_of(begun.field("attempt"))))
    its = generations(started)[1], number_of(started.field("attempt"))
    return UUID(str(started.field("child"))) if its == max(shown, default=None) else None


def _status(
    execution: Execution,
    state: ExecutionState,
    index: int,
    rows: list[AttemptRow],
    started: ExecutionEvent | None,
    *,
    phase: _Phase,
) -> StepStatus:
    """What replay says, refined by what has begun since and by whether anybody is at work."""
    status, compensation = (
        StepStatus(state.status[index]),
        state.program.steps[index].plan.compensation,
    )
    if compensation is not None and state.status[compensation] == COMPLETED:
        return StepStatus.COMPENSATED
    ended = max((row.attempt for row in rows if not row.is_open), default=0)
    if rows and rows[-1].is_open and rows[-1].status is StepStatus.IN_DOUBT:
        return StepStatus.IN_DOUBT
    if index in phase.settled:
        return StepStatus.IN_DOUBT  # Its next call has not begun.
    is_begun = started is not None and number_of(started.field("attempt")) > ended
    if state.program.steps[index].wait is not None and is_begun and status is StepStatus.PENDING:
        status = StepStatus.WAITING
    has_begun = is_begun
    is_lost = started is not None and started.sequence < phase.unowned
    if execution.status is not ExecutionStatus.RUNNING or is_lost:
        is_begun = False
    if status in {StepStatus.PENDING, StepStatus.RETRYING, StepStatus.IN_DOUBT} and is_begun:
        return StepStatus.RUNNING
    if execution.status.is_terminal:
        return _at_the_end(status, started, rows)
    was_stopped = rows and rows[-1].status is StepStatus.CANCELLED and not has_begun
    if status is StepStatus.PENDING and was_stopped:
        return StepStatus.CANCELLED  # Stopped; the execution ends when the other steps have.
    is_undone = state.phase is Phase.UNDOING
    if status is StepStatus.PENDING and not is_undone and is_ready(state, index):
        return StepStatus.READY
    return status


def _at_the_end(
    status: StepStatus,
    started: ExecutionEvent | None,
    rows: list[AttemptRow],
) -> StepStatus:
    """Nothing goes on in an execution that has ended: what was under way or waiting was stopped."""
    if status is StepStatus.PENDING and rows:
        return rows[-1].status
    under_way = status in {StepStatus.RETRYING, StepStatus.WAITING, StepStatus.RUNNING} or (
        status is StepStatus.PENDING and started is not None
    )
    return StepStatus.CANCELLED if under_way else status


def attempts_of(
    rows: list[AttemptRow],
    status: StepStatus,
    started: ExecutionEvent | None,
    *,
    stacks: bool,
) -> tuple[StepAttempt, ...]:
    """The attempts of a step or an item: those that have ended, and the one that has begun."""
    found = [
        StepAttempt(
            row.attempt,
            status if row.is_open else row.status,
            row.started_at,
            row.finished_at,
            error_shown(row.result, stacks=stacks),
            text_of(row.result.get("worker")),
            text_of(row.result.get("code")),
            text_of(row.result.get("code_digest")),
            cost_of(row),
        )
        for row in rows
    ]
    last = found[-1].attempt if found else 0
    if status in {StepStatus.RUNNING, StepStatus.WAITING} and started is not None:
        number = number_of(started.field("attempt"))
        if number > last:
            found.append(StepAttempt(number, status, started.at))
    return tuple(found)


def _counting(rows: list[AttemptRow], generation: int, status: int) -> list[AttemptRow]:
    """The attempts of this generation; of an older one only when its end still counts."""
    now = [row for row in rows if row.generation == generation]
    if not now and status in _SETTLED:
        newest = max((row.generation for row in rows), default=0)
        now = [row for row in rows if row.generation == newest]
    return sorted(now, key=lambda row: row.attempt)


class _Input:
    """The `with` block as the step got it, None where it could not be rendered; and what is missing for it.

    Derived once, when somebody looks.
    """

    __slots__ = ("_found", "_generation", "_scope", "_sight", "_step")

    def __init__(
        self,
        step: StepProgram,
        scope: Scope,
        generation: int,
        sight: int | None,
    ) -> None:
        self._step = step
        self._scope = scope
        self._generation = generation
        self._sight = sight
        self._found: tuple[Json, BlobRef | None] | None = None

    def __call__(self) -> tuple[Json, BlobRef | None]:
        if self._found is None:
            self._found = self._derive()
        return self._found

    def _derive(self) -> tuple[Json, BlobRef | None]:
        try:
            return self._step.config.render(self._scope(self._generation, self._sight)), None
        except NotLoaded as missing:
            return None, missing.ref
        except ExpressionError:
            return None, None


def error_shown(result: Mapping[str, Json], *, stacks: bool) -> ExecutionError | None:
    """The error of a row; with its stack for who may see that."""
    error = error_of(result.get("error"))
    if error is None or not stacks:
        return error
    return replace(error, stack=text_of(result.get("stack")))


def cost_of(row: AttemptRow) -> Money | None:
    """What an attempt cost."""
    cost = row.result.get("cost")
    return Money.parse(cost) if isinstance(cost, str) else None
