"""A worker that is killed between a rewind and its first step, or in it: the next goes on from what the rewind says."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.counters import miscounted
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
MANY = 12


def chain(home: Path) -> list[dict[str, Any]]:
    """Three steps, of which the second waits for its gate."""
    steps: list[dict[str, Any]] = []
    for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"])):
        given = {"folder": str(home)} | ({"gate": "gate"} if key == "b" else {})
        call = {"uses": "probe.file@1", "with": given, "timeout": "60s"}
        steps.append({"id": key, "depends_on": needs, **call})
    return steps


def of(home: Path, one: UUID) -> list[str]:
    """The calls of an execution, as `step.generation`."""
    return [key.split(".s.")[1] for key, _ in calls(home) if key.startswith(str(one))]


async def test_a_worker_killed_in_the_first_step_after_a_rewind_leaves_it_to_the_next(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    version = await room.publish(chain(home))
    one = await room.enqueue(version)
    (home / "gate").touch()
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    (home / "gate").unlink()

    assert await room.rewind(one, version, 1) == 1
    await until(lambda: of(home, one)[3:] == ["1.g1"])
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: of(home, one)[3:] == ["1.g1", "1.g1"])
    (home / "gate").touch()

    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    assert of(home, one) == ["0.g0", "1.g0", "2.g0", "1.g1", "1.g1", "2.g1"]
    assert await miscounted(room.sql) == []


async def test_kills_between_rewinds_and_first_steps_lose_and_repeat_nothing_that_is_kept(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(chain(home))
    (home / "gate").touch()
    executions = [await room.enqueue(version) for _ in range(MANY)]
    first = await start("first")
    for one in executions:
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    for number, one in enumerate(executions):
        assert await room.rewind(one, version, 1 + number % 2) == 1
    first.send_signal(signal.SIGKILL)
    await start("second")

    for number, one in enumerate(executions):
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
        again = ["1.g1", "2.g1"][number % 2 :]
        assert of(home, one)[:3] == ["0.g0", "1.g0", "2.g0"]
        assert list(dict.fromkeys(of(home, one)[3:])) == again
    assert await miscounted(room.sql) == []
