"""A worker is killed while a limit on running executions is full: its places are counted until they are taken over, and come back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.model.execution import ExecutionStatus
from runtime.scheduler.sweep import Sweep
from tests import make
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
MOST, MANY = 2, 6


async def _dispatch(room: EngineRoom) -> None:
    sweep = Sweep(room.store, room.queue, room.metrics, room.clock)
    while True:
        await sweep.run()
        await asyncio.sleep(sweep.every_seconds)


async def test_the_places_of_a_killed_worker_count_until_they_are_free(
    room: EngineRoom, start, home: Path
):
    await room.sql.execute(
        "insert into tenants (id, name, settings) values ($1, 'limited', jsonb_build_object('max_running', $2::int))",
        make.TENANT, MOST,
    )  # fmt: skip
    given = {"folder": str(home), "gate": "gate"}
    version = await room.publish([{"id": "call", "uses": "probe.file@1", "with": given}])
    running = "select count(*) from workflow_executions where status = 1"
    first = await start("first")
    ids = [await room.enqueue(version) for _ in range(MANY)]
    dispatcher = asyncio.create_task(_dispatch(room))
    await until(lambda: len(calls(home)) == MOST)

    first.send_signal(signal.SIGKILL)
    await start("second")
    await start("third")
    await until(lambda: len(calls(home)) == 2 * MOST)
    assert await room.sql.fetchval(running) == MOST
    (home / "gate").touch()

    for one in ids:
        assert await room.finished(one, timeout=WAIT) is ExecutionStatus.COMPLETED
    dispatcher.cancel()
    with suppress(asyncio.CancelledError):
        await dispatcher
    assert len(calls(home)) == MANY + MOST
    spans = await room.sql.fetch("select started_at, finished_at from step_executions")
    for one in spans:
        beside = [x for x in spans if x["started_at"] <= one["started_at"] < x["finished_at"]]
        assert len(beside) <= MOST
