"""Batches of keys: what is asked for in the same turn of the loop becomes one call.

As Strawberry's `DataLoader` does it, with what we use of it alone: a by-key query is one key, and half of what is asked
of the loader goes into its own bookkeeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Batch(Generic[K, V]):
    """Loads values by key, each key once; an exception in a value's place is that key's alone.

    `known_by`: by what of a key its value is known, where that is not the key.
    """

    __slots__ = ("_fetch", "_known", "_known_by", "_tasks", "_waiting")

    def __init__(
        self,
        fetch: Callable[[list[K]], Awaitable[Sequence[V | Exception]]],
        *,
        known_by: Callable[[K], Hashable] | None = None,
    ) -> None:
        self._fetch = fetch
        self._known_by = known_by
        self._known: dict[Hashable, asyncio.Future[V]] = {}
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        # The loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, key: K) -> asyncio.Future[V]:
        """The value of a key, when it is there."""
        name: Hashable = key if self._known_by is None else self._known_by(key)
        known = self._known.get(name)
        if known is not None and not known.cancelled():
            return known
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V] = loop.create_future()
        self._known[name] = future
        if not self._waiting:
            loop.call_soon(self._begin, loop)
        self._waiting.append((key, future))
        return future

    async def load_many(self, keys: Iterable[K]) -> list[V]:
        """The values of some keys, in their order."""
        return await asyncio.gather(*map(self.load, keys))

    def clear_all(self) -> None:
        """Forget what was loaded."""
        self._known.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        # Whoever asks until then joins: those who were told to go on by the same turn have their turn before.
        task = loop.create_task(self._load())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self) -> None:
        waiting, self._waiting = self._waiting, []
        wanted = [(key, future) for key, future in waiting if not future.cancelled()]
        if not wanted:
            return
        try:
            values = await self._fetch([key for key, _ in wanted])
            for (_, future), value in zip(wanted, values, strict=True):
                if future.cancelled():
                    continue
                if isinstance(value, Exception):
                    future.set_exception(value)
                else:
                    future.set_result(value)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
