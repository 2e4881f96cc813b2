"""Duties by time, and the one leader that serves them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from runtime.clock import ManualClock
from runtime.model.execution import ExecutionStatus
from runtime.scheduler.loop import Scheduler
from runtime.scheduler.partitions import DAYS_AHEAD, Partitions
from runtime.scheduler.retention import Retention
from runtime.scheduler.sweep import AGAIN_SECONDS, ENOUGH_WAITING, PER_TENANT_WHEN_DEEP, Sweep
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
    await backlog(room, 300)

    assert await sweep(room).run() == 301


async def test_full_streams_do_not_silence_who_is_not_in_them(room: EngineRoom):
    await backlog(room, PER_TENANT_WHEN_DEEP + 10)
    room.queue.add(0, [(TENANT, 1)] * (ENOUGH_WAITING + 1))
    await until(lambda: _is_deep(room))

    assert await sweep(room).run() == PER_TENANT_WHEN_DEEP + 1


async def _is_deep(room: EngineRoom) -> bool:
    return (await room.queue.depth(0) or 0) > ENOUGH_WAITING


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
            await asyncio.wait_for(second.is_leader.wait(), 5)


async def test_a_leader_that_lost_its_connection_leads_no_longer_unless_it_wins_again(
    room: EngineRoom,
):
    async with scheduler(room) as leader:
        await asyncio.wait_for(leader.is_leader.wait(), 5)
        lost = asyncio.create_task(_cleared(leader.is_leader))

        await room.sql.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        )

        await asyncio.wait_for(lost, 10)
        await asyncio.wait_for(leader.is_leader.wait(), 10)


async def _cleared(event: asyncio.Event) -> None:
    while event.is_set():
        await asyncio.sleep(0.01)
