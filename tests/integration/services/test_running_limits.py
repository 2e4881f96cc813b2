"""Limits on running executions with real workers and the dispatcher: kept, told, and used up to the last place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.model.blocker import BlockCause
from runtime.model.execution import ExecutionStatus
from runtime.scheduler.sweep import Sweep
from tests.integration.services.conftest import ServiceRoom
from tests.integration.services.test_blocking import causes
from tests.support.steps import CALLS

GATE = {"id": "hold", "uses": "probe.gate@1", "with": {"marker": "{{ params.n }}"}}


@pytest.fixture(autouse=True)
def calls() -> None:
    CALLS.clear()


@pytest.fixture
async def dispatcher(room: ServiceRoom) -> AsyncIterator[Sweep]:
    engine = room.engine
    sweep = Sweep(engine.store, engine.queue, engine.metrics, engine.clock)

    async def serve() -> None:
        while True:
            await sweep.run()
            await asyncio.sleep(sweep.every_seconds)

    task = asyncio.create_task(serve())
    yield sweep
    # A library on the way may swallow one cancellation.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)


async def limited(room: ServiceRoom, most: int) -> None:
    await room.engine.sql.execute(
        "insert into tenants (id, name, settings) values ($1, 'limited', jsonb_build_object('max_running', $2::int)) "
        "on conflict (id) do update set settings = excluded.settings",
        room.who.tenant_id, most,
    )  # fmt: skip


async def test_never_more_than_may_run_over_all_workers(room: ServiceRoom, dispatcher: Sweep):
    await limited(room, 2)
    nap = {"id": "nap", "uses": "core.sleep@1", "with": {"duration": "20ms"}}
    await room.publish(steps=[nap])
    for _ in range(3):
        room.engine.worker(beat_seconds=0.05)
    ids = [(await room.enqueue()).id for _ in range(20)]

    for one in ids:
        assert await room.engine.finished(one) is ExecutionStatus.COMPLETED

    rows = await room.engine.sql.fetch("select started_at, finished_at from step_executions")
    for row in rows:
        beside = [
            one for one in rows if one["started_at"] <= row["started_at"] < one["finished_at"]
        ]
        assert len(beside) <= 2
    assert len(rows) == 20


async def test_what_waits_for_a_place_says_so_and_has_the_next_one(
    room: ServiceRoom, dispatcher: Sweep
):
    params = {"n": "string"}
    await room.publish("w", steps=[GATE], params=params)
    await room.engine.sql.execute("update workflows set max_running = 1 where name = 'w'")
    room.engine.worker(beat_seconds=0.05)
    holder = await room.enqueue(input={"n": "a"})
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    waits = await room.enqueue(input={"n": "b"})

    async def is_told() -> Any:
        found = (await causes(room, waits.id))["hold"]
        return found.cause is BlockCause.RUNNING_LIMIT and found

    await room.engine.until(waits.id, is_told)
    found = await is_told()
    assert (found.limit, found.running, found.position) == (1, 1, 1)
    assert "this workflow" in found.summary
    assert "b" not in CALLS.attempts

    CALLS.gates["a"].set()
    assert await room.engine.finished(holder.id) is ExecutionStatus.COMPLETED
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    CALLS.gates["b"].set()
    assert await room.engine.finished(waits.id) is ExecutionStatus.COMPLETED


async def test_what_waits_for_a_place_is_cancelled_at_once(room: ServiceRoom, dispatcher: Sweep):
    await limited(room, 1)
    await room.publish("w", steps=[GATE], params={"n": "string"})
    room.engine.worker(beat_seconds=0.05)
    await room.enqueue(input={"n": "a"})
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    waits = await room.enqueue(input={"n": "b"})

    await room.engine.cancel(waits.id)

    assert await room.engine.finished(waits.id) is ExecutionStatus.CANCELLED
    assert CALLS.attempts.keys() == {"a"}
