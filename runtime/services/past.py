"""Time travel: an execution and its steps as they were shown when an event was the newest.

The events say what had happened; the rows, which are written once and end once, say the rest. So what was there at a
sequence is what is there now, without what came later. Two things have no event, a message that wakes what is parked
and the claim of a worker: they show with the next one (`runtime/engine/history.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from runtime.engine.history import ExecutionAt, fold
from runtime.engine.rewinding import gives_input, input_before
from runtime.model.blocker import Blocker, Standing
from runtime.model.errors import BadInput
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent
from runtime.model.execution import (
    Execution,
    ExecutionError,
    ExecutionStatus,
    StepExecution,
    StepStatus,
)
from runtime.model.values import Json, parse_instant
from runtime.store.execution_record import AttemptRow

_FIELDS: Final = tuple(each.name for each in fields(Execution))
# Members of a row that were known before the call was made.
_KNOWN: Final = ("in", "code", "code_digest", "worker")
_OPENING: Final = (EventKind.STEP_CALL_ANNOUNCED, EventKind.STEP_IN_DOUBT)
_OF_ROW: Final = frozenset(_OPENING) | {
    EventKind.STEP_CALL_WITHDRAWN,
    EventKind.STEP_COMPLETED,
    EventKind.STEP_FAILED,
    EventKind.STEP_RETRYING,
    EventKind.STEP_SKIPPED,
    EventKind.STEP_CANCELLED,
    EventKind.STEP_TIMED_OUT,
    EventKind.STEP_DOUBT_SETTLED,
}

_OF_NOBODY: Final = frozenset({EventKind.EXECUTION_QUEUED, EventKind.EXECUTION_MIGRATED})

_Key = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class PastExecution:
    """An execution and its steps, as they were at `execution.at`."""

    execution: Execution
    steps: tuple[StepExecution, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What is stored of an execution, or was when an event was its newest: enough to see its steps.

    Rows and events of items of maps are not among these.
    """

    execution: Execution
    rows: Sequence[AttemptRow]
    events: Sequence[ExecutionEvent]

    def shown(self, steps: Sequence[StepExecution]) -> PastExecution:
        """With its steps: what they waited for is told as of then, when a worker is taken to have been there."""
        then = Standing(self.events[-1].at)
        return PastExecution(
            self.execution, tuple(_then(step, self.execution.at, then) for step in steps)
        )


def past_of(stored: Past, at: int, last: int) -> Past:
    """What was there when the event `at` was the newest, of what is `stored` by now; `last` is its newest event.

    Raises BadInput when there is no such event.
    """
    one = stored.execution.id
    if not 1 <= at <= last:
        raise BadInput(
            f"The execution {one} has no event {at}: its events are numbered from 1 to {last}.",
            reason="UNKNOWN_SEQUENCE",
            path=("at",),
        )
    told = [event for event in stored.events if event.sequence <= at]
    execution = _execution_at(stored.execution, told, at)
    since = [event for event in stored.events if event.sequence > at]
    later = next(filter(_is_migrated, since), None)
    if later is not None:
        version_id = UUID(str(later.field("from_id")))
        execution = replace(execution, version_id=version_id, version=str(later.field("from")))
    edit = next((event for event in since if gives_input(event.data)), None)
    if edit is not None:
        execution = replace(execution, input=input_before(edit.data))
    return Past(execution, _rows_at(stored.rows, told), told)


def _is_migrated(event: ExecutionEvent) -> bool:
    return event.kind is EventKind.EXECUTION_MIGRATED


def _then(step: StepExecution, at: int | None, then: Standing) -> StepExecution:
    undoes = step.compensation
    return replace(
        step,
        at=at,
        blocked=partial(_told_then, step, then),
        compensation=None if undoes is None else _then(undoes, at, then),
    )


def _told_then(step: StepExecution, then: Standing, _now: Standing) -> Blocker | None:
    return step.blocked(then)


def _execution_at(execution: Execution, events: Sequence[ExecutionEvent], at: int) -> Execution:
    was = fold(events)
    if at > events[-1].sequence:
        # What came since are events of items, and only an owner tells of these.
        was.status, was.wait = ExecutionStatus.RUNNING, None
    is_over = was.status.is_terminal
    ends = [event for event in events if event.kind.ends_execution]
    # Whoever has owned it has written an event: the first one is written by who accepts it, a migration by no owner.
    is_begun = at > events[-1].sequence or any(event.kind not in _OF_NOBODY for event in events)
    values = {name: getattr(execution, name) for name in _FIELDS}
    return Execution(
        **values
        | {
            "status": was.status,
            "wait": was.wait,
            "generation": was.generation,
            "cancel_requested": was.cancel_requested,
            "compensating": was.compensating,
            "error": _error_at(execution, was) if is_over else None,
            "output": execution.output if was.status is ExecutionStatus.COMPLETED else None,
            "wake_at": _wake_at(was, events),
            "started_at": execution.started_at if is_begun else None,
            "finished_at": ends[-1].at if is_over else None,
            "worker_id": None,
            "at": at,
        }
    )


def _error_at(execution: Execution, was: ExecutionAt) -> ExecutionError | None:
    """Of the newest generation's end the row says more than its event."""
    if execution.status is was.status and execution.generation == was.generation:
        return execution.error
    data = was.error
    if not isinstance(data, dict):
        return None
    step = data.get("step")
    return ExecutionError(
        str(data.get("type", "Error")),
        str(data.get("message", "")),
        bool(data.get("retryable", False)),
        step if isinstance(step, str) else None,
        data.get("details"),
    )


def _wake_at(was: ExecutionAt, events: Sequence[ExecutionEvent]) -> datetime | None:
    if was.status is not ExecutionStatus.WAITING:
        return None
    parked = {EventKind.EXECUTION_WAITING, EventKind.EXECUTION_QUEUED}
    event = next(event for event in reversed(events) if event.kind in parked)
    at, wake_in_ms = event.field("wake_at"), event.field("wake_in_ms")
    if isinstance(at, str):
        return parse_instant(at)
    return event.at + timedelta(milliseconds=wake_in_ms) if isinstance(wake_in_ms, int) else None


def _rows_at(rows: Sequence[AttemptRow], events: Sequence[ExecutionEvent]) -> list[AttemptRow]:
    """The rows of attempts as they were: without those that were not there, and those open that have ended since."""
    told: dict[_Key, dict[EventKind, ExecutionEvent]] = {}
    newest: dict[_Key, EventKind] = {}
    generation = 0
    for event in events:
        if event.kind in BEGINS_AGAIN:
            generation += 1
        elif event.kind in _OF_ROW:
            key = (
                _number(event.field("step"), 0),
                _number(event.field("item"), -1),
                generation,
                _number(event.field("attempt"), 0),
            )
            newest[key] = event.kind
            told.setdefault(key, {})[event.kind] = event
    found = []
    for row in rows:
        place = (row.step, row.item, row.generation, row.attempt)
        kind = newest.get(place, EventKind.STEP_CALL_WITHDRAWN)
        if kind is EventKind.STEP_CALL_WITHDRAWN:
            continue
        is_open = kind in _OPENING or _is_between(row, told[place][kind])
        found.append(_opened(row, told[place]) if is_open else row)
    return found


def _is_between(row: AttemptRow, event: ExecutionEvent) -> bool:
    """Whether the doubt was settled, and what that came to is told by an event that comes after."""
    is_settled = event.kind is EventKind.STEP_DOUBT_SETTLED and event.field("error") is None
    return is_settled and row.status is not StepStatus.CANCELLED


def _opened(row: AttemptRow, told: Mapping[EventKind, ExecutionEvent]) -> AttemptRow:
    """The row before its end: a call about to be made, or one in doubt. What was known of it the announcement says."""
    announced, doubt = (told.get(kind) for kind in _OPENING)
    facts = row.result if announced is None or not announced.field("code") else announced.data
    known: dict[str, Json] = {
        name: value
        for name, value in (facts.items() if isinstance(facts, dict) else ())
        if name in _KNOWN
    }
    for name in ("error", "cost"):
        value = None if doubt is None else doubt.field(name)
        if value is not None:
            known[name] = value
    status = StepStatus.RUNNING if doubt is None else StepStatus.IN_DOUBT
    return row._replace(status=status, finished_at=None, result=known)


def _number(value: Json, default: int) -> int:
    return value if isinstance(value, int) else default
