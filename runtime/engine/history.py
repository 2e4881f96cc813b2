"""An execution as it was at any of its events: a fold of the events, and of nothing else.

`execution_events` say everything that can be seen of an execution but what its steps put out. The state
at a sequence is that of the commit that wrote it. Two things happen without an event, because nobody
owns the execution then: a message makes what is parked queued, and a worker claims it. They show with the
next event, which only an owner writes.

The simulator compares this fold with the rows at every commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from runtime.engine.undoing import renewed_with, rewound_by
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent
from runtime.model.execution import TERMINAL, ExecutionState, ExecutionStatus, StepStatus, WaitKind
from runtime.model.plan import Plan
from runtime.model.route import Routes, cases_of
from runtime.model.values import Json, Money, total


@dataclass(frozen=True, slots=True)
class StepAt:
    """A step as it was: `attempt` is its newest one, `ended` the newest that has ended.

    `error` is that of the newest attempt that failed. `is_announced`: a call that may happen once is
    recorded and not settled; `is_retried`: the attempt before was to be repeated; `is_handled`: it failed for good
    and the execution went on. `cases` are those that a gateway took, `items` how many a map goes over once it is open.
    """

    status: StepStatus
    attempt: int = 0
    ended: int = 0
    error: Json = None
    is_announced: bool = False
    is_retried: bool = False
    is_handled: bool = False
    cases: tuple[int, ...] = ()
    items: int | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what waits for it goes on."""
        return self.status in _ENDED_WELL or self.is_handled


@dataclass(slots=True)
class ExecutionAt:
    """An execution as it was. Steps that are not named are pending; the key is (step, item).

    Of an open map only the items under way are among its `steps`: how those ended that have is a byte for each in
    `items`, so that a map over a hundred thousand is not as many objects.
    `costs` are what its attempts had cost by then, in all generations: an amount for each currency. `compensating`: its
    steps are being undone; `renewed` are those of them that a retry runs again.
    What `has_lane` has a concurrency key: it begins by waiting for a place.
    """

    sequence: int = 0
    status: ExecutionStatus = ExecutionStatus.QUEUED
    wait: WaitKind | None = None
    generation: int = 0
    cancel_requested: bool = False
    compensating: bool = False
    error: Json = None
    worker: str | None = None
    costs: tuple[Money, ...] = ()
    steps: dict[tuple[int, int], StepAt] = field(default_factory=dict)
    items: dict[int, bytearray] = field(default_factory=dict)
    renewed: set[int] = field(default_factory=set)
    has_lane: bool = False

    @property
    def state(self) -> ExecutionState:
        """The status as people see it."""
        if self.compensating and self.status not in TERMINAL:
            return ExecutionState.COMPENSATING
        if self.status is ExecutionStatus.WAITING and self.wait is WaitKind.PAUSED:
            return ExecutionState.PAUSED
        if self.cancel_requested and self.status not in TERMINAL:
            return ExecutionState.CANCELLING
        return ExecutionState(self.status.name.lower())

    def is_through(self, plan: Plan, step: int) -> bool:
        """Whether what waits for a step goes on; for one that failed, its output may have to be given first."""
        at = self.steps.get((step, -1))
        if at is None or not at.is_settled:
            return False
        fallback = plan.fallback_of(step, int(at.status)) if at.is_handled else None
        given = at if fallback is None else self.steps.get((fallback, -1))
        return given is not None and given.is_settled

    def step_statuses(self, plan: Plan) -> list[StepStatus]:
        """The status of every step of the plan: what is not begun is ready when nothing holds it back."""
        known = [self.steps.get((step, -1)) for step in range(len(plan.successors))]
        settled = {
            step: at
            for step, at in enumerate(known)
            if at is not None and self.is_through(plan, step)
        }
        open_edges = list(plan.indegree)
        for step in settled:
            for successor in plan.successors[step]:
                open_edges[successor] -= 1
        held = [n > 0 for n in open_edges]
        if plan.routes is not None:
            held = _held(plan, plan.routes, settled, open_edges)
        is_over = self.compensating or self.status in TERMINAL
        ready = [StepStatus.PENDING if is_over or one else StepStatus.READY for one in held]
        return [
            ready[step] if at is None or at.status is StepStatus.PENDING else at.status
            for step, at in enumerate(known)
        ]


def _held(
    plan: Plan, routes: Routes, settled: Mapping[int, StepAt], open_edges: Sequence[int]
) -> list[bool]:
    """Which steps can't begin yet, where ways are chosen."""
    leading, chosen = [0] * len(open_edges), [0] * len(open_edges)
    for step, at in settled.items():
        edges = routes.edges(step, int(at.status), at.cases, plan.successors[step])
        for one, leads, is_choice in edges:
            leading[one] += leads
            chosen[one] += is_choice
    return [
        not routes.is_decided(step, n, leading[step], chosen[step])
        for step, n in enumerate(open_edges)
    ]


def fold(events: Iterable[ExecutionEvent], sequence: int | None = None) -> ExecutionAt:
    """The execution as its events (in order, from the first) leave it, up to a sequence or to the last."""
    at = ExecutionAt()
    for event in events:
        if sequence is not None and event.sequence > sequence:
            break
        at.sequence = event.sequence
        _apply(at, event)
    return at


def _apply(at: ExecutionAt, event: ExecutionEvent) -> None:
    kind, cost = event.kind, event.field("cost")
    if isinstance(cost, str):
        at.costs = total((*at.costs, Money.parse(cost)))
    if kind in _OF_OWNER:
        # Whatever was parked or queued before: somebody owns it, or could not have written this.
        at.status, at.wait = ExecutionStatus.RUNNING, None
    at.compensating |= kind is EventKind.EXECUTION_COMPENSATING
    if kind in _STEP:
        _apply_to_step(at, event)
    elif kind in _ENDS:
        _end(at, _ENDS[kind], event)
    elif kind in BEGINS_AGAIN:
        at.renewed.update(rewound_by(kind, event.data))
        _begin_again(at, is_kept=event.field("from_failed_step") is not False)
    elif kind in _CHANGES_HANDS:
        _take_over(at, event)
    elif kind is EventKind.MESSAGE_UNREAD and at.status not in TERMINAL:
        # Behind an end it changes nothing; before one only an owner tells it, and it may be the first that he tells.
        at.status, at.wait = ExecutionStatus.RUNNING, None
    elif kind is EventKind.EXECUTION_CANCEL_REQUESTED:
        at.cancel_requested = True
    elif kind is EventKind.EXECUTION_STARTED:
        at.worker = _text(event.field("worker"))
    elif kind is EventKind.EXECUTION_WAITING:
        at.status, at.wait, at.worker = ExecutionStatus.WAITING, _wait(event.field("wait")), None
        _idle(at)
    elif kind is EventKind.EXECUTION_QUEUED:
        _enter(at, event)


def _enter(at: ExecutionAt, event: ExecutionEvent) -> None:
    """Accepted: queued, unless it has a time or waits for a place in its lane."""
    at.has_lane = event.field("concurrency") is not None
    if event.field("wake_at") is not None:
        at.status, at.wait = ExecutionStatus.WAITING, WaitKind.TIMER
    elif at.has_lane:
        at.status, at.wait = ExecutionStatus.WAITING, WaitKind.CONCURRENCY_LIMIT


def _apply_to_step(at: ExecutionAt, event: ExecutionEvent) -> None:
    key = (_number(event.field("step")), _number(event.field("item"), -1))
    number = _number(event.field("attempt"))
    before = at.steps.get(key, StepAt(StepStatus.PENDING))
    status = _STEP[event.kind]
    if event.kind is EventKind.STEP_COMPENSATED:
        at.renewed.update(renewed_with(event.data if isinstance(event.data, dict) else {}))
        at.renewed.add(_number(event.field("by"), -1))
        at.steps[key] = replace(before, status=status)
    elif event.kind is EventKind.STEP_CALL_ANNOUNCED:
        at.steps[key] = replace(before, is_announced=True)
    elif event.kind in {EventKind.STEP_CALL_WITHDRAWN, EventKind.STEP_DOUBT_SETTLED}:
        # What a settled doubt comes to is told by the next event, or it stays as it is.
        is_handled = event.field("on_error") is not None
        at.steps[key] = replace(before, is_announced=False, is_handled=is_handled)
    elif event.kind is EventKind.MAP_OPENED:
        length = _number(event.field("items"))
        at.steps[key] = replace(before, items=length)
        kept = at.items.get(key[0], bytearray())
        at.items[key[0]] = kept[:length] + bytes(max(0, length - len(kept)))
    elif key[1] >= 0 and status in _ITEM_ENDS and key[1] < len(at.items.get(key[0], b"")):
        at.items[key[0]][key[1]] = status
        at.steps.pop(key, None)
    elif status in _UNDER_WAY:
        at.steps[key] = replace(before, status=status, attempt=number, is_announced=False)
    else:
        error = None if status in _ENDED_WELL else event.field("error")
        is_retried = status is StepStatus.RETRYING
        at.steps[key] = StepAt(
            status,
            number,
            number,
            error,
            is_retried=is_retried,
            is_handled=event.field("on_error") is not None,
            cases=tuple(cases_of(event.data)),
        )


def _take_over(at: ExecutionAt, event: ExecutionEvent) -> None:
    """What had no row was not done: it runs again. Without a new owner nothing is under way.

    Nobody owned what was migrated; what waited for steps is queued, to begin what the other version has ready.
    """
    if event.kind is EventKind.EXECUTION_MIGRATED and event.field("queued") is not True:
        return
    at.worker = _text(event.field("worker"))
    if at.worker is not None:
        at.status, at.wait = ExecutionStatus.RUNNING, None
        return
    at.status, at.wait = ExecutionStatus.QUEUED, None
    _idle(at)


def _idle(at: ExecutionAt) -> None:
    """Nothing is under way: what a lost owner had begun runs again, or nobody knows of it."""
    for key, step in at.steps.items():
        if step.status is StepStatus.RUNNING and step.items is None:
            idle = StepStatus.RETRYING if step.is_retried else StepStatus.PENDING
            idle = StepStatus.IN_DOUBT if step.is_announced else idle
            at.steps[key] = replace(step, status=idle, attempt=step.ended)


def _begin_again(at: ExecutionAt, *, is_kept: bool) -> None:
    """The next generation: what ended well still counts, unless all is to be done again."""
    at.status, at.generation = ExecutionStatus.QUEUED, at.generation + 1
    at.cancel_requested, at.error, at.wait, at.worker = False, None, None, None
    if at.has_lane:
        at.status, at.wait = ExecutionStatus.WAITING, WaitKind.CONCURRENCY_LIMIT
    at.compensating = False
    renewed, at.renewed = at.renewed, set()
    at.steps = {
        key: step
        for key, step in at.steps.items()
        if is_kept and step.is_settled and key[0] not in renewed
    }
    done = int(StepStatus.COMPLETED)
    at.items = {
        step: bytearray(end if end == done else 0 for end in ends)
        for step, ends in at.items.items()
        if is_kept and step not in renewed
    }


def _end(at: ExecutionAt, status: ExecutionStatus, event: ExecutionEvent) -> None:
    """Nothing goes on in an execution that has ended: what was under way or waiting was stopped."""
    at.status, at.wait, at.worker, at.error = status, None, None, event.field("error")
    for key, step in at.steps.items():
        if step.status in _STOPPED_BY_END:
            at.steps[key] = replace(step, status=StepStatus.CANCELLED)


def _wait(word: Json) -> WaitKind | None:
    return WaitKind[word.upper()] if isinstance(word, str) and word.upper() in _WAITS else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Json, default: int = 0) -> int:
    return value if isinstance(value, int) else default


_WAITS: Final = frozenset(kind.name for kind in WaitKind)
_ENDED_WELL: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_UNDER_WAY: Final = frozenset({StepStatus.RUNNING, StepStatus.WAITING})
_ITEM_ENDS: Final = frozenset(
    {StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.TIMED_OUT}
)
# What is here and pending was begun by an owner that is gone.
_STOPPED_BY_END: Final = _UNDER_WAY | {StepStatus.RETRYING, StepStatus.PENDING}

_STEP: Final = {
    EventKind.STEP_STARTED: StepStatus.RUNNING,
    EventKind.STEP_COMPLETED: StepStatus.COMPLETED,
    EventKind.STEP_FAILED: StepStatus.FAILED,
    EventKind.STEP_RETRYING: StepStatus.RETRYING,
    EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
    EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    EventKind.STEP_TIMED_OUT: StepStatus.TIMED_OUT,
    EventKind.STEP_IN_DOUBT: StepStatus.IN_DOUBT,
    EventKind.STEP_DOUBT_SETTLED: StepStatus.IN_DOUBT,
    EventKind.STEP_COMPENSATED: StepStatus.COMPENSATED,
    EventKind.STEP_CALL_ANNOUNCED: StepStatus.RUNNING,
    EventKind.STEP_CALL_WITHDRAWN: StepStatus.RUNNING,
    EventKind.TIMER_SET: StepStatus.WAITING,
    EventKind.SIGNAL_AWAITED: StepStatus.WAITING,
    EventKind.MAP_OPENED: StepStatus.RUNNING,
    EventKind.CHILD_STARTED: StepStatus.WAITING,
    EventKind.HUMAN_TASK_CREATED: StepStatus.WAITING,
}
_ENDS: Final = {
    EventKind.EXECUTION_COMPLETED: ExecutionStatus.COMPLETED,
    EventKind.EXECUTION_FAILED: ExecutionStatus.FAILED,
    EventKind.EXECUTION_CANCELLED: ExecutionStatus.CANCELLED,
    EventKind.EXECUTION_TIMED_OUT: ExecutionStatus.TIMED_OUT,
    EventKind.DEAD_LETTERED: ExecutionStatus.DEAD_LETTERED,
}
_OF_OWNER: Final = frozenset(_STEP) | {
    EventKind.EXECUTION_STARTED,
    EventKind.EXECUTION_PAUSED,
    EventKind.EXECUTION_RESUMED,
    EventKind.EXECUTION_CANCEL_REQUESTED,
    EventKind.EXECUTION_DEADLINE_REACHED,
    EventKind.EXECUTION_COMPENSATING,
    EventKind.TIMER_FIRED,
    EventKind.STEP_JOINED,
    EventKind.SIGNAL_RECEIVED,
}
_CHANGES_HANDS: Final = frozenset({EventKind.EXECUTION_TAKEN_OVER, EventKind.EXECUTION_MIGRATED})
# Words that change nothing which is seen.
SILENT: Final = frozenset({EventKind.DEAD_LETTER_DISCARDED})
KNOWN: Final = (
    frozenset(_STEP)
    | frozenset(_ENDS)
    | _OF_OWNER
    | SILENT
    | {
        EventKind.EXECUTION_QUEUED,
        EventKind.EXECUTION_MIGRATED,
        EventKind.EXECUTION_WAITING,
        EventKind.EXECUTION_REWOUND,
        EventKind.EXECUTION_RETRIED,
        EventKind.EXECUTION_TAKEN_OVER,
        EventKind.MESSAGE_UNREAD,
    }
)
