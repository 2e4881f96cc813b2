"""The judge of causes: of every step that is shown as not running it is said why, once, and by what the events bear out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from runtime.model.blocker import BlockCause, Blocker, Standing
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import ExecutionStatus, StepExecution, StepStatus
from tests.simulator.rewinds import AGAIN

_OVER = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.CANCELLED,
        StepStatus.TIMED_OUT,
        StepStatus.COMPENSATED,
    }
)

_OPEN = frozenset({StepStatus.PENDING, StepStatus.READY, StepStatus.WAITING, StepStatus.RETRYING})
_NOBODY_HAS_IT = frozenset({BlockCause.QUEUE, BlockCause.QUARANTINE, BlockCause.SCHEDULED})
_OF_STATUS = {
    BlockCause.DEPENDENCY: StepStatus.PENDING,
    BlockCause.TIMER: StepStatus.WAITING,
    BlockCause.SIGNAL: StepStatus.WAITING,
    BlockCause.PERSON: StepStatus.WAITING,
    BlockCause.RETRY: StepStatus.RETRYING,
    BlockCause.BREAKER: StepStatus.RETRYING,
    BlockCause.IN_DOUBT: StepStatus.IN_DOUBT,
}


def unexplained(
    steps: Sequence[StepExecution],
    events: Sequence[ExecutionEvent],
    status: ExecutionStatus,
    now: datetime,
) -> list[str]:
    """What is wrong with the causes, now and long after, when all that waits for a time is due."""
    found = []
    for moment in (now, now + timedelta(days=36_500)):
        blockers = {step.key: step.blocked(Standing(moment, worker="w")) for step in steps}
        shown = {step.key: step.status for step in steps}
        for step in steps:
            blocker = blockers[step.key]
            if problem := _problem(step, blocker, shown, events, status):
                found.append(f"step {step.key} {step.status.name} because of {blocker}: {problem}")
    return found


def _problem(
    step: StepExecution,
    blocker: Blocker | None,
    shown: dict[str, StepStatus],
    events: Sequence[ExecutionEvent],
    status: ExecutionStatus,
) -> str | None:
    is_open_map = step.is_map and step.status is StepStatus.RUNNING
    # A map runs while nobody has its execution, too: then its items wait for something.
    waits = is_open_map and status in {ExecutionStatus.QUEUED, ExecutionStatus.WAITING}
    if step.status in _OVER or (step.status is StepStatus.RUNNING and not waits):
        return None if blocker is None else "it waits for nothing"
    if blocker is None:
        is_open = waits or step.status in _OPEN or not step.finished_at
        return "no cause" if is_open else None
    cause, is_owned = blocker.cause, status is ExecutionStatus.RUNNING
    wrong = {
        f"the execution is {status.name}": (cause is BlockCause.ENDED) != status.is_terminal,
        "somebody owns it": cause in _NOBODY_HAS_IT and is_owned,
        "nobody owns it": cause is BlockCause.STARTING and not is_owned,
        "it is no cause of that": not is_open_map
        and _OF_STATUS.get(cause, step.status) is not step.status,
        "they have ended": cause is BlockCause.DEPENDENCY
        and not all(_is_open(shown[one]) for one in blocker.steps),
        "it is not paused": cause is BlockCause.PAUSED and not _is_paused(events),
        "nothing ends it": cause is BlockCause.STOPPING and not _is_stopping(events),
    }
    return next((words for words, holds in wrong.items() if holds), None)


def _is_open(status: StepStatus) -> bool:
    return status not in {StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.COMPENSATED}


def _since_retry(events: Sequence[ExecutionEvent]) -> list[EventKind]:
    kinds: list[EventKind] = []
    for event in events:
        kinds = [] if event.kind in AGAIN else [*kinds, event.kind]
    return kinds


def _is_paused(events: Sequence[ExecutionEvent]) -> bool:
    words = {EventKind.EXECUTION_PAUSED, EventKind.EXECUTION_RESUMED}
    told = [kind for kind in _since_retry(events) if kind in words]
    return told[-1:] == [EventKind.EXECUTION_PAUSED]


def _is_stopping(events: Sequence[ExecutionEvent]) -> bool:
    ends = {
        EventKind.EXECUTION_CANCEL_REQUESTED,
        EventKind.EXECUTION_DEADLINE_REACHED,
        EventKind.STEP_FAILED,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_CANCELLED,
        EventKind.STEP_DOUBT_SETTLED,
    }
    return bool(ends & set(_since_retry(events)))
