"""Line: one handler on one stream of one shard, in a task of its own.

It reads pages, tells the handler, and moves the cursor after the handler's success; so a crash in
between tells a page again, and nothing is passed by in silence. Nobody else waits for it.

The rule for failures: the same events are told again, after pauses that double. From the third
failure in a row on they are told one by one, so that one bad event can't hold back the good ones around
it. One on which the handler goes on failing is recorded and passed by, or waits, as the handler
says. TryLater is no failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from runtime.abi.handler import Event, TryLater
from runtime.bus.registry import Registered
from runtime.entropy import Entropy
from runtime.model.errors import Unavailable
from runtime.store.event_bus import Cursor, EventBusStore, Happened, Page, id_of
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

T = TypeVar("T")

MAX_ERROR: Final = 1_000
CHUNK: Final = 200

_log = get_logger("bus")


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Paces, in seconds, and how often an event is tried.

    `together` failures in a row and events come one by one; `attempts` and one is given up.
    """

    poll_seconds: float = 2.0
    lease_seconds: float = 12.0
    pause_seconds: float = 0.5
    longest_pause_seconds: float = 300.0
    away_seconds: float = 1.0
    together: int = 3
    attempts: int = 15


class Lost(Exception):
    """The cursor is another process's now."""


class HandlerBroke(Exception):
    """A handler raised what is no error of ours to raise: it wanted to end its task, or the process."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Line:
    """Made when this process gets hold of a cursor; cancelled when it loses it."""

    def __init__(
        self,
        registered: Registered,
        cursor: Cursor,
        *,
        me: int,
        store: EventBusStore,
        settings: BusSettings,
        metrics: Metrics,
        entropy: Entropy,
        mask: Callable[[str], str],
    ) -> None:
        self.cursor = cursor
        self._registered = registered
        self._handler = registered.handler
        self._me = me
        self._store = store
        self._settings = settings
        self._entropy = entropy
        self._mask = mask
        self._attempts = cursor.attempts
        self._handled = metrics.handler_events.labels(registered.name)
        self._failed = metrics.handler_failures.labels(registered.name)
        self._skipped = metrics.handler_skipped.labels(registered.name)
        self._told_until: datetime | None = None
        self._news = asyncio.Event()
        self._news.set()

    def look(self, missed_until: datetime | None = None) -> None:
        """There may be something new; and events may have gone meanwhile that this handler was too slow for."""
        if missed_until is not None and missed_until != self._told_until:
            self.cursor = self.cursor._replace(missed_until=missed_until)
        self._news.set()

    async def run(self) -> None:
        """Until cancelled, or until the cursor is another's."""
        while True:
            await self._news.wait()
            self._news.clear()
            while True:
                await self._tell_missed()
                page = await self._patiently(self._next_page)
                if page.place is None:
                    break
                await self._take(page)

    async def _next_page(self) -> Page:
        return await self._store.next_page(self.cursor, self._registered.kinds)

    async def _take(self, page: Page) -> None:
        place = page.place
        if place is None:
            return
        await self._deliver([one for one in page.events if self._registered.wants(one.kind)])
        if not await self._patiently(lambda: self._store.move(self._me, self.cursor, place)):
            raise Lost
        self.cursor = self.cursor._replace(**place._asdict())

    async def _tell_missed(self) -> None:
        """The handler was away for longer than events are kept: it hears of that first."""
        until, cursor = self.cursor.missed_until, self.cursor
        if until is None:
            return
        self._told_until, self.cursor = until, cursor._replace(missed_until=None)
        _log.warning("handler_missed_events", handler=self._registered.name, until=str(until))
        try:
            await self._call(self._handler.missed(until))
        except Exception as error:  # noqa: BLE001 - the next who runs it tells it again
            _log.warning("handler_failed", handler=self._registered.name, error=self._words(error))
            return
        await self._patiently(lambda: self._store.told(self._me, cursor))

    async def _call(self, work: Awaitable[None]) -> None:
        """Let the handler work for as long as it may; what would end this task, or the process, is a failure too."""
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(self._handler.timeout_seconds):
                await work
        except asyncio.CancelledError as error:
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this task: the handler awaited something of its own that was cancelled.
            raise HandlerBroke(error) from error
        except SystemExit as error:
            raise HandlerBroke(error) from error

    async def _deliver(self, events: Sequence[Happened]) -> None:
        """Tell of these events, for as long as it takes."""
        at = 0
        # Up to here events come one by one, because all together failed.
        careful = CHUNK if self._attempts >= self._settings.together else 0
        while at < len(events):
            part = events[at : at + (1 if at < careful else CHUNK)]
            try:
                await self._call(self._handler.handle(tuple(map(told, part))))
            except TryLater as later:
                _log.info("handler_waits", handler=self._registered.name, reason=str(later))
                await asyncio.sleep(later.seconds)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told again
                at += await self._after_failure(part, error)
                if self._attempts >= self._settings.together:
                    careful = max(careful, at + len(part))
            else:
                at += len(part)
                self._handled.inc(len(part))
                if self._attempts:
                    await self._note(0, None)

    async def _after_failure(self, part: Sequence[Happened], error: Exception) -> int:
        """Note it and pause; how many events are passed by: one that failed too often, or none."""
        words, attempts = self._words(error), self._attempts + 1
        self._failed.inc()
        event = part[0]
        is_stuck = len(part) == 1 and attempts >= self._settings.attempts
        _log.warning(
            "handler_failed",
            handler=self._registered.name,
            error=words,
            attempt=attempts,
            event_id=told(event).id,
            events=len(part),
        )
        if is_stuck and self._handler.when_stuck == "skip":
            await self._patiently(lambda: self._store.skip(self.cursor, event, attempts, words))
            self._skipped.inc()
            await self._note(0, None)
            return 1
        tenants = {one.tenant_id for one in part}
        await self._note(attempts, words, event.tenant_id if len(tenants) == 1 else None)
        await asyncio.sleep(self._pause(attempts))
        return 0

    async def _note(self, attempts: int, error: str | None, tenant: UUID | None = None) -> None:
        self._attempts = attempts
        if not await self._patiently(
            lambda: self._store.note(self._me, self.cursor, attempts, error, tenant)
        ):
            raise Lost

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """A statement that outlives a restart of PostgreSQL."""
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(self._settings.away_seconds)

    def _pause(self, attempts: int) -> float:
        settings = self._settings
        # The exponent is bounded before the power: a handler may fail for days.
        longest = settings.pause_seconds * 2.0 ** min(attempts - 1, 30)
        bounded = min(longest, settings.longest_pause_seconds)
        return bounded * (1 + self._entropy.fraction()) / 2

    def _words(self, error: Exception) -> str:
        cause = error.error if isinstance(error, HandlerBroke) else error
        text = f"{type(cause).__name__}: {cause}"
        if isinstance(error, TimeoutError):
            text = f"It took longer than {self._handler.timeout_seconds:g} seconds."
        return self._mask(text).replace("\x00", "")[:MAX_ERROR]


def told(event: Happened) -> Event:
    """A stored event as a handler sees it."""
    return Event(
        id=id_of(event.noun, event.subject, event.sequence),
        kind=event.kind,
        noun=event.noun,
        subject=event.subject,
        sequence=event.sequence,
        tenant_id=event.tenant_id,
        at=event.at,
        data=event.data,
        actor=event.actor,
    )
