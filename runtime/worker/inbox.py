"""Messages: what people have left for an execution, as events of the core.

Each is deleted by the checkpoint that acts on it, so it is acted on exactly once; what it led to stands in
events, from which the next owner learns it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from runtime.engine.event import (
    WAITED,
    CancelRequested,
    Event,
    Facts,
    PauseRequested,
    ResumeRequested,
    Signal,
    SignalReceived,
)
from runtime.engine.state import Phase
from runtime.model.checkpoint import InboxKind, InboxMessage
from runtime.model.dead_letter import DeadLetterId
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.values import Json
from runtime.worker.encode import encode
from runtime.worker.executor import Executor
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
                return CancelRequested(actor, reason)
        case InboxKind.PAUSE:
            return PauseRequested(actor, reason)
        case InboxKind.RESUME:
            return ResumeRequested(actor, reason)
        case InboxKind.SIGNAL:
            signal = signal_of(message.n, str(data.get("name")), data.get("payload"))
            return SignalReceived(signal, actor)
    return None


def signal_of(n: int, name: str, payload: Json) -> Signal:
    """A signal with what the row of the step that takes it says."""
    kept = encode(payload, "The payload of a signal", _ANY_SIZE)
    text = kept.raw.decode()
    return Signal(n, name, payload, Facts(WAITED, text, f',"out":"{kept.digest}","signal":{n}'))
