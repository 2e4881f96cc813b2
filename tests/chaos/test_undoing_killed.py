"""Workers that are killed while steps are undone: the next one goes on in the same order, and nothing is undone twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.counters import miscounted
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
EVENTS = "select data from execution_events where execution_id = $1 and kind = $2 order by seq"
MANY = 12


def saga(home: Path, *, gated: str = "", uses: str = "probe.file@1") -> list[dict[str, Any]]:
    """Three steps that say how they are undone, and one that fails."""
    steps: list[dict[str, Any]] = []
    for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"])):
        given = {"folder": str(home)} | ({"gate": "gate"} if key == gated else {})
        undo = {"uses": uses, "with": given, "timeout": "60s"}
        steps.append({"id": key, "uses": "core.noop@1", "depends_on": needs, "compensate": undo})
    return [*steps, {"id": "d", "uses": "core.fail@1", "depends_on": ["c"]}]


async def told(room: EngineRoom, execution: UUID, kind: EventKind) -> list[Any]:
    rows = await room.sql.fetch(EVENTS, execution, kind)
    return [
        orjson.loads(row["data"]) if isinstance(row["data"], str) else row["data"] for row in rows
    ]


async def undone(room: EngineRoom, execution: UUID) -> list[str]:
    return [data["key"] for data in await told(room, execution, EventKind.STEP_COMPENSATED)]


async def end(room: EngineRoom, execution: UUID) -> Any:
    [data] = await told(room, execution, EventKind.EXECUTION_FAILED)
    return data["compensation"]


def keys(execution: UUID) -> dict[str, str]:
    """Under which keys the compensations call."""
    return {key: f"{execution}.s.{4 + place}.g0" for place, key in enumerate("abc")}


@pytest.mark.parametrize("gated", ["c", "b", "a"])
async def test_a_worker_killed_in_the_middle_of_undoing_leaves_it_to_the_next(
    room: EngineRoom, start, home: Path, gated: str
):
    first = await start("first")
    execution = await room.enqueue(await room.publish(saga(home, gated=gated)))
    place = "cba".index(gated) + 1
    await until(lambda: len(calls(home)) == place)
    state = await room.sql.fetchval(
        "select compensating from workflow_executions where id = $1", execution
    )
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: len(calls(home)) == place + 1)
    (home / "gate").touch()

    assert await room.finished(execution, WAIT) is ExecutionStatus.FAILED
    by = keys(execution)
    wanted = [by[key] for key in "cba"]
    wanted.insert(place, by[gated])
    assert calls(home) == [(key, 1) for key in wanted]
    assert state is True
    assert await undone(room, execution) == ["c", "b", "a"]
    assert await end(room, execution) == {"undone": ["c", "b", "a"], "failed": []}
    assert await miscounted(room.sql) == []


async def test_kills_in_the_middle_of_undoing_change_neither_order_nor_number(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(saga(home))
    executions = [await room.enqueue(version) for _ in range(MANY)]
    await start("last")
    for number in range(3):
        one = await start(f"killed-{number}")
        seen = len(calls(home))
        if seen < 3 * MANY:
            await until(lambda seen=seen: len(calls(home)) > seen)  # type: ignore[misc]
        one.send_signal(signal.SIGKILL)

    for execution in executions:
        assert await room.finished(execution, WAIT) is ExecutionStatus.FAILED
        assert await undone(room, execution) == ["c", "b", "a"]
        assert await end(room, execution) == {"undone": ["c", "b", "a"], "failed": []}
        mine = [key for key, _ in calls(home) if key.startswith(str(execution))]
        by = keys(execution)
        assert list(dict.fromkeys(mine)) == [by[key] for key in "cba"]
    assert await miscounted(room.sql) == []


async def test_a_compensation_that_may_happen_once_is_not_made_twice(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    execution = await room.enqueue(await room.publish(saga(home, gated="b", uses="probe.sink@1")))
    await until(lambda: len(calls(home)) == 2)
    first.send_signal(signal.SIGKILL)
    await start("second")

    assert await room.finished(execution, WAIT) is ExecutionStatus.FAILED
    by = keys(execution)
    assert calls(home) == [(by[key], 1) for key in "cba"]
    assert await undone(room, execution) == ["c", "a"]
    said = await end(room, execution)
    assert (said["undone"], [one["step"] for one in said["failed"]]) == (["c", "a"], ["b"])
    assert said["failed"][0]["error"]["type"] == "in_doubt"
