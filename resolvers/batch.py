"""Batches of keys: what is asked for in the same turn of the loop becomes one call.

As Strawberry's `DataLoader` does it, with what we use of it alone: a by-key query is one key, and half of what is asked
of the loader goes into its own bookkeeping. Whoever knows that nobody else asks (a plan that waits for one thing) need
not wait for the end of the turn either: three turns of the loop take longer than the statement that they put off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Loading(asyncio.Future[V]):
    """A value that is going to be loaded: at the end of this turn of the loop, or when somebody says so."""

    __slots__ = ("batch",)

    def __init__(self, batch: Batch[Any, V], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        # Until it is loaded: no circle stays.
        self.batch: Batch[Any, V] | None = batch

    async def now(self) -> V:
        """The value; what has been asked for so far is loaded by the caller's own task.

        For a caller that knows that nobody else is about to ask. Is he cancelled, so are all who wait for the same.
        """
        if self.batch is not None:
            await self.batch.load_now()
        return await self


class Batch(Generic[K, V]):
    """Loads values by key, each key once; an exception in a value's place is that key's alone.

    `known_by`: by what of a key its value is known, where that is not the key.
    """

    __slots__ = ("_beginning", "_fetch", "_known", "_known_by", "_tasks", "_waiting")

    def __init__(
        self,
        fetch: Callable[[list[K]], Awaitable[Sequence[V | Exception]]],
        *,
        known_by: Callable[[K], Hashable] | None = None,
    ) -> None:
        self._fetch = fetch
        self._known_by = known_by
        self._known: dict[Hashable, Loading[V]] = {}
        self._waiting: list[tuple[K, Loading[V]]] = []
        self._beginning: asyncio.Handle | None = None
        # The loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, key: K) -> Loading[V]:
        """The value of a key, when it is there."""
        name: Hashable = key if self._known_by is None else self._known_by(key)
        known = self._known.get(name)
        if known is not None and not known.cancelled():
            return known
        loop = asyncio.get_running_loop()
        future: Loading[V] = Loading(self, loop)
        self._known[name] = future
        if not self._waiting:
            self._beginning = loop.call_soon(self._begin, loop)
        self._waiting.append((key, future))
        return future

    async def load_many(self, keys: Iterable[K]) -> list[V]:
        """The values of some keys, in their order."""
        return await asyncio.gather(*map(self.load, keys))

    def clear_all(self) -> None:
        """Forget what was loaded."""
        self._known.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beginning = None
        # Whoever asks until then joins: those who were told to go on by the same turn have their turn before.
        task = loop.create_task(self._load())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def load_now(self) -> None:
        """Load what has been asked for in this turn, without waiting for its end."""
        if self._beginning is not None:
            self._beginning.cancel()
            await self._load()

    async def _load(self) -> None:
        self._beginning = None
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.batch = None
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
        except BaseException:
            for _, future in wanted:
                future.cancel()
            raise
