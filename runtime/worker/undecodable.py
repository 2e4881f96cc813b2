"""Messages that this worker can't decode: of a later release, or damaged. None is dropped, none breaks its reader.

First the whole message becomes a dead letter, then the checkpoint that takes it out of the inbox tells of it
(`MESSAGE_UNREAD`, with the letter's id). A crash in between repeats the first, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from runtime.model.checkpoint import InboxKind, InboxMessage
from runtime.model.dead_letter import DeadLetterId
from runtime.model.execution import TERMINAL, DoubtDecision
from runtime.model.values import Json
from runtime.telemetry.log import get_logger
from runtime.worker.run import Run
from runtime.worker.tools import Seat, Tools

ERROR: Final = "message.undecodable"
_KINDS: Final = frozenset(InboxKind)
_DECISIONS: Final = frozenset(str(one) for one in DoubtDecision)
_ENDS: Final = frozenset(int(one) for one in TERMINAL)
_TASK_ENDS: Final = frozenset({"COMPLETED", "EXPIRED", "CANCELLED"})
_ABOUT_A_CALL: Final = ("step", "attempt", "generation")

_log = get_logger("worker")


def fault_of(message: InboxMessage) -> str | None:
    """What is wrong with a message, in words; None: it can be acted on."""
    kind, data = message.kind, message.data
    if kind not in _KINDS:
        return f"This release knows no message of kind {kind}."
    if kind == InboxKind.SIGNAL and not (
        isinstance(data, dict) and isinstance(data.get("name"), str)
    ):
        return "A signal without a name."
    if kind == InboxKind.CHILD_ENDED and not _is_end(data):
        return "The end of a child that says neither which nor how."
    if kind == InboxKind.HUMAN_TASK_ENDED and not _is_task_end(data):
        return "The end of a human task that says neither which nor how."
    if kind == InboxKind.RESOLVE_DOUBT and not _is_decision(data):
        return "A word about a call in doubt that says neither which call nor what became of it."
    return None


def _is_decision(data: Json) -> bool:
    return (
        isinstance(data, dict)
        and data.get("decision") in _DECISIONS
        and all(type(data.get(name)) is int for name in _ABOUT_A_CALL)
    )


def _is_end(data: Json) -> bool:
    if not isinstance(data, dict) or data.get("status") not in _ENDS:
        return False
    try:
        UUID(str(data.get("child")))
    except ValueError:
        return False
    return True


def _is_task_end(data: Json) -> bool:
    if not isinstance(data, dict) or data.get("status") not in _TASK_ENDS:
        return False
    try:
        UUID(str(data.get("task")))
    except ValueError:
        return False
    return isinstance(data.get("at"), str)


async def set_aside(
    tools: Tools,
    seat: Seat,
    found: Mapping[UUID, Sequence[InboxMessage]],
    runs: Mapping[UUID, Run],
) -> None:
    """Make dead letters of those that can't be decoded, unless their run has seen them. Raises Unavailable."""
    for execution_id, messages in found.items():
        for message in messages:
            words, run = fault_of(message), runs.get(execution_id)
            if words is None or (run is not None and message.n <= run.inbox_seen):
                continue
            error: Json = {"type": ERROR, "message": words, "retryable": False}
            await tools.store.set_aside(
                seat.shard, seat.me, seat.epoch, execution_id, message.n, error
            )
            tools.metrics.undecodable.inc()
            _log.error(
                "undecodable_message",
                execution=str(execution_id),
                message=message.n,
                kind=message.kind,
                reason=words,
            )


def told(message: InboxMessage, letter: DeadLetterId | None = None) -> dict[str, Json]:
    """What `MESSAGE_UNREAD` says: all that was said, and which dead letter has it."""
    data = message.data if isinstance(message.data, dict) else {"said": message.data}
    word = InboxKind(message.kind).word if message.kind in _KINDS else None
    more: dict[str, Json] = {} if letter is None else {"dead_letter": str(letter)}
    return {**data, "n": message.n, "message": word, **more}
