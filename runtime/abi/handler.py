"""The handler socket: what a class must have to be told of events after they are committed.

A handler is told at least once of every event that it wants, by one process at a time; the events of
one execution (or workflow) come in the order of their sequence, and may come again after a failure
or a crash. So what it does must be recognisable: `Event.id` is the same with every telling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

from runtime.model.values import Json

Start = Literal["now", "beginning"]
WhenStuck = Literal["skip", "wait"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened and is committed.

    `kind` is its word (`execution_failed`, `workflow_published`); `noun` and `subject` say to what,
    `sequence` numbers the events of that subject without gap. `actor` is known for what people did.
    """

    id: str
    kind: str
    noun: str
    subject: UUID
    sequence: int
    tenant_id: UUID
    at: datetime
    data: Json = None
    actor: Json = None


class TryLater(Exception):
    """Raised by a handler that can't take events at the moment: it is nothing about these events.

    They are told again after `seconds`, for as long as it takes.
    """

    def __init__(self, message: str = "", *, seconds: float = 10.0) -> None:
        super().__init__(message or "The handler asked to be told later.")
        self.seconds = seconds


@runtime_checkable
class Handler(Protocol):
    """The class contract.

    `events` are words, or beginnings with a star (`execution_*`). `start` says what a handler that
    was never here before is told first. `when_stuck` says what happens with an event that it fails
    on again and again: it is recorded and passed by, or it waits, and what follows with it.
    """

    name: str
    events: Sequence[str]
    start: Start
    when_stuck: WhenStuck
    timeout_seconds: float

    async def handle(self, events: Sequence[Event]) -> None:
        """Take these events; returning means that they need not be told again."""

    async def missed(self, until: datetime) -> None:
        """Hear that events up to an instant are gone: the handler was away for longer than they are kept."""
