"""Timers of human tasks: durable, in order, once, by whoever leads; and a killed leader leaves nothing half done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.clock import ManualClock
from runtime.model import human_task_rules as rules
from runtime.model.human_task import (
    Escalation,
    HumanTask,
    HumanTaskStatus,
    NewHumanTask,
    fold,
    state_of,
)
from runtime.model.human_task_rules import Person
from runtime.model.identity import Actor
from runtime.model.page import PageRequest
from runtime.queue.wakeup import Wakeup
from runtime.scheduler.human_task import LOOK_SECONDS, RUNG_SECONDS, HumanTaskTimers
from runtime.store.human_task import HumanTaskStore
from runtime.store.shards import Shards
from tests import make
from tests.support.engine_room import TENANT, EngineRoom

S = HumanTaskStatus


class Timed:
    """Tasks with times, and who looks at the clock."""

    def __init__(self, room: EngineRoom, wakeup: Wakeup) -> None:
        self.room = room
        self.store = HumanTaskStore(Shards.single(room.database))
        self.clock = ManualClock()
        self.timers = HumanTaskTimers(self.store, room.queue, wakeup, self.clock)

    async def look(self) -> int:
        """What the next look does, whenever that would be."""
        self.clock.move(LOOK_SECONDS)
        return await self.timers.run()

    async def new(self, **fields: Any) -> UUID:
        """A task that was created an hour ago."""
        at = datetime.now(UTC) - timedelta(hours=1)
        task = NewHumanTask("Pay?", **fields).begun(make.new_id(), TENANT, Actor("olga"), at)
        return await self.store.open(task)

    async def get(self, id: UUID) -> HumanTask:
        return (await self.store.get_many(TENANT, [id]))[id]

    async def kinds(self, id: UUID) -> list[str]:
        entries = (await self.store.history(TENANT, id, PageRequest(100))).items
        assert {entry.actor.subject for entry in entries[1:]} <= {"system"}
        assert fold(entries) == state_of(await self.get(id))
        return [entry.kind.value for entry in entries]


def ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


@pytest.fixture
async def timed(room: EngineRoom) -> Timed:
    return Timed(room, room.wakeup)


@pytest.fixture
def asked(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statements of looks."""
    found: list[int] = []
    upcoming = timed.store.upcoming

    async def counted(shard: int, limit: int) -> Any:
        found.append(shard)
        return await upcoming(shard, limit)

    monkeypatch.setattr(timed.store, "upcoming", counted)
    return found


def all_that_can_happen() -> dict[str, Any]:
    return {
        "warn_at": ago(50),
        "due_at": ago(40),
        "escalations": (
            Escalation(ago(30), to="cy"),
            Escalation(ago(20), candidate_groups=("bosses",)),
        ),
        "expires_at": ago(10),
        "expiry_outcome": "rejected",
    }


EVERYTHING = ["created", "sla_warned", "sla_breached", "escalated", "escalated", "expired"]


async def test_what_was_due_while_everything_stood_happens_in_order_and_once(timed: Timed) -> None:
    one = await timed.new(**all_that_can_happen())
    future = await timed.new(due_at=ago(-60))

    assert await timed.look() == 5
    assert await timed.look() == 0

    assert await timed.kinds(one) == EVERYTHING
    now = await timed.get(one)
    assert (now.status, now.outcome) == (S.EXPIRED, "rejected")
    assert await timed.kinds(future) == ["created"]


async def test_two_leaders_do_nothing_twice(timed: Timed) -> None:
    tasks = [await timed.new(**all_that_can_happen()) for _ in range(8)]
    other = HumanTaskTimers(timed.store, timed.room.queue, timed.room.wakeup, ManualClock())

    done = await asyncio.gather(timed.timers.run(), other.run())

    assert sum(done) == 5 * len(tasks)
    for one in tasks:
        assert await timed.kinds(one) == EVERYTHING


async def test_a_leader_that_is_broken_off_anywhere_leaves_the_rest_to_the_next(
    timed: Timed,
) -> None:
    tasks = [await timed.new(**all_that_can_happen()) for _ in range(4)]
    rounds = 0
    while True:
        rounds += 1
        work = asyncio.create_task(timed.look())
        before = await timed.room.sql.fetchval("select count(*) from human_task_events")
        while not work.done() and before == await timed.room.sql.fetchval("select count(*) from human_task_events"):  # fmt: skip
            await asyncio.sleep(0)
        if work.done():
            break
        work.cancel()
        await asyncio.wait([work])
    assert rounds > 2
    for one in tasks:
        assert await timed.kinds(one) == EVERYTHING


async def test_who_answers_before_its_time_has_stopped_the_clock(timed: Timed) -> None:
    one = await timed.new(due_at=ago(-1), expires_at=ago(-2))
    ann = Person(Actor("ann"))
    await timed.store.change(
        TENANT, one, lambda task, at: rules.answer(task, ann, "approved", None, at)
    )
    await timed.room.sql.execute("update human_tasks set next_at = now() - interval '1 hour'")

    await timed.look()

    assert (await timed.get(one)).status is S.COMPLETED


async def test_it_looks_when_the_next_time_comes_and_asks_nobody_before(
    timed: Timed, asked: list[int]
) -> None:
    await timed.room.wakeup.connected.wait()
    await timed.new(due_at=ago(-1 / 12), expires_at=ago(-60))

    looks = []
    for seconds in (0.0, 2.0, 3.1, 2.0, LOOK_SECONDS):
        timed.clock.move(seconds)
        assert await timed.timers.run() == 0
        looks.append(len(asked))

    assert looks == [1, 1, 2, 2, 3]


async def test_a_bell_lets_it_look_once_in_a_second(timed: Timed, asked: list[int]) -> None:
    assert await timed.timers.run() == 0
    one = await timed.new(due_at=ago(1))
    bell = timed.room.wakeup

    await bell.connected.wait()
    bell.publish_events(0, [one])
    async with asyncio.timeout(5):
        while not timed.timers._is_rung:
            await asyncio.sleep(0.01)
    assert await timed.timers.run() == 0
    timed.clock.move(RUNG_SECONDS)

    assert await timed.timers.run() == 1
    assert (await timed.get(one)).breached_at is not None


async def test_a_task_that_can_not_be_served_keeps_no_other_from_its_turn(timed: Timed) -> None:
    broken = await timed.new(due_at=ago(50))
    fine = await timed.new(due_at=ago(40))
    await timed.room.sql.execute("update human_tasks set state = '{}' where id = $1", broken)

    assert await timed.timers.run() == 1

    assert (await timed.get(fine)).breached_at is not None
