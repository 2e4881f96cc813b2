"""BulkOperation: one deed done to every execution of a frozen selection, as a job with progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final
from uuid import UUID

from runtime.model.execution import ExecutionState
from runtime.model.identity import Actor
from runtime.model.values import Json


class BulkAction(StrEnum):
    """What can be done to many executions."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SIGNAL = "signal"
    MIGRATE = "migrate"


class BulkState(IntEnum):
    """As stored in `bulk_operations.state`, where 0 is a preview that nobody has started."""

    RUNNING = 1
    COMPLETED = 2
    STOPPED = 3


class BulkOutcome(IntEnum):
    """What became of one execution, as stored in `bulk_results.outcome`."""

    DONE = 0
    REFUSED = 1


class BulkEffect(StrEnum):
    """What a deed does to an execution in a state."""

    APPLIES = "applies"
    NOTHING = "nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class BulkDeed:
    """An action with all that is said about it. `signal` and `payload` are those of SIGNAL alone.

    `to_version` is the version of each execution's own workflow that MIGRATE lets it go on with.
    """

    action: BulkAction
    compensate: bool = False
    from_failed_step: bool = True
    signal: str | None = None
    payload: Json = None
    to_version: str | None = None

    def as_json(self) -> dict[str, Json]:
        """As it is stored, and as two of them are compared: only what its action reads."""
        said: dict[str, Json] = {"action": self.action.value}
        match self.action:
            case BulkAction.CANCEL:
                said["compensate"] = self.compensate
            case BulkAction.RETRY:
                said["from_failed_step"] = self.from_failed_step
            case BulkAction.SIGNAL:
                said |= {"signal": self.signal, "payload": self.payload}
            case BulkAction.MIGRATE:
                said["to_version"] = self.to_version
            case BulkAction.PAUSE | BulkAction.RESUME:
                pass
        return said

    @classmethod
    def of(cls, said: Mapping[str, Json]) -> BulkDeed:
        """From what is stored."""
        signal, to_version = said.get("signal"), said.get("to_version")
        return cls(
            BulkAction(str(said["action"])),
            compensate=said.get("compensate") is True,
            from_failed_step=said.get("from_failed_step") is not False,
            signal=None if signal is None else str(signal),
            payload=said.get("payload"),
            to_version=None if to_version is None else str(to_version),
        )


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """A job over `total` executions, of which `done + refused` have had their turn."""

    id: UUID
    tenant_id: UUID
    state: BulkState
    deed: BulkDeed
    filter: Json
    total: int
    done: int
    refused: int
    actor: Actor
    reason: str | None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stopped_by: Actor | None = None
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one execution; `code` and `message` say why it was refused. `position` counts from 1."""

    position: int
    execution_id: UUID
    outcome: BulkOutcome
    at: datetime
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class BulkShare:
    """How many of the selection are in a state, and what the deed does to them."""

    state: ExecutionState
    count: int
    effect: BulkEffect
    detail: str


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """What would happen; until it expires, somebody may start the operation of this id."""

    id: UUID
    total: int
    expires_at: datetime
    shares: tuple[BulkShare, ...]
    sample: tuple[UUID, ...]


_S: Final = ExecutionState
_Effect = tuple[BulkEffect, str]
_ENDED: Final[_Effect] = (BulkEffect.REFUSED, "it has ended")
_NOT_ENDED: Final[_Effect] = (BulkEffect.REFUSED, "it has not ended")
_UNDONE: Final[_Effect] = (BulkEffect.REFUSED, "its steps are being undone, and it ends by itself")
_ENDING: Final[_Effect] = (BulkEffect.NOTHING, "it is asked to stop already")
_GOING_ON: Final = (_S.QUEUED, _S.RUNNING, _S.WAITING)
_EFFECTS: Final[Mapping[BulkAction, Mapping[ExecutionState, _Effect]]] = {
    BulkAction.CANCEL: {
        **dict.fromkeys((*_GOING_ON, _S.PAUSED), (BulkEffect.APPLIES, "it is cancelled")),
        _S.CANCELLING: _ENDING,
        _S.COMPENSATING: _UNDONE,
    },
    BulkAction.PAUSE: {
        **dict.fromkeys(_GOING_ON, (BulkEffect.APPLIES, "it starts nothing more")),
        _S.PAUSED: (BulkEffect.NOTHING, "it is paused already"),
        _S.CANCELLING: _ENDING,
        _S.COMPENSATING: _UNDONE,
    },
    BulkAction.RESUME: {
        **dict.fromkeys(_GOING_ON, (BulkEffect.NOTHING, "it is not paused")),
        _S.PAUSED: (BulkEffect.APPLIES, "it goes on"),
        _S.CANCELLING: _ENDING,
        _S.COMPENSATING: _UNDONE,
    },
    BulkAction.RETRY: {
        **dict.fromkeys(
            (_S.FAILED, _S.CANCELLED, _S.TIMED_OUT),
            (BulkEffect.APPLIES, "it runs again, as its next generation"),
        ),
        **dict.fromkeys((*_GOING_ON, _S.PAUSED, _S.CANCELLING, _S.COMPENSATING), _NOT_ENDED),
        _S.COMPLETED: (BulkEffect.REFUSED, "it has completed"),
        _S.DEAD_LETTERED: (BulkEffect.REFUSED, "it is a dead letter: redrive it"),
    },
    BulkAction.MIGRATE: {
        **dict.fromkeys(
            (_S.QUEUED, _S.WAITING, _S.PAUSED),
            (BulkEffect.APPLIES, "it goes on with the other version, if that is safe"),
        ),
        _S.RUNNING: (BulkEffect.REFUSED, "a worker has it: pause it first"),
        _S.CANCELLING: (BulkEffect.REFUSED, "it ends already"),
        _S.COMPENSATING: _UNDONE,
    },
    BulkAction.SIGNAL: {
        **dict.fromkeys(
            (*_GOING_ON, _S.PAUSED),
            (BulkEffect.APPLIES, "it gets the signal, now or when a step waits for it"),
        ),
        _S.CANCELLING: (BulkEffect.NOTHING, "it ends: nothing waits for a signal"),
        _S.COMPENSATING: (BulkEffect.NOTHING, "it ends: nothing waits for a signal"),
    },
}


def effect_of(action: BulkAction, state: ExecutionState) -> tuple[BulkEffect, str]:
    """What an action does to an execution in a state, and in which words; the same that doing it comes to."""
    return _EFFECTS[action].get(state, _ENDED)
