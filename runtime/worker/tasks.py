"""Tasks of one owner: counted while they run, waited for at the end, and none of them breaks unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def _nothing() -> None:
    """Nobody wants to know."""


class Tasks:
    """What an owner has started. `quiet` is set while nothing runs."""

    def __init__(self, name: str, *, on_ended: Callable[[], None] = _nothing) -> None:
        self._name = name
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self.quiet = asyncio.Event()
        self.quiet.set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something."""
        task = self._loop.create_task(work, name=self._name)
        self._running.add(task)
        self.quiet.clear()
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Nobody waits for them any more."""
        for task in tuple(self._running):
            task.cancel()

    async def join(self, seconds: float) -> None:
        """Wait until they have ended; those that do not listen are left behind."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=seconds)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._running:
            self.quiet.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": f"a {self._name}'s task broke", "exception": error}
            )
        self._on_ended()
