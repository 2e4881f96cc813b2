"""Live lists: the page, then the newest state of everything; whoever is away, slow, or comes back misses no final state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from runtime.model.change import UpdateKind
from runtime.model.errors import BadInput, Denied, MaestroError, Unavailable
from runtime.model.execution import ExecutionFilter, ExecutionState
from runtime.services.changes import Pace
from runtime.services.live import LivePace
from runtime.store.event_bus import EventBusStore
from tests import make
from tests.support.steps import CALLS

ALL = ExecutionFilter()
QUEUED = ExecutionFilter(state=(ExecutionState.QUEUED,))
RUNNING = ExecutionFilter(state=(ExecutionState.RUNNING,))
GATE = {"id": "gate", "uses": "probe.gate@1", "with": {"marker": "gate"}}


@pytest.fixture(autouse=True)
def fast(room):
    """A list is told ten times a second, and the gates are closed."""
    CALLS.clear()
    room.executions._live._pace = LivePace(interval=0.1)
    yield
    CALLS.clear()


class Watching:
    """One who watches a list and remembers the last that was told of each execution."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def states(self):
        return {one.record.id: one.record.state for one in self.told}

    @property
    def kinds(self):
        return [(one.kind, one.record.state) for one in self.told]

    async def until(self, wanted):
        async with asyncio.timeout(15):
            while not wanted(self):
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def watching(room, wanted=ALL, *, who=None, size=20, after=None) -> AsyncIterator[Watching]:
    seen = Watching()

    async def follow():
        stream = room.executions.watch_list(who or room.who, wanted, size=size, after=after)
        try:
            async for change in stream:
                seen.told.append(change)
                seen.news.set()
        finally:
            await stream.aclose()

    task = seen.task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ended(*ids, state=ExecutionState.COMPLETED):
    return lambda seen: all(seen.states.get(one) is state for one in ids)


async def first_of(stream):
    return await asyncio.wait_for(anext(stream), 15)


def fallen_out(told):
    return {one.record.id for one in told if one.kind is UpdateKind.REMOVED}


async def test_the_page_comes_first_and_then_every_final_state(room):
    await room.publish()
    before = [(await room.enqueue()).id for _ in range(3)]

    async with watching(room, size=2) as seen:
        await seen.until(lambda s: len(s.told) == 2)
        assert [one.record.id for one in seen.told] == before[:0:-1]
        assert {one.kind for one in seen.told} == {UpdateKind.CREATED}
        room.engine.worker()
        later = [(await room.enqueue()).id for _ in range(3)]
        await seen.until(ended(*before, *later))

    assert len(seen.states) == 6


async def test_what_falls_out_of_the_list_is_said_once(room):
    await room.publish(steps=[GATE])
    room.engine.worker()

    async with watching(room, RUNNING) as seen:
        execution = (await room.enqueue()).id
        await CALLS.begun["gate"].wait()
        await seen.until(lambda s: s.told)
        CALLS.gates["gate"].set()
        await seen.until(lambda s: s.told[-1].kind is UpdateKind.REMOVED)

    assert {one.record.id for one in seen.told} == {execution}
    assert seen.kinds[0] == (UpdateKind.CREATED, ExecutionState.RUNNING)
    assert seen.kinds[-1] == (UpdateKind.REMOVED, ExecutionState.COMPLETED)


async def test_another_tenant_is_told_nothing(room):
    await room.publish()
    room.engine.worker()
    stranger = make.principal(make.OTHER_TENANT)

    async with watching(room) as seen, watching(room, who=stranger) as other:
        execution = (await room.enqueue()).id
        await seen.until(ended(execution))

    assert other.told == []


async def test_who_may_not_read_executions_may_not_watch_them(room):
    with pytest.raises(Denied):
        await anext(room.executions.watch_list(make.principal(scopes=frozenset()), ALL, size=1))


async def test_without_redis_it_polls(room):
    await room.publish()
    await room.engine.wakeup.close()
    room.engine.worker()

    async with watching(room) as seen:
        execution = (await room.enqueue()).id
        await seen.until(ended(execution))


async def test_cut_connections_lose_nothing(room):
    await room.publish()
    first = (await room.enqueue()).id

    async with watching(room) as seen:
        await seen.until(lambda s: first in s.states)
        await room.engine.sql.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
        room.engine.worker()
        await seen.until(ended(first))


async def test_a_retry_is_told_with_its_new_end(room):
    await room.publish(steps=[{"id": "bad", "uses": "core.fail@1", "with": {"message": "no"}}])
    room.engine.worker()
    execution = (await room.enqueue()).id
    await room.engine.finished(execution)

    async with watching(room) as seen:
        await seen.until(lambda s: s.told)
        await room.executions.retry(room.who, execution)
        await seen.until(
            lambda s: (
                s.told[-1].record.generation == 1
                and ended(execution, state=ExecutionState.FAILED)(s)
            )
        )


async def test_who_comes_back_goes_on_where_it_was(room):
    await room.publish(steps=[GATE])
    room.engine.worker()
    old = (await room.enqueue()).id
    await CALLS.begun["gate"].wait()
    async with watching(room, size=1) as seen:
        await seen.until(lambda s: s.told)
        cursor = seen.told[-1].cursor
    # The process is gone; its row in the database is there for as long as its lease.
    await room.changes.close()
    CALLS.gates["gate"].set()
    await room.engine.finished(old)
    newer = (await room.enqueue()).id
    await room.engine.finished(newer)
    room.changes._feed._name += "-next"

    async with watching(room, size=1, after=cursor) as back:
        await back.until(ended(old, newer))


async def test_who_comes_back_is_told_what_fell_out_meanwhile(room):
    await room.publish(steps=[GATE])
    await room.publish("other")
    room.engine.worker()
    mine = replace(RUNNING, workflow_name=("w",))
    async with watching(room, mine) as seen:
        old = (await room.enqueue()).id
        await CALLS.begun["gate"].wait()
        await seen.until(lambda s: s.told)
        cursor = seen.told[-1].cursor
    CALLS.gates["gate"].set()
    await room.engine.finished(old)
    await room.engine.finished((await room.enqueue("other")).id)

    async with watching(room, mine, after=cursor) as back:
        await back.until(lambda s: s.told)

    assert [(one.record.id, one.kind) for one in back.told] == [(old, UpdateKind.REMOVED)]


async def test_one_who_was_cut_off_amid_the_page_gets_it_again_and_what_changed(room):
    await room.publish(steps=[GATE])
    room.engine.worker()
    old = (await room.enqueue()).id
    await CALLS.begun["gate"].wait()
    pages = room.executions.watch_list(room.who, ALL, size=2)
    newer = (await room.enqueue()).id
    cursor = (await anext(pages)).cursor
    await pages.aclose()
    CALLS.gates["gate"].set()
    await room.engine.finished(old)
    newest = [(await room.enqueue()).id for _ in range(2)]

    async with watching(room, size=2, after=cursor) as back:
        await back.until(ended(old))

    assert [one.record.id for one in back.told[:2]] == newest[::-1]
    assert newer in back.states


async def test_a_cursor_that_is_none_or_too_old_is_refused_and_never_passed_by_in_silence(room):
    lost, wrong = (Unavailable, "STREAM_LOST"), (BadInput, "CURSOR")
    cases = {
        lost: ("0.1.0", "page:0.1.0", "0.1.0_1.1.0"),
        wrong: ("x", "0", "1.1.0", f"0.{9**30}.0", "0.9999999999.9999999999"),
    }
    for (error, reason), cursors in cases.items():
        for cursor in cursors:
            with pytest.raises(error) as caught:
                await first_of(room.executions.watch_list(room.who, ALL, size=1, after=cursor))
            assert caught.value.reason == reason


async def test_what_is_thrown_away_while_it_is_read_is_missed_by_nobody(room, monkeypatch):
    await room.publish()
    stream = room.executions.watch_list(room.who, ALL, size=1)
    await room.enqueue()
    cursor = (await anext(stream)).cursor
    read = room.changes._feed.read

    async def too_late(shard, mark):
        await room.engine.sql.execute("delete from event_cursors")
        await room.engine.sql.execute("delete from event_feed")
        return await read(shard, mark)

    await room.enqueue()
    again = room.executions.watch_list(room.who, ALL, size=1, after=cursor)
    monkeypatch.setattr(room.changes._feed, "read", too_late)
    with pytest.raises(Unavailable) as caught:
        await first_of(again)

    assert caught.value.reason == "STREAM_LOST"
    await stream.aclose()


async def test_a_slow_one_is_emptied_and_reads_what_it_missed(room):
    room.executions._live._pace = LivePace(interval=0.01, pending=3)
    await room.publish()
    slow = room.executions.watch_list(room.who, ALL, size=1)
    first = (await room.enqueue()).id
    assert (await anext(slow)).record.id == first
    room.engine.worker()

    async with watching(room) as seen:
        waiting = asyncio.create_task(anext(slow))
        ids = [(await room.enqueue()).id for _ in range(12)]
        await seen.until(ended(first, *ids))
        late = {(one := await waiting).record.id: one.record.state}
        async with asyncio.timeout(15):
            while not all(late.get(one) is ExecutionState.COMPLETED for one in (first, *ids)):
                one = await anext(slow)
                late[one.record.id] = one.record.state
    await slow.aclose()


async def test_a_slow_one_is_told_what_fell_out_while_he_was_passed_by(room):
    room.executions._live._pace = LivePace(interval=0.01, pending=1)
    await room.publish()
    ids = {(await room.enqueue()).id for _ in range(3)}
    slow = room.executions.watch_list(room.who, QUEUED, size=3)
    assert {(await anext(slow)).record.id for _ in ids} == ids
    waiting = asyncio.create_task(anext(slow))

    async with watching(room, QUEUED) as seen:
        await seen.until(lambda s: len(s.told) == len(ids))
        room.engine.worker()
        await seen.until(lambda s: fallen_out(s.told) == ids)
        async with asyncio.timeout(15):
            late = [await waiting]
            while fallen_out(late) != ids:
                late.append(await anext(slow))
    await slow.aclose()


async def test_a_list_that_broke_keeps_nobody_who_comes_later(room, monkeypatch):
    await room.publish()
    await room.enqueue()
    noun = room.executions._live._noun
    matching = noun.matching

    async def broken(*_):
        raise RuntimeError("hunter2")

    # He takes nothing, and so has not heard that it is over.
    slow = room.executions.watch_list(room.who, ALL, size=1)
    await anext(slow)
    monkeypatch.setattr(noun, "matching", broken)
    async with watching(room) as seen:
        await seen.until(lambda s: s.told)
        await room.enqueue()
        assert seen.task
        with pytest.raises(MaestroError):
            await asyncio.wait_for(asyncio.shield(seen.task), 15)
    monkeypatch.setattr(noun, "matching", matching)

    async with watching(room) as seen:
        await seen.until(lambda s: s.told)
        later = (await room.enqueue()).id
        await seen.until(lambda s: later in s.states)
    await slow.aclose()
    assert room.executions._live._topics == {}


async def test_what_was_shown_is_remembered_within_one_bound_for_all_lists(room):
    room.executions._live._pace = LivePace(interval=0.1, shown=4)
    await room.publish()
    for _ in range(5):
        await room.enqueue()

    async with watching(room) as all_of_them, watching(room, QUEUED) as some:
        for one in (all_of_them, some):
            await one.until(lambda s: len(s.told) == 5)
        topics = room.executions._live._topics.values()
        assert sum(len(topic._shown) for topic in topics) <= 4 + 4 // 2


async def test_those_who_watch_the_same_are_told_the_same(room):
    await room.publish()
    room.engine.worker()

    async with watching(room) as one, watching(room) as two:
        await asyncio.sleep(0)
        execution = (await room.enqueue()).id
        await one.until(ended(execution))
        await two.until(ended(execution))

    assert one.told[-1] is two.told[-1]
    assert room.executions._live._topics == {}


async def test_a_burst_leaves_nobody_behind_who_takes_what_he_is_told(room, monkeypatch):
    live = room.executions._live
    live._pace = LivePace(interval=0.01, pending=8, at_once=4)
    await room.publish()
    ids = [(await room.enqueue()).id for _ in range(21)]
    alone: list[Any] = []
    monkeypatch.setattr(room.changes, "since", alone.append)

    async with watching(room, size=1) as one, watching(room, size=1) as two:
        await one.until(lambda s: s.told)
        await two.until(lambda s: s.told)
        (topic,) = live._topics.values()
        topic.heard(ids, room.changes.place)
        await one.until(lambda s: set(s.states) == set(ids))
        await two.until(lambda s: set(s.states) == set(ids))

    assert alone == []
    assert one.told[-1] is two.told[-1]


async def test_a_reader_that_was_forgotten_ends_its_streams(room):
    room.changes._pace = Pace(poll=0.05, again=0.01, lease=0.1)
    await room.publish()
    await room.enqueue()

    async with watching(room) as seen:
        await seen.until(lambda s: s.told)
        await room.engine.sql.execute("delete from event_cursors")
        assert seen.task
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(asyncio.shield(seen.task), 15)

    assert caught.value.reason == "STREAM_LOST"


async def test_readers_are_no_handlers_and_dead_ones_are_forgotten(room):
    await room.publish()
    async with watching(room) as seen:
        await room.enqueue()
        await seen.until(lambda s: s.told)
        count = "select count(*) from event_cursors"
        bus = EventBusStore(room.engine.database)
        assert await room.engine.sql.fetchval(count) == 1
        assert await bus.lags() == []
        await bus.forget(failure_days=1, handler_days=1)
        assert await room.engine.sql.fetchval(count) == 1
        await room.engine.sql.execute("update event_cursors set lease_until = now()")
        await bus.forget(failure_days=1, handler_days=1)
        assert await room.engine.sql.fetchval(count) == 0


async def test_a_reader_leaves_when_nobody_has_come_back(room):
    room.changes._pace = Pace(poll=0.02, again=0.01, keep=0.1)
    await room.publish()
    await room.enqueue()
    for _ in range(2):
        async with watching(room) as seen:
            await seen.until(lambda s: s.told)
        assert room.changes._task
        await asyncio.wait_for(room.changes._task, 15)
        assert await room.engine.sql.fetchval("select count(*) from event_cursors") == 0
