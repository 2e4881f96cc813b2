"""DeadLetter: an execution that cost three workers, or a message that nobody can decode; with what judging it needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final
from uuid import UUID

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError
from runtime.model.identity import Actor
from runtime.model.values import Json

# What their columns hold.
_MOST_GENERATION: Final = 2**15 - 1
_MOST_MESSAGE: Final = 2**31 - 1


class DeadLetterStatus(IntEnum):
    """As stored in `dead_letters.status`."""

    OPEN = 0
    REDRIVEN = 1
    DISCARDED = 2


@dataclass(frozen=True, slots=True)
class DeadLetterId:
    """``<execution>.d.<generation>``: an execution dies at most once in a generation.

    Of a message to it: ``<execution>.d.<generation>.<message>``.
    """

    execution_id: UUID
    generation: int
    message: int = 0

    def __str__(self) -> str:
        number = f".{self.message}" if self.message else ""
        return f"{self.execution_id}.d.{self.generation}{number}"

    @classmethod
    def parse(cls, text: str) -> DeadLetterId:
        """The parts of an id as text; raises ValueError when it is not one."""
        head, kind, generation, *more = text.split(".", 3)
        if kind != "d":
            raise ValueError(text)
        found = cls(UUID(head), int(generation), int(more[0]) if more else 0)
        is_stored = found.generation <= _MOST_GENERATION and 0 <= found.message <= _MOST_MESSAGE
        if str(found) != text or not is_stored:
            raise ValueError(text)
        return found


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker that was lost while it ran the execution; `name` is host and process."""

    name: str
    started_at: datetime
    lost_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `decided_*` say who redrove or discarded it, when and why.

    Of a message, `message` is its number, and `said` what it was: `kind` as stored, `data`, `sent_at`.
    """

    execution_id: UUID
    generation: int
    tenant_id: UUID
    queue: str
    status: DeadLetterStatus
    reason: str
    error: ExecutionError
    losses: int
    lost: tuple[LostWorker, ...]
    events: tuple[Json, ...]
    created_at: datetime
    decided_at: datetime | None = None
    decided_by: Actor | None = None
    decision_reason: str | None = None
    message: int = 0
    said: Json = None

    @property
    def id(self) -> DeadLetterId:
        """What the outside calls it."""
        return DeadLetterId(self.execution_id, self.generation, self.message)

    @property
    def step_key(self) -> str | None:
        """The step that ran when it died, when the stored events name exactly one."""
        running: set[str] = set()
        for event in self.events:
            data = event.get("data") if isinstance(event, dict) else None
            key = data.get("key") if isinstance(data, dict) else None
            if isinstance(event, dict) and isinstance(key, str):
                is_start = event.get("kind") == EventKind.STEP_STARTED
                (running.add if is_start else running.discard)(key)
        return running.pop() if len(running) == 1 else None


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters a list shows; what is left out does not restrict."""

    status: tuple[DeadLetterStatus, ...] = ()
    execution_id: UUID | None = None
    queue: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
