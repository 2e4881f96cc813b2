"""The base class of event handlers: told of what happened after it is committed, at least once.

class Board(EventHandler):
    \"\"\"Show what failed.\"\"\"
    name = "shop.board"
    events = ("execution_failed",)

    async def handle(self, events: Sequence[Event]) -> None: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from runtime.abi.handler import Event, Start, WhenStuck


class EventHandler(ABC):
    """One object per process; of all processes one at a time is told, so keep nothing that must last."""

    name: str
    events: Sequence[str]
    start: Start = "now"
    when_stuck: WhenStuck = "skip"
    timeout_seconds: float = 30.0

    @abstractmethod
    async def handle(self, events: Sequence[Event]) -> None:
        """Take these events; any exception means that they are told again, TryLater that it is not their fault."""

    async def missed(self, until: datetime) -> None:  # noqa: B027 - most handlers have nobody to tell
        """Hear that events up to an instant are gone: the handler was away for longer than they are kept."""
