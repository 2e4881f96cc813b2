"""Group commit: take everything that is pending, send it in one call, answer the waiters.

There is no timer: while one call is under way the next batch gathers, so a single item waits for
nobody and a thousand share one commit. The enqueuer of the API and the flusher of the worker are
built on this loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_ITEMS: Final = 2_000
MAX_BYTES: Final = 4 << 20


class Batcher(Generic[T]):
    """Gathers items and sends them batch by batch, in the order in which they came.

    `send` answers its waiters itself and never raises; `size` says what an item weighs.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Awaitable[None]],
        *,
        size: Callable[[T], int],
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
        name: str = "batcher",
    ) -> None:
        self._send = send
        self._size = size
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._pending: deque[T] = deque()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closing or self._task.done()

    def add(self, item: T) -> None:
        """Let an item go with the next batch."""
        self._pending.append(item)
        self._filled.set()
        self._idle.clear()

    def withdraw(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take items out again that were not sent yet."""
        out = [item for item in self._pending if unwanted(item)]
        if out:
            self._pending = deque(item for item in self._pending if not unwanted(item))
        return out

    async def flushed(self) -> None:
        """Until nothing is pending and nothing under way."""
        await self._idle.wait()

    async def close(self) -> None:
        """Send what is pending, then end."""
        self._closing = True
        self._filled.set()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._send_all()
        finally:
            # Also when it breaks: nothing is sent any more, and nobody is to wait for it.
            self._idle.set()

    async def _send_all(self) -> None:
        while True:
            await self._filled.wait()
            # One turn of the loop lets all that is ready now join this batch.
            await asyncio.sleep(0)
            batch = self._take()
            if batch:
                await self._send(batch)
            elif self._closing:
                return
            # What was sent is nobody's any more: an idle writer must not keep it alive.
            del batch
            if not self._pending:
                self._idle.set()
                if not self._closing:
                    self._filled.clear()

    def _take(self) -> list[T]:
        batch: list[T] = []
        weight = 0
        while self._pending and len(batch) < self._max_items:
            weight += self._size(self._pending[0])
            if batch and weight > self._max_bytes:
                break
            batch.append(self._pending.popleft())
        return batch
