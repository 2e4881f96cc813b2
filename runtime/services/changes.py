"""Changes: the one reader of a process that says which executions changed, to all who watch lists here.

It reads the feed of finished transactions, so nothing that was committed is passed by, whatever becomes of Redis: a
bell only says when to look, a poll looks anyway. It runs while somebody listens and a while longer, and keeps the
feed some minutes behind itself: who comes back to this process or another within them goes on where it was.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Self
from uuid import UUID

from runtime.model.errors import BadInput, MaestroError, Unavailable
from runtime.queue.wakeup import Wakeup
from runtime.services.watch import patiently
from runtime.store.change_feed import ChangeFeed, Mark
from runtime.telemetry.log import get_logger

# As many digits as the columns of the feed have room for.
_MARK: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,18})\.([0-9]{1,9})")

_log = get_logger("changes")


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: how often it looks without a bell, and again while something is under way; how long it keeps.

    `keep` is how far back who comes again may go on; a process that is gone keeps for as long as its lease.
    """

    poll: float = 1.0
    again: float = 0.05
    keep: float = 120.0
    lease: float = 180.0
    ready: float = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader is, in every shard; as text it is a cursor."""

    marks: tuple[Mark, ...]

    def __str__(self) -> str:
        """The cursor."""
        return "_".join(f"{shard}.{m.xact}.{m.n}" for shard, m in enumerate(self.marks))

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that a cursor names; raises BadInput when it names none."""
        marks: list[Mark] = []
        for shard, part in enumerate(text.split("_")):
            found = _MARK.fullmatch(part)
            if found is None or int(found[1]) != shard:
                raise BadInput(
                    "`after` is no cursor of a live list; take one from an update.",
                    reason="CURSOR",
                    path=("after",),
                )
            marks.append(Mark(int(found[2]), int(found[3])))
        return cls(tuple(marks))


class Listener:
    """Who wants to know about the executions of one tenant."""

    def __init__(
        self,
        tenant: UUID,
        heard: Callable[[Collection[UUID], Place], None],
        lost: Callable[[MaestroError], None],
    ) -> None:
        self.tenant = tenant
        self.heard = heard
        self.lost = lost


class Changes:
    """Hears of changes in all shards; costs nothing while nobody listens."""

    def __init__(self, feed: ChangeFeed, wakeup: Wakeup, pace: Pace | None = None) -> None:
        self._feed = feed
        self._wakeup = wakeup
        self._pace = pace or Pace()
        self._listeners: defaultdict[UUID, set[Listener]] = defaultdict(set)
        self._marks: list[Mark] = []
        self._past: list[deque[tuple[float, Mark]]] = []
        self._ready = asyncio.Event()
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._idle_since: float | None = None

    @property
    def place(self) -> Place:
        """How far it is: who listens from here on is told everything after it."""
        return Place(tuple(self._marks))

    async def ready(self) -> None:
        """Return when nothing that is committed from now on will be missed."""
        self._idle_since = None
        while self._task is not None and self._is_leaving and not self._task.done():
            await asyncio.wait({self._task})
        if self._task is None or self._task.done():
            self._ready.clear()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="changes")
        try:
            async with asyncio.timeout(self._pace.ready):
                await self._ready.wait()
        except TimeoutError:
            raise Unavailable(
                "Changes can't be followed now: a database does not answer, or has a transaction open for long.",
                reason="CHANGES_UNAVAILABLE",
            ) from None

    def add(self, listener: Listener) -> None:
        """Tell it of every change from now on."""
        self._listeners[listener.tenant].add(listener)

    def discard(self, listener: Listener) -> None:
        """Tell it no more."""
        self._listeners[listener.tenant].discard(listener)
        if not self._listeners[listener.tenant]:
            del self._listeners[listener.tenant]

    async def kept(self, cursor: str) -> Place:
        """The place that a cursor names; raises Unavailable unless everything since is still there."""
        place = Place.read(cursor)
        if len(place.marks) != len(self._feed.shards):
            raise _too_late()
        for shard, mark in enumerate(place.marks):
            await self._check_kept(shard, mark)
        return place

    async def since(self, place: Place) -> AsyncIterator[tuple[int, tuple[UUID, ...]]]:
        """Executions of anybody that changed after a place, by shard, up to now; raises Unavailable unless kept."""
        for shard, first in zip(self._feed.shards, place.marks, strict=True):
            mark, is_full = first, True
            while is_full:
                piece = await patiently(partial(self._feed.read, shard, mark))
                # Afterwards: what is kept still was kept while it was read.
                await self._check_kept(shard, mark)
                mark, is_full = piece.mark, piece.is_full
                if piece.executions:
                    yield shard, piece.executions

    async def close(self) -> None:
        """Hear no more. What is kept in the database stays for its lease: others go on for whom this process had."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.5)

    # -----------------------------------------------------------------------------------------------

    async def _check_kept(self, shard: int, mark: Mark) -> None:
        if not await patiently(partial(self._feed.is_kept, shard, mark)):
            raise _too_late()

    async def _run(self) -> None:
        unhook = self._wakeup.on_events(self._rung.set)
        try:
            while await self._follow():
                pass
            self._is_leaving = True
            self._ready.clear()
            with suppress(MaestroError):
                await self._feed.leave()
        except Exception as error:  # noqa: BLE001 - a defect here ends the streams, which come again
            _log.error("changes_broke", error=repr(error))
            self._lose(Unavailable("Changes can't be followed any more.", reason="STREAM_LOST"))
        finally:
            unhook()
            self._ready.clear()
            self._is_leaving = False

    async def _follow(self) -> bool:
        """From a beginning until there is nobody left (False), or the place was lost (True)."""
        loop = asyncio.get_running_loop()
        self._marks = [await self._patiently_begun(shard) for shard in self._feed.shards]
        self._past = [deque([(loop.time(), mark)]) for mark in self._marks]
        self._ready.set()
        kept_at = loop.time()
        while not self._is_left(loop.time()):
            self._rung.clear()
            is_behind = await self._look()
            if loop.time() - kept_at > self._pace.lease / 10:
                kept_at = loop.time()
                if not await self._keep(kept_at):
                    self._ready.clear()
                    _log.warning("changes_lost")
                    self._lose(
                        Unavailable(
                            "The stream was broken off: subscribe again.", reason="STREAM_LOST"
                        )
                    )
                    return True
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.again if is_behind else self._pace.poll):
                    await self._rung.wait()
        return False

    async def _begin(self, shard: int) -> Mark:
        unaware = await self._feed.join(shard, self._pace.lease)
        while True:
            mark = await self._feed.begin(shard, unaware)
            if mark is not None:
                return mark
            await asyncio.sleep(self._pace.again)

    async def _patiently_begun(self, shard: int) -> Mark:
        while True:
            try:
                return await self._begin(shard)
            except Unavailable:
                await asyncio.sleep(self._pace.poll)

    async def _look(self) -> bool:
        """Read every shard and tell; whether something may come any moment. A database that is away is read later."""
        is_behind = False
        for shard in self._feed.shards:
            with suppress(Unavailable):
                piece = await self._feed.read(shard, self._marks[shard])
                owners = await self._feed.owners(shard, piece.executions) if self._listeners else {}
                self._marks[shard] = piece.mark
                is_behind = is_behind or piece.is_full or piece.is_behind
                self._tell(owners)
        return is_behind

    def _tell(self, owners: dict[UUID, UUID]) -> None:
        by_tenant: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for execution, tenant in owners.items():
            by_tenant[tenant].append(execution)
        place = self.place
        for tenant, executions in by_tenant.items():
            for listener in tuple(self._listeners.get(tenant, ())):
                listener.heard(executions, place)

    async def _keep(self, now: float) -> bool:
        """Let the kept place follow; whether it is still ours in every shard."""
        for shard, past in enumerate(self._past):
            past.append((now, self._marks[shard]))
            while len(past) > 1 and past[1][0] <= now - self._pace.keep:
                past.popleft()
            try:
                if not await self._feed.keep(shard, past[0][1], self._pace.lease):
                    return False
            except Unavailable:
                continue
        return True

    def _is_left(self, now: float) -> bool:
        """Whether nobody has listened for as long as somebody might come back."""
        if self._listeners:
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or now
        return now - self._idle_since > self._pace.keep

    def _lose(self, error: MaestroError) -> None:
        for listener in self._everybody():
            listener.lost(error)

    def _everybody(self) -> Iterable[Listener]:
        return [one for some in self._listeners.values() for one in some]


def _too_late() -> Unavailable:
    return Unavailable(
        "What has changed since the last that you were told is not kept any more: forget what you show, and subscribe "
        "without `after`.",
        reason="STREAM_LOST",
    )
