"""Named signals of the worker's loop: what tests wait for instead of sleeping."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, Protocol
from uuid import UUID

CLAIMED: Final = "claimed"
CHECKPOINTED: Final = "checkpointed"
CALLING: Final = "calling"
PARKED: Final = "parked"
CLOSED: Final = "closed"
REGISTERED: Final = "registered"
FENCED: Final = "fenced"
TAKEN_OVER: Final = "taken_over"
BEAT: Final = "beat"


class News(Protocol):
    """Told of every commit: of which execution, and whether its owner gave it up with it."""

    def __call__(self, execution_id: UUID, *, is_end: bool) -> None:
        """Take note; called tens of thousands of times a second."""


class Signals:
    """Counts what happened; firing costs one addition."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []

    def fire(self, name: str, times: int = 1) -> None:
        """It happened."""
        self.counts[name] += times
        if self._waiting:
            self._wake(name)

    async def wait(self, name: str, count: int = 1, timeout: float = 10.0) -> None:
        """Return when it has happened so often since the start; raises TimeoutError."""
        if self.counts[name] >= count:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, count, future))
        async with asyncio.timeout(timeout):
            await future

    def _wake(self, name: str) -> None:
        for entry in tuple(self._waiting):
            wanted, count, future = entry
            if wanted == name and self.counts[name] >= count:
                self._waiting.remove(entry)
                if not future.done():
                    future.set_result(None)
