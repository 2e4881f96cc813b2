"""Streams of one execution: what is stored first, then what comes, with no gap and no duplicate.

Everything is read from PostgreSQL after a cursor; a bell only says when to look again, and a slow poll
looks anyway. The status is read before the events: when it is final, its event is among them, so a
stream knows when it has seen the end.

All who watch the same execution share a `Tail`: one reads, and holds the newest events for all. Each has only a
place of its own; one that falls behind what is held reads the table for itself, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from uuid import UUID

from runtime.model.errors import NotFound, Unavailable
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent, LogLine
from runtime.queue.wakeup import Bell, Wakeup
from runtime.store.execution_record import ExecutionRecords
from runtime.store.log import LogStore
from runtime.telemetry.metrics import Metrics

T = TypeVar("T")

_PAGE: Final = 500
_HELD: Final = 256
_SPARE: Final = 64
_WOKEN: Final = 256
_POLL_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 0.5


class Tail:
    """The newest events of one execution, read once for all who watch it here.

    `last` is the number up to which it has read, and `first` that of the oldest event it holds. `reads` counts the
    looks at the table: who came during one may believe what it says of the end only after the next.
    """

    def __init__(self, records: ExecutionRecords, tenant: UUID, execution: UUID) -> None:
        self._records = records
        self._tenant = tenant
        self._execution = execution
        self._held: deque[ExecutionEvent] = deque(maxlen=_HELD)
        self._newest: tuple[int, int, tuple[ExecutionEvent, ...]] = (0, 0, ())
        self._first: list[asyncio.Future[int]] = []
        self._waiting: list[tuple[asyncio.Future[int], frozenset[EventKind]]] = []
        self.watchers = 0
        self.last = 0
        self.begun = self.done = 0
        self.is_over = False
        self.error: Exception | None = None
        self._bell = Bell()

    def after(self, place: int) -> Sequence[ExecutionEvent] | None:
        """What is held after a place, in order; None when that does not reach back so far."""
        if place >= self.last:
            return ()
        first = self._held[0].sequence if self._held else self.last + 1
        if place < first - 1:
            return None
        # All who keep up ask the same.
        if self._newest[:2] != (place, self.last):
            count = self.last - place
            self._newest = (place, self.last, tuple(self._held[n] for n in range(-count, 0)))
        return self._newest[2]

    def look(self) -> int:
        """Have it look at the table once more; the number of the look that counts."""
        self._bell.ring()
        return self.begun + 1

    def changed(self, wanted: frozenset[EventKind]) -> asyncio.Future[int]:
        """Done at the next look that found something of these kinds (of any, for none), or the end.

        What it gives is the number up to which nothing was wanted of what came after all that one had: one who has
        had all that was read. Who waits for the first look has had nothing yet.
        """
        news: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self.done:
            self._first.append(news)
            return news
        if len(self._waiting) > 2 * self.watchers + _SPARE:
            # Who left while nothing happened.
            self._waiting = [one for one in self._waiting if not one[0].done()]
        self._waiting.append((news, wanted))
        return news

    async def run(self, bell: Bell, poll: float) -> None:
        """Read until nobody watches."""
        self._bell = bell
        try:
            self.last = await self._start()
            while True:
                await self._read()
                await self._bell.wait(poll)
        except Exception as error:  # noqa: BLE001 - each who watches raises it
            self.error = error
            self._tell()

    async def _start(self) -> int:
        """Where to begin: what is newest is held, and who wants more reads it."""
        last = await patiently(lambda: self._records.last_sequence(self._tenant, self._execution))
        return max(0, last - _HELD)

    async def _read(self) -> None:
        self.begun += 1
        before, kinds = self.last, set[EventKind]()
        while True:
            status, found = await patiently(
                lambda: self._records.status_and_events(
                    self._tenant, self._execution, after=self.last, limit=_PAGE
                )
            )
            if status is None:
                raise unknown(self._execution)
            if found:
                self._held.extend(found)
                self.last = found[-1].sequence
                kinds.update(event.kind for event in found)
            is_all = len(found) < _PAGE
            self.is_over = is_all and status.is_terminal and not went_on(found)
            if is_all:
                break
        self.done = self.begun
        # A poll that found nothing wakes nobody.
        if kinds or self.is_over or self._first:
            self._tell(before, kinds)

    def _tell(self, before: int = 0, kinds: Collection[EventKind] = ()) -> None:
        """Wake those who want any of what came after a number; all of them at the end."""
        first, self._first = self._first, []
        waiting, self._waiting = self._waiting, []
        is_for_all = self.is_over or self.error is not None
        woken = [(news, 0) for news in first]
        for one in waiting:
            news, wanted = one
            if news.done():
                continue
            if is_for_all or not wanted or not wanted.isdisjoint(kinds):
                woken.append((news, before))
            else:
                self._waiting.append(one)
        self._wake(iter(woken))

    def _wake(self, woken: Iterator[tuple[asyncio.Future[int], int]]) -> None:
        """Wake so many now and the others in the next turns of the loop.

        All in one turn would be longer than a turn may be, and each of them would be woken a second time for having
        given way. Who is told a little later misses nothing: he reads all that came after what he had.
        """
        told = 0
        for news, before in woken:
            if news.done():
                continue
            news.set_result(before)
            told += 1
            if told == _WOKEN:
                asyncio.get_running_loop().call_soon(self._wake, woken)
                return


class Watcher:
    """Makes streams; each holds no connection while it waits."""

    def __init__(
        self,
        *,
        records: ExecutionRecords,
        logs: LogStore,
        wakeup: Wakeup,
        metrics: Metrics,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._records = records
        self._logs = logs
        self._wakeup = wakeup
        self._open = metrics.subscribers
        self._poll = poll_seconds
        self._tails: dict[tuple[UUID, UUID], tuple[Tail, asyncio.Task[None]]] = {}

    async def events(
        self, tenant: UUID, execution: UUID, after: int, kinds: Sequence[EventKind]
    ) -> AsyncIterator[ExecutionEvent]:
        """Events after a sequence; ends after the last event of the newest generation."""
        wanted = frozenset(kinds)
        with self._open.track_inprogress():
            async with self._tail(tenant, execution) as tail:
                counts = tail.look()
                while True:
                    found = tail.after(after) if tail.done else ()
                    if found is None:
                        # Far behind, or just come: read for oneself what is not held any more.
                        found = await self._page(tenant, execution, after)
                    for event in found:
                        after = event.sequence
                        if not wanted or event.kind in wanted:
                            yield event
                    if tail.error is not None:
                        raise tail.error
                    if after < tail.last and tail.done:
                        continue
                    if tail.is_over and tail.done >= counts:
                        return
                    after = max(after, await tail.changed(wanted))

    async def _page(self, tenant: UUID, execution: UUID, after: int) -> Sequence[ExecutionEvent]:
        """What one who is far behind reads for itself."""
        found = await patiently(
            lambda: self._records.events(tenant, execution, after=after, limit=_PAGE)
        )
        if not found:
            raise unknown(execution)
        return found

    @asynccontextmanager
    async def _tail(self, tenant: UUID, execution: UUID) -> AsyncIterator[Tail]:
        key = (tenant, execution)
        if key not in self._tails or self._tails[key][0].error is not None:
            made = Tail(self._records, tenant, execution)
            task = asyncio.get_running_loop().create_task(self._follow(made, execution))
            self._tails[key] = made, task
        tail, task = self._tails[key]
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers:
                if self._tails.get(key, (None,))[0] is tail:
                    del self._tails[key]
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, tail: Tail, execution: UUID) -> None:
        async with self._wakeup.listen(execution) as bell:
            await tail.run(bell, self._poll)

    async def lines(
        self, tenant: UUID, execution: UUID, after: int, step: int | None
    ) -> AsyncIterator[LogLine]:
        """Log lines after a position; ends when the execution has and no more lines arrive."""
        settled = False
        with self._open.track_inprogress():
            async with self._wakeup.listen(execution, "logs") as bell:
                while True:
                    seen = after
                    status = await patiently(lambda: self._records.status(tenant, execution))
                    if status is None:
                        raise unknown(execution)
                    found = await patiently(
                        lambda seen=seen: self._logs.read(  # type: ignore[misc] # mypy sees no type for a lambda's default
                            tenant, execution, step=step, after=seen, limit=_PAGE
                        )
                    )
                    for line in found:
                        after = line.position
                        yield line
                    if len(found) == _PAGE:
                        continue
                    if status.is_terminal and settled and not found:
                        return
                    # Lines travel beside the checkpoints and may come just after the last of them.
                    settled = status.is_terminal
                    await bell.wait(_SETTLE_SECONDS if settled else self._poll)


def went_on(found: Sequence[ExecutionEvent]) -> bool:
    """Whether a retry came between the two reads; its generation may have got as far as it likes."""
    for event in reversed(found):
        if event.kind in BEGINS_AGAIN or event.kind.ends_execution:
            return not event.kind.ends_execution
    return False


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """A read that outlives a restart of PostgreSQL."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _PATIENCE_SECONDS
    while True:
        try:
            return await read()
        except Unavailable:
            if loop.time() > give_up:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


def unknown(execution: UUID) -> NotFound:
    """What to say of an execution that is not there, or not the caller's."""
    return NotFound(f"There is no execution {execution}.", reason="EXECUTION_NOT_FOUND")
