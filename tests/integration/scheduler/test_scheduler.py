"""Duties by time, and the one leader that serves them."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from runtime.clock import ManualClock
from runtime.model.execution import ExecutionStatus
from runtime.queue.stream import CROWD, ENOUGH_WAITING, HINTS_AT_ONCE, HINTS_IN_A_CROWD, RedisQueue
from runtime.scheduler.loop import Scheduler
from runtime.scheduler.partitions import DAYS_AHEAD, Partitions
from runtime.scheduler.retention import Retention
from runtime.scheduler.sweep import (
    AGAIN_SECONDS,
    BUSY_SECONDS,
    IDLE_SECONDS,
    LEAST_WINDOW,
    Sweep,
)
from tests import make
from tests.integration.store.conftest import until
from tests.support.engine_room import TENANT, EngineRoom

NOOP = [{"id": "a", "uses": "core.noop@1"}]
OLD = "update workflow_executions set created_at = created_at - interval '1 minute'"


@asynccontextmanager
async def scheduler(room: EngineRoom):
    made = Scheduler(
        database=room.database,
        store=room.store,
        queue=room.queue,
        blobs=room.blob_store,
        metrics=room.metrics,
        clock=room.clock,
    )
    task = asyncio.create_task(made.run())
    yield made
    await made.stop()
    await asyncio.wait_for(task, 10)


def sweep(room: EngineRoom, clock=None):
    return Sweep(room.store, room.queue, room.metrics, clock or room.clock)


async def test_an_execution_that_nobody_was_told_about_is_found(room: EngineRoom):
    version = await room.publish(NOOP)
    execution = await room.enqueue(version, hint=False)
    await room.sql.execute(OLD)

    assert await sweep(room).run() == 1

    room.worker()
    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_what_was_queued_just_now_is_left_to_its_own_hint(room: EngineRoom):
    await room.enqueue(await room.publish(NOOP), hint=False)

    assert await sweep(room).run() == 0


async def test_what_was_added_lately_is_not_added_again(room: EngineRoom):
    clock = ManualClock()
    duty = sweep(room, clock)
    await room.enqueue(await room.publish(NOOP), hint=False)
    await room.sql.execute(OLD)

    assert [await duty.run(), await duty.run()] == [1, 0]
    clock.move(AGAIN_SECONDS + 1)
    assert await duty.run() == 1


async def backlog(room: EngineRoom, count: int) -> None:
    """Many executions of one tenant that nobody was told about, and a last one of another's."""
    version = await room.publish(NOOP)
    ids = await asyncio.gather(*(room.enqueue(version, hint=False) for _ in range(count + 1)))
    await room.sql.execute(
        "update workflow_executions set tenant_id = gen_random_uuid() where id = $1", ids[-1]
    )
    await room.sql.execute(OLD)


async def test_the_backlog_of_one_tenant_does_not_hide_another(room: EngineRoom):
    await backlog(room, 600)

    assert len(await room.store.queued(0, older_than_seconds=2, per_tenant=8, limit=500)) == 9
    assert len(await room.store.queued(0, older_than_seconds=2, per_tenant=500, limit=500)) == 251


async def test_a_backlog_is_told_of_as_fast_as_it_is_taken(room: EngineRoom):
    await backlog(room, 1_000)
    duty = sweep(room)
    room.worker(beat_seconds=60.0, lease_seconds=600.0)

    assert await duty.run() == 1_001

    value = room.metrics.registry.get_sample_value
    assert value("maestro_swept_total") == 1_001


async def test_what_nobody_takes_stands_before_nobody(room: EngineRoom):
    """However much waits, the streams hold a window of it."""
    await backlog(room, 300)

    assert await sweep(room).run() == LEAST_WINDOW // 2 + 1, "a half for each of two tenants"


async def test_full_streams_do_not_silence_who_is_not_in_them(room: EngineRoom):
    await backlog(room, LEAST_WINDOW + 10)
    await filled(room, ENOUGH_WAITING + 1)

    assert await sweep(room).run() == 2, "one of each tenant"


async def filled(room: EngineRoom, count: int) -> None:
    """Streams that are full of what is somewhere else by now."""
    room.queue.add(0, [(TENANT, 1)] * count)

    async def is_deep() -> bool:
        return (await room.queue.depth(0) or 0) >= count

    await until(is_deep)


async def test_a_tenant_with_more_than_its_share_gives_no_hints_while_others_wait(
    room: EngineRoom,
):
    await backlog(room, LEAST_WINDOW + 10)
    await filled(room, CROWD)
    clock = ManualClock()
    duty, queue, small = sweep(room, clock), RedisQueue(room.link), UUID(int=7)

    await duty.run()

    assert await queue.turns(0) == {TENANT}

    async def is_held_back() -> bool:
        before = await queue.depth(0)
        queue.hint(0, TENANT, TENANT, 1)
        await room.link.drained()
        return await queue.depth(0) == before

    await until(is_held_back)
    before = await queue.depth(0) or 0
    queue.hint(0, small, small, 1)
    await room.link.drained()
    assert await queue.depth(0) == before + 1

    await room.link.client.flushdb()
    await room.sql.execute("delete from workflow_executions")
    clock.move(IDLE_SECONDS + BUSY_SECONDS)
    await duty.run()
    assert await queue.turns(0) == frozenset()


async def crowd(room: EngineRoom, backlogs: dict[int, tuple[int, int]]) -> dict[UUID, int]:
    """Tenants with so much backlog and such weights, a weight per tenant in the answer."""
    version = await room.publish(NOOP)
    weights: dict[UUID, int] = {}
    for number, (count, weight) in backlogs.items():
        tenant = UUID(int=number)
        weights[tenant] = weight
        await room.sql.execute(
            "insert into tenants (id, name, settings) values ($1, $2, $3)",
            tenant, f"t{number}", json.dumps({"dispatch_weight": weight}),
        )  # fmt: skip
        rows = [
            make.enqueue_row(tenant=tenant, workflow=version, version=version) for _ in range(count)
        ]
        await room.enqueuer.enqueue_many(rows)
    await room.sql.execute(OLD)
    return weights


@pytest.mark.parametrize("after", [None, 2, 9])
async def test_a_tenant_waits_at_most_one_turn_of_the_ring_for_its_next_pick(
    room: EngineRoom, after: int | None
):
    """I11: between two picks of a tenant with backlog stand at most as many as the weights sum up to."""
    weights = await crowd(room, {1: (300, 1), 2: (40, 3), 3: (7, 1), 9: (90, 2)})
    turn = sum(weights.values())

    found = await room.store.queued(
        0, older_than_seconds=1, per_tenant=64, limit=200,
        after=None if after is None else UUID(int=after),
    )  # fmt: skip

    picks = [one.tenant_id for one in found]
    for tenant, weight in weights.items():
        places = [-1, *(place for place, one in enumerate(picks) if one == tenant)]
        gaps = [later - sooner for sooner, later in itertools.pairwise(places)]
        assert max(gaps) <= turn, (tenant, gaps)
        assert picks[:turn].count(tenant) == weight
    assert len({one.id for one in found}) == len(found)


async def test_within_a_tenant_priority_goes_first_then_age(room: EngineRoom):
    version = await room.publish(NOOP)
    rows = [
        make.enqueue_row(tenant=TENANT, workflow=version, version=version, priority=priority)
        for priority in (0, 5, 0, -1)
    ]
    for row in rows:
        await room.enqueuer.enqueue(row)
    await room.sql.execute(OLD)

    found = await room.store.queued(0, older_than_seconds=1, per_tenant=64, limit=10)

    wanted = sorted(rows, key=lambda row: (-row.priority, row.id))
    assert [one.id for one in found] == [row.id for row in wanted]


async def test_the_ring_goes_on_where_the_last_pass_ended(room: EngineRoom):
    await crowd(room, {1: (5, 1), 2: (5, 1), 3: (5, 1)})

    found = await room.store.queued(
        0, older_than_seconds=1, per_tenant=64, limit=3, after=UUID(int=1)
    )

    assert [one.tenant_id.int for one in found] == [2, 3, 1]


async def test_the_dispatcher_shows_how_far_it_is_behind(room: EngineRoom):
    await backlog(room, 3)
    clock = ManualClock()
    duty = sweep(room, clock)

    await duty.run()

    value = room.metrics.registry.get_sample_value
    assert (value("maestro_dispatch_lag_seconds") or 0) >= 60
    assert value("maestro_dispatch_tenants") == 2
    await room.sql.execute("delete from workflow_executions")
    clock.move(BUSY_SECONDS)
    await duty.run()
    assert value("maestro_dispatch_lag_seconds") == 0


async def test_an_idle_sweep_asks_less_often(room: EngineRoom):
    clock, asked = ManualClock(), []
    duty = sweep(room, clock)
    ask = room.store.queued

    async def counted(*arguments: Any, **more: Any) -> Any:
        asked.append(clock.monotonic())
        return await ask(*arguments, **more)

    room.store.queued = counted  # type: ignore[method-assign]
    await duty.run()
    clock.move(IDLE_SECONDS - 0.1)
    await duty.run()
    assert len(asked) == 1
    clock.move(0.2)
    await backlog(room, 1)
    await duty.run()
    assert len(asked) == 3, "the second finds nothing more"
    clock.move(BUSY_SECONDS + 0.1)
    await duty.run()
    assert len(asked) == 4


async def test_hints_stop_when_much_waits_and_the_dispatcher_chooses(room: EngineRoom):
    for number in range(ENOUGH_WAITING + 50):
        room.queue.hint(0, UUID(int=number % 10), TENANT, 1)
    await room.link.drained()

    assert await room.queue.depth(0) == ENOUGH_WAITING


async def test_many_hints_of_one_tenant_are_given_as_fast_as_they_are_taken(room: EngineRoom):
    """A burst on an idle machine does not wait for the dispatcher."""
    for _ in range(2 * HINTS_AT_ONCE):
        room.queue.hint(0, TENANT, TENANT, 1)
    taken = 0
    async with asyncio.timeout(10):
        while taken < 2 * HINTS_AT_ONCE:
            entries = await room.queue.read(0, "c", 500, 100)
            room.queue.ack(entries)
            taken += len(entries)


async def test_in_a_crowd_a_tenant_gives_few_hints_before_the_next_look(room: EngineRoom):
    """Who enqueues thousands at once would stand before everybody until the dispatcher looks."""
    await filled(room, CROWD)
    queue, small = RedisQueue(room.link), UUID(int=7)

    async def hinted(tenant: UUID, count: int) -> int:
        before = await queue.depth(0) or 0
        for _ in range(count):
            queue.hint(0, tenant, tenant, 1)
        await room.link.drained()
        return (await queue.depth(0) or 0) - before

    async def is_few() -> bool:
        return await hinted(TENANT, 200) < 200

    await until(is_few)

    assert await hinted(TENANT, 200) <= 2 * HINTS_IN_A_CROWD
    assert await hinted(small, 3) == 3


async def test_partitions_are_made_ahead(room: EngineRoom):
    day = await room.sql.fetchval(
        "select to_char((now() at time zone 'UTC')::date + $1::int, 'YYYYMMDD')", DAYS_AHEAD
    )
    await room.sql.execute(f"drop table step_executions_{day}")

    assert await Partitions(room.store).run() == 1

    assert await room.sql.fetchval("select to_regclass($1) is not null", f"step_executions_{day}")


async def test_old_keys_and_dead_workers_go_and_young_ones_stay(room: EngineRoom):
    for key, days in (("old", 8), ("young", 6)):
        await room.sql.execute(
            "insert into idempotency_keys (tenant_id, operation, key, shard, body_digest, result_id, created_at) "
            "values ($1, 'x', $2, 0, '', $1, now() - make_interval(days => $3))",
            TENANT, key, days,
        )  # fmt: skip
    await room.store.register(0, 5, "gone", 4.0)
    await room.store.leave(0, 5, 1)

    assert await Retention(room.store, room.queue).run() == 2

    assert [r["key"] for r in await room.sql.fetch("select key from idempotency_keys")] == ["young"]


async def test_one_leads_and_another_follows_when_it_ends(room: EngineRoom):
    async with scheduler(room) as first:
        await asyncio.wait_for(first.is_leader.wait(), 5)
        async with scheduler(room) as second:
            assert not second.is_leader.is_set()
            await first.stop()
            await asyncio.wait_for(second.is_leader.wait(), 10)


async def test_a_leader_that_lost_its_connection_leads_no_longer_unless_it_wins_again(
    room: EngineRoom,
):
    async with scheduler(room) as leader:
        await asyncio.wait_for(leader.is_leader.wait(), 5)
        lost = asyncio.create_task(_cleared(leader.is_leader))

        await room.sql.execute(
            "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database "
            "where d.datname = current_database() and l.locktype = 'advisory'"
        )

        await asyncio.wait_for(lost, 10)
        await asyncio.wait_for(leader.is_leader.wait(), 10)


async def _cleared(event: asyncio.Event) -> None:
    while event.is_set():
        await asyncio.sleep(0.01)
