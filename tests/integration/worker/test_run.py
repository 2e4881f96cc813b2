"""Executions through a real worker: PostgreSQL, Redis, connectors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import structlog

from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.worker import signals
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

COMPLETED, FAILED = StepStatus.COMPLETED, StepStatus.FAILED
THREE: list[dict[str, Any]] = [
    {"id": "a", "uses": "core.noop@1"},
    {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]},
    {"id": "c", "uses": "core.noop@1", "depends_on": ["b"]},
]
QUICK = {"max_attempts": 3, "backoff": "fixed", "initial": "10ms", "jitter": "none"}


def gate(id, marker=None, **more):
    return {"id": id, "uses": "probe.gate@1", "with": {"marker": marker or id}, **more}


async def test_three_steps_one_after_the_other(room: EngineRoom):
    room.worker()

    execution = await room.run(THREE)

    assert (await room.row(execution))["status"] == ExecutionStatus.COMPLETED
    assert await room.steps(execution) == [(step, 0, 1, COMPLETED) for step in range(3)]
    assert await room.events(execution) == [
        "execution_queued",
        "execution_started",
        *["step_started", "step_completed"] * 3,
        "execution_completed",
    ]


async def test_outputs_flow_by_expressions_and_become_the_output(room: EngineRoom):
    room.worker()
    steps = [
        {"id": "a", "uses": "probe.echo@1", "with": {"n": "{{ params.n }}"}},
        {
            "id": "b",
            "uses": "probe.echo@1",
            "with": {"n": "{{ steps.a.output.n + 1 }}"},
            "depends_on": ["a"],
        },
    ]

    execution = await room.run(steps, {"n": 41}, outputs={"answer": "{{ steps.b.output.n }}"})

    assert json.loads((await room.row(execution))["output"]) == {"answer": 42}


async def test_branches_run_at_the_same_time(room: EngineRoom):
    worker = room.worker()
    steps = [gate("a"), gate("b"), {"id": "c", "uses": "core.noop@1", "depends_on": ["a", "b"]}]
    execution = await room.enqueue(await room.publish(steps))

    await asyncio.wait_for(asyncio.gather(CALLS.begun["a"].wait(), CALLS.begun["b"].wait()), 10)
    await worker.signals.wait(signals.CHECKPOINTED)
    assert await room.events(execution) == [
        "execution_queued",
        "execution_started",
        *["step_started"] * 2,
    ]
    CALLS.gates["b"].set()
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_failing_step_is_repeated_under_the_same_key(room: EngineRoom):
    room.worker()
    step = {
        "id": "a",
        "uses": "probe.flaky@1",
        "with": {"marker": "m", "failures": 2},
        "retry": QUICK,
    }

    execution = await room.run([step])

    assert await room.steps(execution) == [
        (0, 0, 1, FAILED),
        (0, 0, 2, FAILED),
        (0, 0, 3, COMPLETED),
    ]
    assert CALLS.keys["m"] == [f"{execution}.s.0.g0"] * 3
    assert (await room.events(execution)).count("step_retrying") == 2


async def test_after_the_last_attempt_the_execution_fails_with_the_steps_error(room: EngineRoom):
    room.worker()
    step = {
        "id": "a",
        "uses": "probe.flaky@1",
        "with": {"marker": "m", "failures": 9},
        "retry": QUICK,
    }

    execution = await room.run([step])

    row = await room.row(execution)
    assert row["status"] == ExecutionStatus.FAILED
    assert json.loads(row["error"]) == {
        "type": "Busy",
        "message": "busy",
        "retryable": True,
        "step_key": "a",
    }
    assert (await room.events(execution))[-2:] == ["step_failed", "execution_failed"]


async def test_a_permanent_failure_is_not_repeated_and_stops_the_siblings(room: EngineRoom):
    room.worker()
    bad = {"id": "bad", "uses": "probe.flaky@1", "retry": QUICK}
    bad["with"] = {"marker": "m", "failures": 9, "kind": "permanent"}

    execution = await room.run([gate("slow"), bad])

    assert sorted(await room.steps(execution)) == [
        (0, 0, 1, StepStatus.CANCELLED),
        (1, 0, 1, FAILED),
    ]
    assert CALLS.contexts["slow"].cancel.reason == "step 'bad' failed"


async def test_a_skipped_step_has_a_row_and_an_event(room: EngineRoom):
    room.worker()
    steps = [{"id": "a", "uses": "core.noop@1", "when": "params.go"}]

    execution = await room.run(steps, {"go": False})

    assert await room.steps(execution) == [(0, 0, 0, StepStatus.SKIPPED)]
    assert "step_skipped" in await room.events(execution)


async def test_a_step_that_takes_too_long_times_out(room: EngineRoom):
    room.worker()

    execution = await room.run([gate("a", timeout="50ms")])

    assert await room.steps(execution) == [(0, 0, 1, StepStatus.TIMED_OUT)]


@pytest.mark.parametrize("ring", [True, False])
async def test_cancel_stops_the_running_step_and_ends_the_execution(room: EngineRoom, ring: bool):
    room.worker()
    execution = await room.enqueue(await room.publish([gate("a")]))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)

    await room.cancel(execution, ring=ring)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert (await room.events(execution))[-3:] == [
        "execution_cancel_requested",
        "step_cancelled",
        "execution_cancelled",
    ]
    assert await room.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_a_cancelled_queued_execution_runs_nothing(room: EngineRoom):
    execution = await room.enqueue(await room.publish([gate("a")]), hint=False)
    await room.cancel(execution)

    room.worker()

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert not CALLS.keys


async def test_a_step_that_does_not_listen_is_given_up(room: EngineRoom, monkeypatch):
    monkeypatch.setattr("runtime.worker.stopping.STOP_SECONDS", 0.01)
    monkeypatch.setattr("runtime.worker.stopping.ABANDON_SECONDS", 0.01)
    room.worker()
    step = {"id": "a", "uses": "probe.deaf@1", "with": {"marker": "a"}}
    execution = await room.enqueue(await room.publish([step]))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)

    with structlog.testing.capture_logs() as lines:
        await room.cancel(execution)

        assert await room.finished(execution) is ExecutionStatus.CANCELLED
    CALLS.gates["a"].set()
    [line] = [line for line in lines if line["event"] == "step_does_not_stop"]
    assert (line["execution"], line["step"]) == (str(execution), "a")


async def test_the_deadline_ends_the_execution(room: EngineRoom):
    room.worker()
    version, steps = await room.publish([gate("a")]), []

    for seconds in (0.3, 2.0, 10.0):  # On a busy machine the first may pass in the queue.
        execution = await room.enqueue(version, timeout_seconds=seconds)
        assert await room.finished(execution) is ExecutionStatus.TIMED_OUT
        if steps := await room.steps(execution):
            break

    assert steps == [(0, 0, 1, StepStatus.CANCELLED)]


async def test_a_deadline_that_passed_in_the_queue_starts_nothing(room: EngineRoom):
    version = await room.publish([gate("a")])
    execution = await room.enqueue(version, timeout_seconds=0.001, hint=False)

    room.queue.add(0, [(execution, 1)])
    room.worker()

    assert await room.finished(execution) is ExecutionStatus.TIMED_OUT
    assert not CALLS.keys


async def test_a_long_retry_delay_parks_the_execution_and_wakes_it(room: EngineRoom):
    worker = room.worker()
    step = {"id": "a", "uses": "probe.flaky@1", "retry": QUICK}
    step["with"] = {"marker": "m", "failures": 1, "retry_after": 60}
    execution = await room.enqueue(await room.publish([step]))
    await worker.signals.wait(signals.PARKED)

    row = await room.row(execution)
    assert (row["status"], row["wait"], row["owner"]) == (ExecutionStatus.WAITING, 4, None)
    assert worker.executions == 0
    await room.sql.execute(
        "update step_executions set finished_at = finished_at - interval '1 minute'"
    )
    await room.sql.execute("update workflow_executions set wake_at = now()")

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["m"] == [1, 2]


async def test_a_parked_execution_wakes_for_its_deadline(room: EngineRoom):
    worker = room.worker(beat_seconds=0.2)
    step: dict[str, Any] = {"id": "a", "uses": "probe.flaky@1", "retry": QUICK}
    step["with"] = {"marker": "m", "failures": 1, "retry_after": 60}

    execution = await room.enqueue(await room.publish([step]), timeout_seconds=30)
    await worker.signals.wait(signals.PARKED)
    row = await room.row(execution)
    assert abs((row["wake_at"] - row["deadline"]).total_seconds()) < 10

    await room.sql.execute(
        "update workflow_executions set deadline = now(), wake_at = now() where id = $1", execution
    )

    assert await room.finished(execution) is ExecutionStatus.TIMED_OUT
    assert worker.signals.counts[signals.PARKED] == 1


async def test_cancel_of_a_parked_execution_wakes_and_ends_it(room: EngineRoom):
    worker = room.worker()
    step = {"id": "a", "uses": "probe.flaky@1", "retry": QUICK}
    step["with"] = {"marker": "m", "failures": 1, "retry_after": 60}
    execution = await room.enqueue(await room.publish([step]))
    await worker.signals.wait(signals.PARKED)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED


async def test_retry_runs_the_failed_step_again_under_a_new_key(room: EngineRoom):
    room.worker()
    steps = [
        {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}},
        {
            "id": "b",
            "uses": "probe.gate@1",
            "with": {"marker": "b"},
            "timeout": "50ms",
            "depends_on": ["a"],
        },
    ]
    execution = await room.run(steps)

    CALLS.gates["b"].set()
    await room.retry(execution)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.keys["a"] == [f"{execution}.s.0.g0"]
    assert CALLS.keys["b"] == [f"{execution}.s.1.g0", f"{execution}.s.1.g1"]


async def test_retry_from_the_start_runs_all_steps_again(room: EngineRoom):
    room.worker()
    steps = [
        {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}},
        {
            "id": "b",
            "uses": "probe.gate@1",
            "with": {"marker": "b"},
            "timeout": "50ms",
            "depends_on": ["a"],
        },
    ]
    execution = await room.run(steps)

    CALLS.gates["b"].set()
    await room.retry(execution, from_failed_step=False)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.keys["a"] == [f"{execution}.s.0.g0", f"{execution}.s.0.g1"]


async def test_an_old_cancel_is_no_word_to_the_next_generation(room: EngineRoom):
    room.worker()
    execution = await room.enqueue(await room.publish([gate("a")]))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    await room.cancel(execution)
    await room.finished(execution)
    await room.sql.execute(
        "insert into execution_inbox (shard, n, execution_id, tenant_id, kind, data) "
        "select 0, 1, id, tenant_id, 1, '{}' from workflow_executions"
    )

    CALLS.gates["a"].set()
    await room.retry(execution)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
