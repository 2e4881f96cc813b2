"""`kill -9` between the call and the commit, for each effect and each rule, before a sink that ignores keys and counts calls."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from runtime.model.execution import ExecutionStatus, WaitKind
from tests.chaos.test_worker_killed import WAIT, calls, until
from tests.chaos.test_worker_killed import room as room
from tests.chaos.test_worker_killed import start as start
from tests.support.engine_room import EngineRoom

pytestmark = pytest.mark.chaos

COMPLETED, FAILED, WAITING = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.WAITING,
)
# What the step says of itself: how its execution ends, and how many calls the sink has counted.
CASES = {
    "pure": ({"effect": "pure"}, COMPLETED, 2),
    "idempotent": ({"effect": "idempotent"}, COMPLETED, 2),
    "no rule": ({}, FAILED, 1),
    "fail": ({"in_doubt": "fail"}, FAILED, 1),
    "retry": ({"in_doubt": "retry"}, COMPLETED, 2),
    "ask": ({"in_doubt": "ask"}, WAITING, 1),
    "found, fail": ({"uses": "probe.findable_sink@1", "in_doubt": "fail"}, COMPLETED, 1),
    "found, retry": ({"uses": "probe.findable_sink@1", "in_doubt": "retry"}, COMPLETED, 1),
    "found, ask": ({"uses": "probe.findable_sink@1", "in_doubt": "ask"}, COMPLETED, 1),
}


async def test_the_sink_counts_as_many_calls_as_effect_and_rule_allow(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    executions = {}
    for name, (more, _, _) in CASES.items():
        step = {"id": "a", "uses": "probe.sink@1", "with": {"folder": str(home), "gate": "gate"}}
        executions[name] = await room.enqueue(await room.publish([{**step, **more}]))
    await until(lambda: len(calls(home)) == len(CASES))

    first.send_signal(signal.SIGKILL)
    await first.wait()
    await start("second")
    for name, (_, status, _) in CASES.items():
        if status is not COMPLETED:
            await room.reached(executions[name], lambda row, s=status: row["status"] == s, WAIT)
    again = sum(count for _, _, count in CASES.values())
    await until(lambda: len(calls(home)) == again)
    (home / "gate").touch()

    counted = [key for key, _ in calls(home)]
    for name, (_, status, count) in CASES.items():
        execution = executions[name]
        assert (
            await room.reached(execution, lambda row, s=status: row["status"] == s, WAIT) is status
        )
        assert counted.count(f"{execution}.s.0.g0") == count, name
    assert (await room.row(executions["ask"]))["wait"] == WaitKind.IN_DOUBT
    await room.decide(executions["ask"], "made", output="seen")
    assert await room.finished(executions["ask"], WAIT) is COMPLETED
    assert [key for key, _ in calls(home)] == counted
