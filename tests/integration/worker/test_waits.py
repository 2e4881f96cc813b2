"""Wait steps through a real worker: durable timers, parked executions, and nobody who begins a wait anew."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.worker import signals
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

COMPLETED = StepStatus.COMPLETED


def wait(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "wait", **more}


def is_parked(row: Any) -> bool:
    return bool(row["status"] == ExecutionStatus.WAITING)


async def mark(room: EngineRoom, execution: Any, kind: int) -> Any:
    return await room.sql.fetchrow(
        "select ts, data from execution_events where execution_id = $1 and kind = $2",
        execution,
        kind,
    )


async def time_passes(room: EngineRoom, execution: Any, length: timedelta) -> None:
    """What the database knows of this execution was that much longer ago."""
    await room.sql.execute(
        "update execution_events set ts = ts - $2::interval where execution_id = $1",
        execution,
        length,
    )
    await room.sql.execute(
        "update step_executions set finished_at = finished_at - $2::interval where execution_id = $1",
        execution, length,
    )  # fmt: skip
    await room.sql.execute(
        "update workflow_executions set wake_at = wake_at - $2::interval, "
        "deadline = deadline - $2::interval where id = $1",
        execution, length,
    )  # fmt: skip


async def test_a_short_wait_stays_in_memory_and_ends_not_early(room: EngineRoom):
    room.worker()
    steps = [
        wait("nap", **{"for": "150ms"}),
        {"id": "b", "uses": "core.noop@1", "depends_on": ["nap"]},
    ]

    execution = await room.run(steps, outputs={"out": "{{ steps.nap.output }}"})

    row = await room.row(execution)
    assert (row["status"], json.loads(row["output"])) == (ExecutionStatus.COMPLETED, {"out": None})
    assert await room.events(execution) == [
        *["execution_queued", "execution_started", "step_started", "timer_set", "timer_fired"],
        *["step_completed", "step_started", "step_completed", "execution_completed"],
    ]
    [nap, _] = await room.results(execution)
    assert nap["code"] == "wait"
    assert {"in", "out", "worker"} <= nap.keys()
    row = await room.sql.fetchrow(
        "select started_at, finished_at from step_executions where execution_id = $1 and step = 0",
        execution,
    )
    set_at = (await mark(room, execution, 30))["ts"]
    assert row["finished_at"] - set_at >= timedelta(milliseconds=150)
    assert abs(row["started_at"] - set_at) < timedelta(milliseconds=140)


async def test_a_long_wait_is_parked_until_its_time_and_leaves_the_worker(room: EngineRoom):
    worker = room.worker()
    execution = await room.enqueue(await room.publish([wait("nap", **{"for": "2h"})]))

    await room.reached(execution, is_parked)

    row, timer = await room.row(execution), await mark(room, execution, 30)
    assert (row["wait"], row["owner"]) == (WaitKind.TIMER, None)
    late = row["wake_at"] - timer["ts"] - timedelta(hours=2)
    assert timedelta(0) <= late < timedelta(minutes=1)
    await worker.signals.wait(signals.PARKED)
    assert worker.executions == 0

    await time_passes(room, execution, timedelta(hours=2, minutes=1))
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await room.steps(execution) == [(0, 0, 1, COMPLETED)]
    assert (await room.events(execution)).count("step_started") == 1
    started = await room.sql.fetchval(
        "select started_at from step_executions where execution_id = $1", execution
    )
    assert abs(started - timer["ts"] + timedelta(hours=2, minutes=1)) < timedelta(minutes=1)


async def test_until_an_instant_that_has_passed_ends_at_once(room: EngineRoom):
    room.worker()

    execution = await room.run([wait("nap", until="{{ params.at }}")], {"at": "2020-01-01"})

    assert (await room.row(execution))["status"] == ExecutionStatus.COMPLETED


async def test_until_an_instant_parks_until_then(room: EngineRoom):
    room.worker()
    at = await room.sql.fetchval("select now() + interval '1 day'")
    execution = await room.enqueue(
        await room.publish([wait("nap", until="{{ params.at }}")]), {"at": at.isoformat()}
    )

    await room.reached(execution, is_parked)

    late = (await room.row(execution))["wake_at"] - at
    assert timedelta(0) <= late < timedelta(minutes=1)


async def test_who_wakes_too_early_waits_for_the_rest(room: EngineRoom):
    room.worker()
    execution = await room.enqueue(await room.publish([wait("nap", **{"for": "2h"})]))
    await room.reached(execution, is_parked)

    await time_passes(room, execution, timedelta(hours=1))
    await room.sql.execute(
        "update workflow_executions set wake_at = now() where id = $1", execution
    )
    await room.reached(execution, lambda row: is_parked(row) and row["epoch"] > 1)

    row, timer = await room.row(execution), await mark(room, execution, 30)
    late = row["wake_at"] - timer["ts"] - timedelta(hours=2)
    assert timedelta(0) <= late < timedelta(minutes=1)
    assert await room.steps(execution) == []


async def test_a_takeover_in_the_middle_does_not_begin_the_wait_anew(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    steps = [
        wait("nap", **{"for": "10m"}),
        {"id": "busy", "uses": "probe.gate@1", "with": {"marker": "busy"}},
    ]
    execution = await room.enqueue(await room.publish(steps))
    await CALLS.begun["busy"].wait()
    await room.until(execution, lambda: mark(room, execution, 30))
    await time_passes(room, execution, timedelta(minutes=9, seconds=59))

    second = room.worker()
    CALLS.begun["busy"].clear()
    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)
    await CALLS.begun["busy"].wait()
    CALLS.gates["busy"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (await room.events(execution)).count("timer_set") == 1


async def test_the_nearest_of_all_timers_wakes(room: EngineRoom):
    room.worker()
    retry = {"max_attempts": 2, "backoff": "fixed", "initial": "3h", "max": "3h", "jitter": "none"}
    flaky = {"marker": "m", "failures": 1}
    steps = [
        wait("nap", **{"for": "2h"}),
        wait("long", **{"for": "5h"}),
        {"id": "again", "uses": "probe.flaky@1", "with": flaky, "retry": retry},
    ]
    execution = await room.enqueue(await room.publish(steps))

    woken = []
    for hours in (2, 1, 2):
        await room.reached(execution, is_parked)
        row = await room.row(execution)
        woken.append(WaitKind(row["wait"]))
        before = row["epoch"]
        await time_passes(room, execution, timedelta(hours=hours, seconds=30))
        await room.reached(execution, lambda row, before=before: row["epoch"] > before)

    assert woken == [WaitKind.TIMER, WaitKind.RETRY_BACKOFF, WaitKind.TIMER]
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert len(CALLS.keys["m"]) == 2


@pytest.mark.parametrize("length", ["2h", "10m"])
async def test_the_deadline_ends_what_is_parked_exactly_once(room: EngineRoom, length: str):
    room.worker()
    version = await room.publish([wait("nap", **{"for": length})])
    execution = await room.enqueue(version, timeout_seconds=1_800.0)
    await room.reached(execution, is_parked)
    wake_in = (await room.row(execution))["wake_at"] - (await mark(room, execution, 30))["ts"]
    assert wake_in < timedelta(minutes=31)

    await time_passes(room, execution, timedelta(minutes=30, seconds=30))

    ended = await room.finished(execution)
    if length == "10m":
        assert ended in {ExecutionStatus.COMPLETED, ExecutionStatus.TIMED_OUT}
    else:
        assert ended is ExecutionStatus.TIMED_OUT
    assert (
        sum(
            e in {"execution_timed_out", "execution_completed"}
            for e in await room.events(execution)
        )
        == 1
    )


async def test_cancel_ends_a_parked_wait(room: EngineRoom):
    room.worker()
    execution = await room.enqueue(await room.publish([wait("nap", **{"for": "2h"})]))
    await room.reached(execution, is_parked)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert await room.steps(execution) == []


async def test_a_retried_execution_waits_again(room: EngineRoom):
    room.worker()
    steps = [
        wait("nap", **{"for": "100ms"}),
        {
            "id": "bad",
            "uses": "probe.flaky@1",
            "with": {"marker": "m", "failures": 1},
            "depends_on": ["nap"],
        },
    ]
    execution = await room.run(steps)
    assert (await room.row(execution))["status"] == ExecutionStatus.FAILED

    await room.retry(execution, from_failed_step=False)

    await room.reached(execution, lambda row: row["generation"] == 1 and row["owner"] is None)
    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert (await room.events(execution)).count("timer_set") == 2


async def test_what_is_undone_waits_for_its_own_times_and_for_no_other(room: EngineRoom):
    """A wait and a retry that were under way when a step failed are over, however soon their times would come."""
    room.worker()
    late = {"max_attempts": 9, "initial": "3h", "max": "3h", "jitter": "none"}
    soon = {"max_attempts": 9, "initial": "1h", "max": "1h", "jitter": "none"}
    undo = {"uses": "probe.flaky@1", "with": {"marker": "u", "failures": 9}, "retry": late}
    busy = {"uses": "probe.flaky@1", "with": {"marker": "r", "failures": 9}, "retry": soon}
    steps = [
        {"id": "a", "uses": "core.noop@1", "compensate": undo},
        {"id": "retrying", **busy},
        wait("nap", **{"for": "2h"}),
        wait("bell", signal="go"),
        {"id": "gate", "uses": "probe.gate@1", "with": {"marker": "g"}, "depends_on": ["a"]},
        {"id": "bad", "uses": "core.fail@1", "depends_on": ["gate"]},
    ]
    execution = await room.enqueue(await room.publish(steps))
    await asyncio.wait_for(CALLS.begun["r"].wait(), 10)
    CALLS.gates["g"].set()

    await room.reached(execution, lambda row: row["compensating"] and is_parked(row))

    row = await room.row(execution)
    assert row["wait"] == WaitKind.RETRY_BACKOFF
    hours = (row["wake_at"] - row["created_at"]).total_seconds() / 3600
    assert 2.9 < hours < 3.1
