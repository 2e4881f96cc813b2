"""Live lists: the matching page, then the newest state of every object that comes in, changes, or falls out.

Level-triggered: between two looks an object may change often, and its newest state is told, at least once; a final
state always is. Who watches the same list of the same tenant shares a `Topic`, which asks the table once for all of
them. Each has a bounded place for what it has not taken yet; one that is too slow for it is emptied, and reads
from the table what changed since. The others wait for it once in a burst, and no longer than `LivePace.patience`;
for one that is behind already they don't wait.

A noun joins by saying how it is read: see `Noun`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from runtime.model.change import Change, UpdateKind
from runtime.model.errors import MaestroError
from runtime.services.changes import Changes, Listener, Place
from runtime.services.watch import patiently
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

W = TypeVar("W", bound=Hashable)
W_contra = TypeVar("W_contra", bound=Hashable, contravariant=True)
T = TypeVar("T")

# Before the place of one who was not shown all of the page: he gets it once more, and what changed since.
AMID_THE_PAGE: Final = "page:"
_READERS: Final = 2

_log = get_logger("live")


@dataclass(frozen=True, slots=True)
class LivePace:
    """How often a list is told at most, in seconds, and what is held in memory.

    `pending` for each who watches, `changed` for each list, `shown` for all lists of the process together.
    A burst is told in pieces of `at_once`; `patience` is how long all wait, once in a burst, for one who has not taken
    the last.
    """

    interval: float = 1.0
    patience: float = 5.0
    at_once: int = 250
    pending: int = 1_000
    changed: int = 20_000
    shown: int = 100_000


class Noun(Protocol[W_contra, T]):
    """How a noun is read for a live list: in the tenant's own view, by the filter of its list.

    What changes is always an execution; `owner` says to which one an object belongs.
    """

    async def page(self, tenant: UUID, wanted: W_contra, size: int) -> Sequence[T]:
        """The first page of the list."""

    async def matching(
        self, tenant: UUID, wanted: W_contra, executions: Sequence[UUID]
    ) -> Sequence[T]:
        """Those that belong to these executions and are in the list."""

    async def ever_matching(
        self, tenant: UUID, wanted: W_contra, executions: Sequence[UUID]
    ) -> Sequence[T]:
        """Those that belong to these executions and are in the list, or may have been."""

    def key(self, record: T) -> UUID:
        """What tells two of them apart."""

    def owner(self, record: T) -> UUID:
        """The execution that one belongs to."""


class Seat(Generic[T]):
    """One who watches, and what was not taken yet: the newest state of each object.

    Everything up to `place` was taken; that is where one goes on who is `behind`.
    Nobody waits for one who is `late`, until he takes again.
    """

    def __init__(self, place: Place, most: int) -> None:
        self.place = place
        self.is_behind = False
        self.is_idle = False
        self.taken = asyncio.Event()
        self.taken.set()
        self._is_late = False
        self._pending: OrderedDict[UUID, Change[T]] = OrderedDict()
        self._error: MaestroError | None = None
        self._most = most
        self._rung = asyncio.Event()

    def offer(self, told: Sequence[tuple[UUID, Change[T]]], before: Place) -> None:
        """Take what changed after a place; all of it, or note that it has to be read."""
        if self.is_behind:
            return
        if self.is_idle and not self._pending:
            self.place = before
        for key, change in told:
            self._pending[key] = change
            self._pending.move_to_end(key)
        if len(self._pending) > self._most:
            self.fall_behind(before)
        elif self._pending and not self._is_late:
            self.taken.clear()
        self._rung.set()

    def fall_behind(self, before: Place) -> None:
        """Hold nothing for him: he reads what was not taken, and all after a place."""
        if self.is_behind:
            return
        if self.is_idle and not self._pending:
            self.place = before
        self._pending.clear()
        self.is_behind = True
        self.be_late()
        self._rung.set()

    def be_late(self) -> None:
        """Have nobody wait for him."""
        self._is_late = True
        self.taken.set()

    def end(self, error: MaestroError) -> None:
        """Say that nothing more can come."""
        self._error = error
        self._rung.set()

    def take(self) -> list[Change[T]]:
        """What was not taken yet, in order."""
        taken = list(self._pending.values())
        self._pending.clear()
        self.taken.set()
        self._is_late = False
        return taken

    async def wait(self) -> None:
        """Return when there is something to take; raises what ended the list."""
        self.is_idle = True
        while not (self._pending or self.is_behind or self._error):
            self._rung.clear()
            await self._rung.wait()
        self.is_idle = False
        if self._error is not None:
            raise self._error


class Topic(Generic[W, T]):
    """One list of one tenant, and all who watch it here."""

    def __init__(
        self,
        noun: Noun[W, T],
        tenant: UUID,
        wanted: W,
        pace: LivePace,
        most_shown: Callable[[], int],
    ) -> None:
        self._noun = noun
        self._tenant = tenant
        self._wanted = wanted
        self._pace = pace
        self._most_shown = most_shown
        self.is_over = False
        self._seats: set[Seat[T]] = set()
        self._changed: dict[UUID, None] = {}
        # By execution, the keys of what somebody was shown: to say so when it falls out of the list.
        self._shown: OrderedDict[UUID, tuple[UUID, ...]] = OrderedDict()
        self._has_forgotten = False
        self._has_dropped = False
        self._looks = 0
        self._place: Place | None = None
        self._news = asyncio.Event()

    @contextmanager
    def seat(self, place: Place) -> Iterator[Seat[T]]:
        """A place for one who watches."""
        seat = Seat[T](place, self._pace.pending)
        self._seats.add(seat)
        try:
            yield seat
        finally:
            self._seats.discard(seat)
            seat.taken.set()

    @property
    def is_empty(self) -> bool:
        """Whether nobody watches."""
        return not self._seats

    def start(self, changes: Changes, place: Place) -> None:
        """Listen from a place on."""
        self._listener = Listener(self._tenant, self.heard, self.lost)
        changes.add(self._listener)
        self._changes = changes
        self._task = asyncio.get_running_loop().create_task(self._run(place), name="live-list")

    async def stop(self) -> None:
        """Listen no more."""
        self._changes.discard(self._listener)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def heard(self, executions: Collection[UUID], place: Place) -> None:
        """Executions of the tenant changed, up to a place; more than can be told are not held, each reads them."""
        self._changed.update(dict.fromkeys(executions))
        if len(self._changed) > self._pace.changed:
            self._changed.clear()
            self._has_dropped = True
        self._place = place
        self._news.set()

    def lost(self, error: MaestroError) -> None:
        """Nothing more can be told; who comes now begins another topic."""
        self.is_over = True
        # One who reads nothing keeps his seat, and with it the list, for as long as he likes.
        self._changes.discard(self._listener)
        self._changed.clear()
        for seat in tuple(self._seats):
            seat.end(error)

    async def _run(self, place: Place) -> None:
        """Tell what changed, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = tuple(self._changed), {}
            before, place = place, self._place or place
            if self._has_dropped:
                self._has_dropped = False
                for seat in self._seats:
                    seat.fall_behind(before)
            try:
                await self._tell(changed, before, place)
            except Exception as error:  # noqa: BLE001 - whoever watches is told, and comes again
                known = isinstance(error, MaestroError)
                _log.error("live_list_broke", error=repr(error))
                self.lost(error if known else MaestroError())  # type: ignore[arg-type] # it is one if known
                return
            await asyncio.sleep(self._pace.interval)

    async def _tell(self, executions: Sequence[UUID], before: Place, place: Place) -> None:
        """Offer what changed in pieces: all at once, a burst would leave everybody behind, to read it one by one."""
        size, late = self._pace.at_once, set[Seat[T]]()
        for start in range(0, len(executions), size):
            part = executions[start : start + size]
            after = place if start + size >= len(executions) else before
            told = [one async for one in self.newest(part, before, after)]
            for seat in tuple(self._seats):
                seat.offer(told, before)
            if after is before:
                await self._until_taken(late)

    async def _until_taken(self, late: set[Seat[T]]) -> None:
        """Wait for all but those who were late once in this burst, or have not taken since."""
        awaited = self._seats - late
        try:
            async with asyncio.timeout(self._pace.patience):
                for seat in awaited:
                    await seat.taken.wait()
        except TimeoutError:
            for seat in awaited:
                if not seat.taken.is_set():
                    seat.be_late()
                    late.add(seat)

    async def page(self, size: int) -> Sequence[T]:
        """The first page, which somebody is going to be shown."""
        with self._looking():
            found = await patiently(lambda: self._noun.page(self._tenant, self._wanted, size))
            for one in found:
                owner = self._noun.owner(one)
                self._show(owner, {*self._shown.get(owner, ()), self._noun.key(one)})
        return found

    async def newest(
        self, executions: Sequence[UUID], before: Place, after: Place, *, is_behind: bool = False
    ) -> AsyncIterator[tuple[UUID, Change[T]]]:
        """The newest state of what changed; who has the last of it has had everything up to `after`.

        Of one who is behind nobody knows what he was shown: he is told of all that is not in the list any more.
        """
        told: list[tuple[UpdateKind, T]] = []
        size = self._pace.at_once
        for start in range(0, len(executions), size):
            told += await self._newest(executions[start : start + size], is_behind=is_behind)
        early, late = str(before), str(after)
        for number, (kind, record) in enumerate(told, 1):
            cursor = late if number == len(told) else early
            yield self._noun.key(record), Change(kind, cursor, record)

    async def _newest(
        self, executions: Sequence[UUID], *, is_behind: bool
    ) -> list[tuple[UpdateKind, T]]:
        key, owner = self._noun.key, self._noun.owner
        with self._looking() if is_behind else nullcontext():
            found = await patiently(
                lambda: self._noun.matching(self._tenant, self._wanted, executions)
            )
            # Only now: who looked meanwhile may be shown what had fallen out before it was looked for here.
            is_unknown = is_behind or self._has_forgotten or self._looks > 0
            shown = {each: self._shown.get(each, ()) for each in executions}
            inside: defaultdict[UUID, set[UUID]] = defaultdict(set)
            for one in found:
                inside[owner(one)].add(key(one))
            for each in executions:
                # One who reads up tells nobody else what fell out.
                self._show(each, {*shown[each], *inside[each]} if is_behind else inside[each])
        told: list[tuple[UpdateKind, T]] = []
        for one in found:
            is_known = key(one) in shown[owner(one)]
            told.append((UpdateKind.UPDATED if is_known else UpdateKind.CREATED, one))
        doubtful = [each for each in executions if is_unknown or set(shown[each]) - inside[each]]
        if doubtful:
            ever = await patiently(
                lambda: self._noun.ever_matching(self._tenant, self._wanted, doubtful)
            )
            for one in ever:
                was_shown = is_unknown or key(one) in shown[owner(one)]
                if was_shown and key(one) not in inside[owner(one)]:
                    told.append((UpdateKind.REMOVED, one))
        return told

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """While somebody is going to be shown what was in the list when he asked, nobody knows what that is."""
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1

    def _show(self, execution: UUID, keys: Iterable[UUID]) -> None:
        self._shown.pop(execution, None)
        if keys:
            self._shown[execution] = tuple(keys)
        while len(self._shown) > self._most_shown():
            self._shown.popitem(last=False)
            self._has_forgotten = True


class LiveList(Generic[W, T]):
    """All live lists of one noun in this process."""

    def __init__(
        self, noun: Noun[W, T], changes: Changes, metrics: Metrics, pace: LivePace | None = None
    ) -> None:
        self._noun = noun
        self._changes = changes
        self._open = metrics.subscribers
        self._pace = pace or LivePace()
        self._topics: dict[tuple[UUID, W], Topic[W, T]] = {}
        # When all come again at once, they leave connections for others, in every database: who waits for one that is
        # away holds up nobody who reads another.
        self._reading: defaultdict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_READERS)
        )

    async def watch(
        self, tenant: UUID, wanted: W, *, size: int, after: str | None = None
    ) -> AsyncIterator[Change[T]]:
        """The page, or what changed after a cursor; then every change.

        Raises BadInput for what is no cursor, Unavailable when what changed since is not kept any more.
        """
        with self._open.track_inprogress():
            await self._changes.ready()
            place = self._changes.place
            begin = await self._changes.kept(after.removeprefix(AMID_THE_PAGE)) if after else place
            async with self._joined(tenant, wanted, place) as (topic, seat):
                seat.place = begin
                if after:
                    seat.fall_behind(begin)
                if not after or after.startswith(AMID_THE_PAGE):
                    page = await topic.page(size)
                    for number, record in enumerate(page, 1):
                        cursor = f"{'' if number == len(page) else AMID_THE_PAGE}{begin}"
                        yield Change(UpdateKind.CREATED, cursor, record)
                while True:
                    await seat.wait()
                    if seat.is_behind:
                        async for change in self._read_up(topic, seat):
                            yield change
                    for change in seat.take():
                        yield change

    async def _read_up(self, topic: Topic[W, T], seat: Seat[T]) -> AsyncIterator[Change[T]]:
        """What was passed by; what is offered meanwhile waits, and may tell of the same once more."""
        until, seat.is_behind = self._changes.place, False
        async for shard, executions in self._changes.since(seat.place):
            newest = topic.newest(executions, seat.place, seat.place, is_behind=True)
            async with self._reading[shard]:
                found = [one async for one in newest]
            for _, change in found:
                yield change
        seat.place = until

    @asynccontextmanager
    async def _joined(
        self, tenant: UUID, wanted: W, place: Place
    ) -> AsyncIterator[tuple[Topic[W, T], Seat[T]]]:
        key = (tenant, wanted)
        topic = self._topics.get(key)
        if topic is None or topic.is_over:
            topic = Topic(self._noun, tenant, wanted, self._pace, self._most_shown)
            self._topics[key] = topic
            topic.start(self._changes, place)
        try:
            with topic.seat(place) as seat:
                yield topic, seat
        finally:
            if topic.is_empty:
                if self._topics.get(key) is topic:
                    del self._topics[key]
                await topic.stop()

    def _most_shown(self) -> int:
        """The share of one list."""
        return max(1, self._pace.shown // max(1, len(self._topics)))
