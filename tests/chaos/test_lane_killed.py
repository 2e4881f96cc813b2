"""The worker of an execution that holds a concurrency key is killed: nobody else gets the place before that has ended."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
LANE = {"concurrency": {"key": "k", "limit": 1, "on_conflict": "queue"}}
MANY = 8


async def test_a_killed_holder_keeps_its_place_until_another_worker_has_ended_it(
    room: EngineRoom, start, home: Path
):
    given = {"folder": str(home), "gate": "gate"}
    version = await room.publish([{"id": "call", "uses": "probe.file@1", "with": given}])
    first = await start("first")
    ids = [await room.enqueue(version, meta=LANE) for _ in range(MANY)]
    await until(lambda: len(calls(home)) == 1)
    first.send_signal(signal.SIGKILL)
    await start("second")
    await start("third")
    await until(lambda: len(calls(home)) == 2)
    (home / "gate").touch()

    for one in ids:
        assert await room.finished(one, timeout=WAIT) is ExecutionStatus.COMPLETED
    rows = await room.sql.fetch(
        "select id, started_at, finished_at from workflow_executions order by started_at"
    )
    assert [row["id"] for row in rows] == ids
    assert all(one["finished_at"] <= other["started_at"] for one, other in pairwise(rows))
    assert len(calls(home)) == MANY + 1
