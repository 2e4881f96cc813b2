"""Live lists among themselves: what one does, or does not do, takes nothing from the others who watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from runtime.model.change import Change, UpdateKind
from runtime.model.errors import Unavailable
from runtime.services.changes import Changes, Place
from runtime.services.live import LiveList, LivePace, Seat, Topic
from runtime.store.change_feed import Mark
from runtime.telemetry.metrics import Metrics
from tests import make

HERE = Place((Mark(1, 0),))
X = UUID(int=1)
MANY = [UUID(int=number) for number in range(2, 8)]


@dataclass(frozen=True, slots=True)
class Thing:
    """What is listed; it is its own execution."""

    id: UUID


class Things:
    """A noun: what is `inside` is in the list. What a gate is put before was read when it comes to the gate."""

    def __init__(self, *inside: UUID) -> None:
        self.inside = set(inside)
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: dict[str, asyncio.Event] = {}
        self.looks = 0
        self.at_look: dict[int, Callable[[], object]] = {}

    async def _answer(self, read: str, ids: Collection[UUID]) -> list[Thing]:
        found = [Thing(each) for each in ids]
        gate = self.gates.pop(read, None)
        if gate is not None:
            self.begun[read].set()
            await gate.wait()
        return found

    def close(self, read: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Let the next that reads wait: its beginning, and what it waits for."""
        self.begun[read], self.gates[read] = asyncio.Event(), asyncio.Event()
        return self.begun[read], self.gates[read]

    async def page(self, tenant: UUID, wanted: str, size: int) -> Sequence[Thing]:
        return await self._answer("page", sorted(self.inside)[:size])

    async def matching(self, tenant: UUID, wanted: str, ids: Sequence[UUID]) -> Sequence[Thing]:
        self.looks += 1
        self.at_look.pop(self.looks, lambda: None)()
        return await self._answer("matching", [each for each in ids if each in self.inside])

    async def ever_matching(
        self, tenant: UUID, wanted: str, ids: Sequence[UUID]
    ) -> Sequence[Thing]:
        return await self._answer("ever_matching", ids)

    def key(self, record: Thing) -> UUID:
        return record.id

    def owner(self, record: Thing) -> UUID:
        return record.id


@asynccontextmanager
async def topic_of(
    things: Things, pace: Any = None, changes: Changes | None = None
) -> AsyncIterator[Topic[str, Thing]]:
    pace = pace or LivePace(interval=0)
    topic = Topic[str, Thing](things, make.TENANT, "all", pace, lambda: 100)
    nobody: Any = None
    topic.start(changes or Changes(nobody, nobody), HERE)
    async with asyncio.timeout(10):
        yield topic
    await topic.stop()


async def taken(seat: Seat[Thing]) -> list[tuple[UpdateKind, UUID]]:
    await seat.wait()
    return [(one.kind, one.record.id) for one in seat.take()]


async def read_up(topic: Topic[str, Thing], *ids: UUID) -> list[Change[Thing]]:
    return [one async for _, one in topic.newest(ids, HERE, HERE, is_behind=True)]


async def test_one_who_reads_up_leaves_it_to_be_told_to_the_others_what_fell_out() -> None:
    things = Things(X)
    async with topic_of(things) as topic:
        with topic.seat(HERE) as other:
            await topic.page(9)
            things.inside.clear()

            (found,) = await read_up(topic, X)
            topic.heard([X], HERE)

            assert found.kind is UpdateKind.REMOVED
            assert await taken(other) == [(UpdateKind.REMOVED, X)]


@pytest.mark.parametrize("read", ["page", "matching"])
async def test_what_falls_out_while_somebody_reads_it_is_told_to_him(read: str) -> None:
    things = Things(X)
    async with topic_of(things) as topic:
        with topic.seat(HERE) as seat:
            begun, gate = things.close(read)
            reading = asyncio.create_task(topic.page(9) if read == "page" else read_up(topic, X))
            await begun.wait()
            things.inside.clear()

            topic.heard([X], HERE)

            assert await taken(seat) == [(UpdateKind.REMOVED, X)]
            gate.set()
            assert await reading


async def test_what_came_back_while_it_was_looked_up_is_told_when_it_falls_out_again() -> None:
    things = Things(X)
    async with topic_of(things) as topic:
        with topic.seat(HERE) as seat:
            await topic.page(9)
            things.inside.clear()
            begun, gate = things.close("ever_matching")
            topic.heard([X], HERE)
            await begun.wait()
            things.inside.add(X)
            await topic.page(9)
            things.inside.clear()
            gate.set()
            assert await taken(seat) == [(UpdateKind.REMOVED, X)]

            topic.heard([X], HERE)

            assert await taken(seat) == [(UpdateKind.REMOVED, X)]


class OnceShort:
    """A pace whose patience is short the first time; then too long for a test to wait for."""

    def __init__(self, at_once: int) -> None:
        self.interval, self.at_once, self.pending, self.changed = 0.0, at_once, 1_000, 1_000
        self._patience = [60.0, 0.01]

    @property
    def patience(self) -> float:
        return self._patience.pop() if len(self._patience) > 1 else self._patience[0]


async def taker(seat: Seat[Thing], told: list[UUID]) -> None:
    while set(told) != set(MANY):
        told += [each for _, each in await taken(seat)]


async def test_nobody_waits_for_one_who_comes_back_and_takes_nothing() -> None:
    things = Things(*MANY)
    pace = LivePace(interval=0, at_once=1, patience=60)
    async with topic_of(things, pace) as topic:
        with topic.seat(HERE) as stuck, topic.seat(HERE) as other:
            stuck.fall_behind(HERE)
            topic.heard(MANY, HERE)

            await taker(other, [])


@pytest.mark.parametrize("takes_at", [None, 4])
async def test_one_who_is_late_holds_the_others_up_once(takes_at: int | None) -> None:
    things = Things(*MANY)
    async with topic_of(things, OnceShort(1)) as topic:
        with topic.seat(HERE) as slow, topic.seat(HERE) as other:
            if takes_at:
                things.at_look[takes_at] = slow.take
            topic.heard(MANY, HERE)

            await taker(other, [])


async def test_one_who_takes_again_is_waited_for_in_the_next_burst() -> None:
    things = Things(*MANY)
    async with topic_of(things, OnceShort(2)) as topic:
        with topic.seat(HERE) as slow:
            topic.heard(MANY, HERE)
            while things.looks < 3:
                await asyncio.sleep(0)
            await taker(slow, [])
            things.looks = 0

            topic.heard(MANY, HERE)

            told: list[UUID] = []
            for _ in range(2):
                await slow.wait()
                piece = [one.record.id for one in slow.take()]
                assert len(piece) == 2
                told += piece
            assert len(set(told)) == 4


async def test_a_list_that_is_over_hears_nothing_more() -> None:
    nobody: Any = None
    changes = Changes(nobody, nobody)
    async with topic_of(Things(), changes=changes) as topic:
        with topic.seat(HERE) as seat:
            topic.heard(MANY, HERE)
            topic.lost(Unavailable())

            assert not changes._everybody()
            assert not topic._changed
            with pytest.raises(Unavailable):
                await seat.wait()


class Away(Things):
    """A database is away: that of `X`."""

    def __init__(self, *inside: UUID) -> None:
        super().__init__(*inside)
        self.patient = asyncio.Semaphore(0)

    async def matching(self, tenant: UUID, wanted: str, ids: Sequence[UUID]) -> Sequence[Thing]:
        if X in ids:
            self.patient.release()
            await asyncio.Event().wait()
        return await super().matching(tenant, wanted, ids)


class Pieces(Changes):
    """What changed while they were away: for each who comes, what is next."""

    def __init__(self, *pieces: tuple[int, tuple[UUID, ...]]) -> None:
        nobody: Any = None
        super().__init__(nobody, nobody)
        self._pieces = list(pieces)

    async def ready(self) -> None:
        self._marks = list(HERE.marks)

    async def kept(self, cursor: str) -> Place:
        return HERE

    async def since(self, place: Place) -> AsyncIterator[tuple[int, tuple[UUID, ...]]]:
        yield self._pieces.pop(0)


async def test_those_who_wait_for_a_database_hold_up_nobody_who_reads_another() -> None:
    things, changes = Away(*MANY), Pieces((0, (X,)), (0, (X,)), (1, (MANY[0],)))
    live = LiveList[str, Thing](things, changes, Metrics())
    streams: list[Any] = [live.watch(make.TENANT, "all", size=1, after="cursor") for _ in range(3)]

    async with asyncio.timeout(10):
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams[:2]]
        for _ in waiting:
            await things.patient.acquire()
        found = await anext(streams[2])

    assert found.record.id == MANY[0]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await streams[2].aclose()


async def test_more_than_a_list_can_tell_is_not_held_but_read_by_each() -> None:
    things, later = Things(X, *MANY), Place((Mark(2, 0),))
    async with topic_of(things, LivePace(interval=0, changed=len(MANY) - 1)) as topic:
        with topic.seat(HERE) as seat:
            begun, gate = things.close("matching")
            topic.heard([X], HERE)
            await begun.wait()
            topic.heard(MANY, later)
            assert not topic._changed
            gate.set()

            while not seat.is_behind:
                await taken(seat)

            assert seat.place == HERE
