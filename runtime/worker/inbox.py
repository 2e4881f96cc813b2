"""Messages: what people have left for an execution, as events of the core.

Each is deleted by the checkpoint that acts on it, so it is acted on exactly once; what it led to stands in
events, from which the next owner learns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from runtime.engine.event import (
    WAITED,
    CancelRequested,
    ChildEnded,
    Event,
    Facts,
    PauseRequested,
    ResumeRequested,
    Signal,
    SignalReceived,
    StepError,
)
from runtime.engine.state import Phase
from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import InboxKind, InboxMessage
from runtime.model.dead_letter import DeadLetterId
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.values import Json
from runtime.worker.encode import clean, encode, text_of
from runtime.worker.executor import Executor
from runtime.worker.people import task_ended
from runtime.worker.run import Run
from runtime.worker.undecodable import fault_of, told

# The service has judged the size already; here nothing may be refused any more.
_ANY_SIZE: Final = 1 << 40


def receive(executor: Executor, run: Run, messages: Iterable[InboxMessage]) -> None:
    """Act on the messages that the run has not seen yet; one of them may be a reason to end."""
    for message in messages:
        if run.state.phase is Phase.CLOSED:
            # The end is on its way: what the flush of the end finds unread, it tells of.
            return
        if message.n <= run.inbox_seen or run.is_over or run.is_parking:
            continue
        run.inbox_seen = message.n
        run.inbox_read.append(message.n)
        if fault_of(message) is not None:
            # It is a dead letter by now: `set_aside` comes before.
            letter = DeadLetterId(run.owned.id, run.owned.generation, message.n)
            run.record_event(EventKind.MESSAGE_UNREAD, told(message, letter))
            executor.touched(run)
            continue
        before = run.sequence
        if message.kind == InboxKind.RESOLVE_DOUBT and isinstance(message.data, dict):
            executor.doubts.decided(run, message.data)
        event = event_of(run, message)
        if event is not None:
            executor.tell(run, event)
        if run.sequence == before and _is_too_late(run, message):
            run.record_event(EventKind.MESSAGE_UNREAD, told(message))
        # Whether it changed anything or not, the message goes with the next flush.
        executor.touched(run)


def _is_too_late(run: Run, message: InboxMessage) -> bool:
    """Whether it changed nothing because something else came first; what was asked twice is not told twice."""
    ending = run.state.ending
    if ending is None:
        return message.kind == InboxKind.RESOLVE_DOUBT
    return message.kind != InboxKind.CANCEL or ending.status is not ExecutionStatus.CANCELLED


def event_of(run: Run, message: InboxMessage) -> Event | None:
    """What the core is told; nothing of a message that is not for this generation."""
    data = message.data if isinstance(message.data, dict) else {}
    actor, reason = data.get("actor"), data.get("reason")
    reason = reason if isinstance(reason, str) else None
    match message.kind:
        case InboxKind.CANCEL:
            # What was sent to an earlier generation and came too late is no word to this one.
            if message.n > run.owned.inbox or run.owned.cancel_requested:
                return CancelRequested(actor, reason, data.get("compensate") is True)
        case InboxKind.PAUSE:
            return PauseRequested(actor, reason)
        case InboxKind.RESUME:
            return ResumeRequested(actor, reason)
        case InboxKind.SIGNAL:
            signal = signal_of(message.n, str(data.get("name")), data.get("payload"))
            return SignalReceived(signal, actor)
        case InboxKind.CHILD_ENDED:
            return child_ended(data)
        case InboxKind.HUMAN_TASK_ENDED:
            return task_ended(run, data)
    return None


def child_ended(data: Mapping[str, Json]) -> ChildEnded:
    """The end of a child, with what the row of the step that started it says."""
    child, status = UUID(str(data["child"])), ExecutionStatus(_number(data["status"]))
    tail = f',"child":"{child}"'
    if status is not ExecutionStatus.COMPLETED:
        error = _error_of(child, status, data.get("error"))
        return ChildEnded(child, status, None, error, Facts(WAITED, tail=tail))
    output = stored(data.get("output"))
    if isinstance(output, BlobRef):
        text, digest = text_of(output.as_json()), output.digest
    else:
        kept = encode(output, "The output of a child", _ANY_SIZE)
        text, digest = kept.raw.decode(), kept.digest
    return ChildEnded(child, status, output, None, Facts(WAITED, text, f',"out":"{digest}"{tail}'))


def _error_of(child: UUID, status: ExecutionStatus, error: Json) -> StepError:
    """The error of a child as that of the step that started it: `retry` and `on_error` judge it as their own."""
    said = error if isinstance(error, dict) else {}
    details: dict[str, Json] = {"child": str(child)}
    if "step_key" in said:
        details["step"] = said["step_key"]
    if "details" in said:
        details["details"] = said["details"]
    if status is ExecutionStatus.CANCELLED:
        words = f"The child execution {child} was cancelled."
        kind = StepErrorKind.CANCELLED
        return StepError("workflow.cancelled", words, kind, details=details)
    kind = StepErrorKind.TRANSIENT if said.get("retryable") is True else StepErrorKind.PERMANENT
    if status is ExecutionStatus.TIMED_OUT:
        kind = StepErrorKind.TIMEOUT
    words = str(said.get("message", "It did not say why."))
    return StepError(str(said.get("type", "unknown")), clean(words), kind, details=details)


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def signal_of(n: int, name: str, payload: Json) -> Signal:
    """A signal with what the row of the step that takes it says."""
    kept = encode(payload, "The payload of a signal", _ANY_SIZE)
    text = kept.raw.decode()
    return Signal(n, name, payload, Facts(WAITED, text, f',"out":"{kept.digest}","signal":{n}'))
