"""What the core asks for: a closed union. The worker's executor carries commands out, in order.

RecordStep, RecordEvent, StartChild, TellChild, OpenTask, CancelTasks and Finish of one advance() become one
checkpoint. RunStep, ScheduleRetry, LookUp and JoinItems are carried out only after the completions recorded before
them are committed (durable order), BeginWait only after the events beside it are: the database's clock says when a
wait began.
Those that every step needs are tuples: they are made tens of thousands of times a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from runtime.engine.event import NO_FACTS, Facts, StepError
from runtime.model.blob import BlobRef
from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus
from runtime.model.values import Json


class RunStep(NamedTuple):
    """Start an attempt."""

    step: int
    attempt: int
    item: int = -1


@dataclass(frozen=True, slots=True)
class StopStep:
    """Tell a running attempt to end; its end is still reported as an event."""

    step: int
    reason: str
    item: int = -1


@dataclass(frozen=True, slots=True)
class LoadBlob:
    """Report BlobLoaded: a condition, or the outputs of the workflow, can't be judged without it."""

    ref: BlobRef


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Report RetryDue after a delay."""

    step: int
    attempt: int
    delay_ms: int
    item: int = -1


@dataclass(frozen=True, slots=True)
class BeginWait:
    """Report TimerDue after a delay or at an instant, if there is one; counted from the commit."""

    step: int
    attempt: int
    delay_ms: int | None = None
    until: datetime | None = None
    item: int = -1


class RecordStep(NamedTuple):
    """Make the outcome of an attempt durable. `retry_in_ms` is set when it will be repeated.

    `is_late`: the execution was ending already, so this failure is not why it ends. `is_open`: it is in
    doubt, and will be recorded once more when that is settled. `is_handled`: it failed for good, and its
    `on_error` says how the execution goes on.
    """

    step: int
    attempt: int
    status: StepStatus
    error: StepError | None = None
    retry_in_ms: int | None = None
    facts: Facts = NO_FACTS
    item: int = -1
    is_late: bool = False
    is_open: bool = False
    is_handled: bool = False


class RecordEvent(NamedTuple):
    """Make an event durable; the worker numbers it. `holds`: what is begun beside it waits for its commit."""

    kind: EventKind
    data: dict[str, Json] | None = None
    holds: bool = False


class LookUp(NamedTuple):
    """Ask the connector whether a call that is in doubt was made; always answered by DoubtJudged."""

    step: int
    attempt: int
    item: int = -1


@dataclass(frozen=True, slots=True)
class JoinItems:
    """Make the outcomes of all items of a map its output, in their order; always answered by ItemsJoined."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class StartChild:
    """Make the child that was found for this attempt durable, in the same checkpoint as the events beside it."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class TellChild:
    """Leave a message for a child, in the same checkpoint as the events beside it.

    `compensate`: a cancel that asks to undo, too, what the child has done.
    """

    step: int
    child: UUID
    kind: InboxKind
    actor: Json
    reason: str
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class OpenTask:
    """Make the task of a step durable, in the same checkpoint as the events beside it; `asked` is all that it says."""

    step: int
    attempt: int
    task: UUID
    asked: dict[str, Json]


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Cancel all tasks of the execution that are still open, in the same checkpoint as the events beside it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Close the execution: final status, output or error."""

    status: ExecutionStatus
    output: Json = None
    error: ExecutionError | None = None


Command: TypeAlias = (
    RunStep
    | StopStep
    | LoadBlob
    | ScheduleRetry
    | BeginWait
    | LookUp
    | JoinItems
    | StartChild
    | TellChild
    | OpenTask
    | CancelTasks
    | RecordStep
    | RecordEvent
    | Finish
)
