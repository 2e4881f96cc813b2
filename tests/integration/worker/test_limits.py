"""What does not fit: outputs, characters, secrets, log lines, capacity, connectors, versions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.worker import signals
from runtime.worker.step_log import MAX_LINES
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

CANARY = "canary-9f2c71d0e4"


def echo(id="a", **config):
    return {"id": id, "uses": "probe.echo@1", "with": config}


async def error_of(room: EngineRoom, execution):
    row = await room.row(execution)
    assert row["status"] == ExecutionStatus.FAILED
    return json.loads(row["error"])


async def test_an_output_over_the_limit_fails_its_step_and_names_the_limit(room: EngineRoom):
    room.worker(max_output_bytes=1_000_000)

    error = await error_of(room, await room.run([echo(bytes=1_100_000)]))

    assert error["type"] == "output_too_large"
    assert "1000000 bytes" in error["message"]


async def test_an_output_that_postgres_cannot_store_fails_only_its_own_execution(room: EngineRoom):
    room.worker()
    bad, good = await room.publish([echo(zeros=1)]), await room.publish([echo(n=1)])

    executions = [await room.enqueue(version) for version in (good, bad, good)]

    statuses = [await room.finished(execution) for execution in executions]
    assert statuses == [
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.COMPLETED,
    ]
    assert (await error_of(room, executions[1]))["type"] == "output_not_storable"


@pytest.mark.interpreted
async def test_a_checkpoint_that_the_database_refuses_fails_the_step_with_its_words(
    room: EngineRoom, monkeypatch
):
    monkeypatch.setattr("runtime.worker.encode.holds_nul", lambda *_: False)
    room.worker()
    bad, good = await room.publish([echo(zeros=1)]), await room.publish([echo(n=1)])

    executions = [await room.enqueue(version) for version in (good, bad, good)]

    statuses = [await room.finished(execution) for execution in executions]
    assert statuses == [
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.COMPLETED,
    ]
    assert (await error_of(room, executions[1]))["type"] == "checkpoint_rejected"
    assert await room.steps(executions[1]) == [(0, 0, 1, StepStatus.FAILED)]


async def test_an_output_of_the_workflow_that_cannot_be_stored_fails_the_execution(
    room: EngineRoom,
):
    room.worker(max_output_bytes=50_000)
    steps = [echo("a", bytes=40_000), echo("b", bytes=40_000)]

    execution = await room.run(
        steps, outputs={"both": ["{{ steps.a.output }}", "{{ steps.b.output }}"]}
    )

    assert (await error_of(room, execution))["type"] == "output_too_large"
    assert (await room.events(execution))[-1] == "execution_failed"


async def test_a_secret_reaches_the_call_and_nothing_else(room: EngineRoom, home):
    secrets = home / "secrets.yaml"
    secrets.write_text(f"TOKEN: {CANARY}\n")
    secrets.chmod(0o600)
    worker = room.worker()
    CALLS.gates["a"].set()
    steps = [
        {
            "id": "a",
            "uses": "probe.gate@1",
            "with": {"marker": "a", "value": "Bearer {{ secrets.TOKEN }}"},
        },
        {
            "id": "b",
            "uses": "probe.chatty@1",
            "with": {"lines": 2, "secret": "{{ secrets.TOKEN }}"},
            "depends_on": ["a"],
        },
    ]

    execution = await room.run(steps, outputs={"echo": "{{ steps.a.output }}"})

    await worker.stop()
    await room.workers[0][2].close()
    assert json.loads((await room.row(execution))["output"]) == {"echo": "Bearer ***"}
    for table in (
        "workflow_executions",
        "step_executions",
        "execution_events",
        "step_logs",
        "execution_inbox",
    ):
        rows = await room.sql.fetch(f"select t::text as row from {table} t")
        assert not [row["row"] for row in rows if CANARY in row["row"]]
    assert await room.sql.fetchval("select count(*) from step_logs") == 2


async def test_a_missing_secret_fails_its_step_by_name(room: EngineRoom):
    room.worker()

    error = await error_of(room, await room.run([echo(token="{{ secrets.NOPE }}")]))

    assert error["type"] == "secret.not_found"
    assert "NOPE" in error["message"]


async def test_an_expression_that_fails_is_a_failure_of_its_step(room: EngineRoom):
    room.worker()

    error = await error_of(room, await room.run([echo(n="{{ params.nothing }}")]))

    assert error["type"] == "expression"
    assert error["message"].startswith("`with` of step 'a': ")


async def test_log_lines_are_bounded_and_the_last_one_says_so(room: EngineRoom):
    worker = room.worker()

    step = {"id": "a", "uses": "probe.chatty@1", "with": {"lines": MAX_LINES + 50}}
    await room.run([step])
    await worker.stop()
    await room.workers[0][2].close()

    rows = await room.sql.fetch("select message, attempt from step_logs order by position")
    assert len(rows) == MAX_LINES + 1
    assert rows[-1]["message"].startswith("truncated")


async def test_steps_over_the_limit_of_the_process_wait_for_a_place(room: EngineRoom):
    worker = room.worker(max_steps=1)
    steps = [{"id": key, "uses": "probe.gate@1", "with": {"marker": key}} for key in "ab"]
    execution = await room.enqueue(await room.publish(steps))
    await worker.signals.wait(signals.CALLING)
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)

    assert set(CALLS.keys) == {"a"}
    CALLS.gates["a"].set()
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_step_that_waits_for_a_place_is_called_off_when_the_execution_is_cancelled(
    room: EngineRoom,
):
    worker = room.worker(max_steps=1)
    hold = await room.publish([{"id": "h", "uses": "probe.gate@1", "with": {"marker": "h"}}])
    held = await room.enqueue(hold)
    await asyncio.wait_for(CALLS.begun["h"].wait(), 10)
    waits = await room.publish([{"id": "w", "uses": "probe.gate@1", "with": {"marker": "w"}}])
    execution = await room.enqueue(waits)
    await worker.signals.wait(signals.CLAIMED, 2)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert "w" not in CALLS.keys
    CALLS.gates["h"].set()
    assert await room.finished(held) is ExecutionStatus.COMPLETED


async def test_executions_over_the_limit_stay_queued(room: EngineRoom):
    worker = room.worker(max_executions=1)
    version = await room.publish([{"id": "a", "uses": "probe.gate@1", "with": {"marker": "a"}}])
    executions = [await room.enqueue(version) for _ in range(3)]
    await worker.signals.wait(signals.CALLING)

    assert worker.executions == 1
    CALLS.gates["a"].set()

    for execution in executions:
        assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_max_parallel_steps_of_the_workflow_is_honoured(room: EngineRoom):
    room.worker()
    steps = [{"id": key, "uses": "probe.gate@1", "with": {"marker": key}} for key in "abc"]
    execution = await room.enqueue(await room.publish(steps, max_parallel_steps=1))

    for count, key in enumerate("abc", 1):
        await asyncio.wait_for(CALLS.begun[key].wait(), 10)
        assert len(CALLS.keys) == count
        CALLS.gates[key].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_version_that_cannot_be_compiled_fails_its_execution_and_no_other(room: EngineRoom):
    room.worker()
    good = await room.publish([echo(n=1)])
    missing = await room.enqueue(room_version := (await room.enqueue(good)))

    assert await room.finished(missing) is ExecutionStatus.FAILED
    assert (await error_of(room, missing))["type"] == "version.unusable"
    assert await room.finished(room_version) is ExecutionStatus.COMPLETED


@pytest.mark.parametrize("width", [1_500])
async def test_a_wide_fan_out_joins_again(room: EngineRoom, width: int):
    room.worker()
    steps: list[dict[str, Any]] = [{"id": "a", "uses": "core.noop@1"}]
    steps += [{"id": f"s{i}", "uses": "core.noop@1", "depends_on": ["a"]} for i in range(width)]
    steps += [{"id": "z", "uses": "core.noop@1", "depends_on": [f"s{i}" for i in range(width)]}]

    execution = await room.run(steps)

    assert (await room.row(execution))["status"] == ExecutionStatus.COMPLETED
    assert len(await room.steps(execution)) == width + 2
    assert len(await room.events(execution)) == 3 + 2 * (width + 2)


async def test_a_row_carries_digests_worker_and_code(room: EngineRoom):
    room.worker()

    [result] = await room.results(await room.run([echo(n=1)]))

    assert result["worker"] == "test:1"
    assert result["code"] == "probe.echo@1.0.0"
    assert result["in"] == result["out"]
    assert result["in"].startswith("sha256:")


async def test_a_step_is_told_who_it_is(room: EngineRoom):
    room.worker()
    CALLS.gates["a"].set()
    version = await room.publish(
        [{"id": "a", "uses": "probe.gate@1", "with": {"marker": "a"}, "timeout": "9s"}]
    )

    execution = await room.enqueue(version, meta={"purpose": "billing"})
    await room.finished(execution)

    context = CALLS.contexts["a"]
    assert (context.execution_id, context.step_key, context.attempt) == (execution, "a", 1)
    assert (context.tenant, context.purpose, context.timeout_seconds) == ("test", "billing", 9.0)
    assert not context.cancel.is_cancelled
    await asyncio.sleep(0)


async def test_what_the_database_takes_no_checkpoint_of_is_a_dead_letter(room: EngineRoom):
    room.worker()
    refusing = (
        "create or replace function refuse() returns trigger language plpgsql as $$ begin"
        " raise exception 'nothing of this is taken' using errcode = 'check_violation'; end $$;"
        " create trigger refuse before insert on execution_events for each row when (new.kind not in"
        f" ({EventKind.EXECUTION_QUEUED:d}, {EventKind.DEAD_LETTERED:d})) execute function refuse()"
    )
    await room.sql.execute(refusing)

    try:
        execution = await room.enqueue(await room.publish([echo(n=1)]))
        status = await room.finished(execution)
    finally:
        await room.sql.execute("drop function refuse() cascade")

    assert status is ExecutionStatus.DEAD_LETTERED
    assert (await room.row(execution))["owner"] is None
    assert await room.events(execution) == ["execution_queued", "dead_lettered"]
    letter = await room.sql.fetchrow(
        "select * from dead_letters where execution_id = $1", execution
    )
    assert letter["reason"] == "checkpoint_refused"
    assert "nothing of this is taken" in json.loads(letter["error"])["message"]
    assert [each["sequence"] for each in json.loads(letter["evidence"])["events"]] == [1, 2]
