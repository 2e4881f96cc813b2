"""Maps on a real worker: what items are given, what their results come to, and what a loss or a retry leaves alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.blob.filesystem import FilesystemBlobs
from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import InboxKind
from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.worker import signals
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

COMPLETED, FAILED, CANCELLED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED


def over(values: Any, uses: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    task = {"uses": uses, "with": given, **more.pop("task", {})}
    return {"id": "each", "type": "map", "for_each": values, "task": task, **more}


async def begin(room: EngineRoom, *steps: dict[str, Any], input: Any = None, **more: Any) -> UUID:
    return await room.enqueue(await room.publish(steps, **more), input)


async def rows(room: EngineRoom, execution: UUID) -> dict[tuple[int, int], StepStatus]:
    """How items (and the map, -1) ended, by generation."""
    found = await room.sql.fetch(
        "select item, generation, status from step_executions where execution_id = $1 "
        "order by generation, item, attempt",
        execution,
    )
    return {(row["item"], row["generation"]): StepStatus(row["status"]) for row in found}


async def output(room: EngineRoom, execution: UUID) -> Any:
    """What the map put out, wherever that is."""
    text = await room.sql.fetchval(
        "select result -> 'output' from step_executions where execution_id = $1 and item = -1 "
        "and status = 6 and step = 0",
        execution,
    )
    value = stored(json.loads(text))
    if isinstance(value, BlobRef):
        return await room.blobs().load(TENANT, execution, value)
    return value


async def test_each_item_is_given_its_element_and_the_results_keep_their_order(room: EngineRoom):
    room.worker()
    step = over("{{ params.words }}", "probe.echo@1", {"word": "{{ item }}", "at": "{{ index }}"})
    given = {"all": "{{ steps.each.output }}"}
    after = {"id": "b", "uses": "probe.echo@1", "depends_on": ["each"], "with": given}
    execution = await begin(room, step, after, input={"words": ["x", "y", "z"]})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    wanted = [{"word": word, "at": at} for at, word in enumerate("xyz")]
    assert await output(room, execution) == wanted
    assert (await room.results(execution))[-1]["output"] == {"all": wanted}
    assert CALLS.keys["each"] == [f"{execution}.s.0.{item}.g0" for item in range(3)]


async def test_results_that_come_out_of_order_are_joined_in_the_order_of_the_list(
    room: EngineRoom,
):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    execution = await begin(room, over(["x", "y", "z"], "probe.gate@1", given))
    for item in (2, 0, 1):
        await asyncio.wait_for(CALLS.begun[f"m{item}"].wait(), 10)
        CALLS.gates[f"m{item}"].set()
        await room.until(execution, partial(_has_ended, room, execution, item))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == ["x", "y", "z"]


async def _has_ended(room: EngineRoom, execution: UUID, item: int) -> bool:
    return (item, 0) in await rows(room, execution)


async def test_a_map_over_nothing_is_an_empty_list(room: EngineRoom):
    room.worker()
    execution = await begin(room, over([], "probe.echo@1", {}))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == []


async def test_a_list_and_its_results_may_be_larger_than_a_row(room: EngineRoom):
    room.worker()
    words = ["w" * 1_000 + str(number) for number in range(200)]
    first = {"id": "a", "uses": "probe.echo@1", "with": {"words": "{{ params.words }}"}}
    step = over(
        "{{ steps.a.output.words }}", "probe.echo@1", {"word": "{{ item }}"}, depends_on=["a"]
    )
    execution = await begin(room, first, step, input={"words": words})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    text = await room.sql.fetchval(
        "select result from step_executions where execution_id = $1 and step = 1 and item = -1",
        execution,
    )
    result = json.loads(text)
    ref: Any = stored(result["output"])
    assert ref.digest == result["out"]
    loaded = await room.blobs().load(TENANT, execution, ref)
    assert loaded == [{"word": word} for word in words]


async def test_an_item_whose_result_is_large_stands_in_the_list_like_any_other(room: EngineRoom):
    room.worker()
    execution = await begin(room, over([2, 40_000, 3], "probe.echo@1", {"bytes": "{{ item }}"}))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == ["xx", "x" * 40_000, "xxx"]


async def test_results_that_are_too_large_together_fail_the_map(room: EngineRoom):
    room.worker(max_output_bytes=5_000)
    execution = await begin(room, over([2_000] * 3, "probe.echo@1", {"bytes": "{{ item }}"}))

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert (error["type"], error["step_key"]) == ("output_too_large", "each")


async def test_the_first_failure_stops_what_runs_and_skips_the_rest(room: EngineRoom):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item.x }}"}
    step = over([{"x": 1}, 7, {"x": 2}], "probe.gate@1", given, max_concurrency=2)
    execution = await begin(room, step)

    assert await room.finished(execution) is ExecutionStatus.FAILED
    ended = await rows(room, execution)
    assert ended == {(-1, 0): FAILED, (0, 0): CANCELLED, (1, 0): FAILED}
    assert "m2" not in CALLS.keys


async def test_a_cancel_reaches_the_items_that_run(room: EngineRoom):
    room.worker()
    step = over(["a", "b", "never"], "probe.gate@1", {"marker": "{{ item }}"}, max_concurrency=2)
    execution = await begin(room, step)
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert await rows(room, execution) == {(0, 0): CANCELLED, (1, 0): CANCELLED}
    assert "never" not in CALLS.keys


async def test_one_failed_item_fails_the_map_and_is_retried_alone(room: EngineRoom):
    room.worker()
    given = {
        "marker": "{{ 'm' ~ index }}",
        "failures": "{{ 9 if index == 1 and execution.generation == 0 else 0 }}",
        "kind": "permanent",
    }
    step = over([1, 2, 3], "probe.flaky@1", given, max_concurrency=1)
    execution = await begin(room, step)

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await rows(room, execution) == {(-1, 0): FAILED, (0, 0): COMPLETED, (1, 0): FAILED}
    error = json.loads((await room.row(execution))["error"])
    assert (error["type"], error["message"]) == ("Busy", "item 1 failed: busy")
    await room.retry(execution)
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert {marker: len(keys) for marker, keys in CALLS.keys.items()} == {
        "m0": 1,
        "m1": 2,
        "m2": 1,
    }
    assert await output(room, execution) == [{"attempt": 1}] * 3


async def test_a_map_that_collects_says_of_each_item_how_it_ended(room: EngineRoom):
    room.worker()
    given = {
        "marker": "{{ 'm' ~ index }}",
        "failures": "{{ 9 if index == 1 else 0 }}",
        "kind": "permanent",
    }
    step = over([1, 2, 3], "probe.flaky@1", given, failure_policy="collect")
    execution = await begin(room, step)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    first, second, third = await output(room, execution)
    assert first == third == {"status": "completed", "output": {"attempt": 1}}
    assert second["status"] == "failed"
    assert (second["error"]["type"], second["error"]["message"]) == ("Busy", "busy")


async def test_an_item_that_fails_in_passing_is_repeated(room: EngineRoom):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "failures": "{{ index }}"}
    retry = {"max_attempts": 3, "initial": "10ms", "jitter": "none", "backoff": "fixed"}
    step = over([1, 2, 3], "probe.flaky@1", given, task={"retry": retry})
    execution = await begin(room, step)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == [{"attempt": number} for number in (1, 2, 3)]
    assert len(set(CALLS.keys["m2"])) == 1


async def test_an_execution_is_parked_while_items_wait_for_their_next_attempt(room: EngineRoom):
    room.worker()
    given = {"marker": "m", "failures": 1}
    retry = {"max_attempts": 2, "initial": "30s", "jitter": "none", "backoff": "fixed"}
    execution = await begin(room, over([1], "probe.flaky@1", given, task={"retry": retry}))

    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    await room.sql.execute(
        "update workflow_executions set wake_at = now() where id = $1", execution
    )
    # Woken too early it knows what is left of the delay, and parks again.
    await room.until(execution, lambda: _waits_twice(room, execution))
    assert CALLS.attempts["m"] == [1]


async def _waits_twice(room: EngineRoom, execution: UUID) -> bool:
    return (await room.events(execution)).count("execution_waiting") == 2


async def test_no_more_items_are_called_at_once_than_may_be(room: EngineRoom):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    execution = await begin(room, over([1, 2, 3, 4], "probe.gate@1", given, max_concurrency=2))
    await asyncio.wait_for(CALLS.begun["m1"].wait(), 10)
    assert {*CALLS.keys} == {"m0", "m1"}
    CALLS.gates["m0"].set()
    await asyncio.wait_for(CALLS.begun["m2"].wait(), 10)
    assert "m3" not in CALLS.keys
    for item in (1, 2, 3):
        CALLS.gates[f"m{item}"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_whoever_takes_over_does_only_the_items_that_are_left(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    execution = await begin(room, over([5, 6, 7], "probe.gate@1", given, max_concurrency=2))
    await asyncio.wait_for(CALLS.begun["m1"].wait(), 10)
    CALLS.gates["m0"].set()
    await asyncio.wait_for(CALLS.begun["m2"].wait(), 10)
    second = room.worker()
    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)
    for item in (1, 2):
        CALLS.gates[f"m{item}"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == [5, 6, 7]
    assert CALLS.attempts["m0"] == [1]
    assert len(set(CALLS.keys["m1"])) == 1
    assert Counter(await room.events(execution))["map_opened"] == 1


async def test_a_lost_call_of_an_item_is_looked_up_and_not_made_again(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    execution = await begin(room, over([5, 6], "probe.findable@1", given, max_concurrency=1))
    await asyncio.wait_for(CALLS.begun["m0"].wait(), 10)
    CALLS.found["m0"] = 50
    CALLS.gates["m1"].set()
    second = room.worker()
    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == [50, 6]
    assert (CALLS.attempts["m0"], CALLS.asked["m0"]) == ([1], 1)


async def test_a_person_settles_the_doubt_of_one_item(room: EngineRoom):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    task = {"in_doubt": "ask", "timeout": "50ms"}
    step = over([5, 6], "probe.once@1", given, task=task, max_concurrency=1)
    execution = await begin(room, step)
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    CALLS.gates["m1"].set()

    await room.decide(execution, "made", item=0, output=55)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == [55, 6]
    assert CALLS.attempts["m0"] == [1]


async def test_a_paused_map_begins_no_item(room: EngineRoom):
    room.worker()
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    execution = await begin(room, over([1, 2], "probe.gate@1", given, max_concurrency=1))
    await asyncio.wait_for(CALLS.begun["m0"].wait(), 10)
    await room.tell(execution, InboxKind.PAUSE, reason=None)
    await room.until(execution, lambda: _says(room, execution, "execution_paused"))
    CALLS.gates["m0"].set()
    CALLS.gates["m1"].set()
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    assert "m1" not in CALLS.keys
    await room.tell(execution, InboxKind.RESUME, reason=None)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def _says(room: EngineRoom, execution: UUID, word: str) -> bool:
    return word in await room.events(execution)


async def test_an_input_that_can_not_be_rendered_fails_the_item(room: EngineRoom):
    room.worker()
    execution = await begin(room, over([1], "probe.echo@1", {"x": "{{ item.no.thing }}"}))

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await rows(room, execution) == {(-1, 0): FAILED, (0, 0): FAILED}


async def test_what_the_database_refuses_of_an_item_is_told_as_its_failure(room: EngineRoom):
    room.worker()
    execution = await begin(room, over([0, 3], "probe.echo@1", {"zeros": "{{ item }}"}))

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert error["type"] == "output_not_storable"


async def test_a_failed_item_takes_nothing_from_what_the_core_waits_for(
    room: EngineRoom, home: Path, monkeypatch: pytest.MonkeyPatch
):
    """A condition needs a large value while a map stops its items: the value still comes, else nothing ever goes on."""
    monkeypatch.setattr("runtime.worker.outputs.LOAD_PAUSE", 0.01)
    asked, is_away = asyncio.Event(), [True]

    class Away(FilesystemBlobs):
        def read(self, key: Any) -> Any:
            asked.set()
            if is_away[0]:
                raise Unavailable(f"no {key.digest}", reason="BLOB_STORE_UNAVAILABLE")
            return super().read(key)

    room.blob_store = Away(home / "blobs")
    room.worker(max_output_bytes=60_000)
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    step = over("{{ params.list }}", "probe.gate@1", given, on_error="continue")
    big = {"id": "a", "uses": "probe.echo@1", "with": {"bytes": 40_000}}
    when = "{{ steps.a.output != '' }}"
    needs = {"id": "b", "uses": "core.noop@1", "depends_on": ["a"], "when": when}
    too_large = "x" * 70_000
    execution = await begin(room, step, big, needs, input={"list": [too_large, 1]})
    await asyncio.wait_for(CALLS.begun["m1"].wait(), 10)
    await asyncio.wait_for(asked.wait(), 10)
    CALLS.gates["m0"].set()
    await room.until(execution, lambda: _says(room, execution, "step_cancelled"))
    is_away[0] = False

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


@pytest.mark.parametrize(("levels", "policy"), [(254, "fail_fast"), (253, "collect")])
async def test_results_that_are_nested_too_deep_for_a_list_fail_the_map(
    room: EngineRoom, levels: int, policy: str
):
    room.worker()
    step = over([levels], "probe.echo@1", {"levels": "{{ item }}"}, failure_policy=policy)
    execution = await begin(room, step)

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert (error["type"], error["step_key"]) == ("output_not_storable", "each")


async def test_a_join_that_breaks_fails_its_map(room: EngineRoom, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: object) -> Any:
        raise LookupError("no rows here")

    monkeypatch.setattr(room.store, "item_results", broken)
    room.worker()
    execution = await begin(room, over([1], "probe.echo@1", {}))

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert json.loads((await room.row(execution))["error"])["type"] == "engine.defect"


async def test_no_more_of_large_results_is_loaded_than_may_be_stored(room: EngineRoom):
    room.worker(max_output_bytes=60_000)
    before = room.metrics.blobs_read._value.get()
    execution = await begin(
        room, over(list(range(50_000, 50_005)), "probe.echo@1", {"bytes": "{{ item }}"})
    )

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert error["type"] == "output_too_large"
    assert room.metrics.blobs_read._value.get() - before <= 1


@pytest.mark.interpreted
async def test_what_the_database_refused_of_an_item_does_not_begin_again_beside_a_doubt(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """The doubt of another item is told before anything goes on; what was refused fails then, and only that."""
    monkeypatch.setattr("runtime.worker.encode.holds_nul", lambda *_: False)
    room.worker()
    asks = {
        **over([5], "probe.once@1", {"marker": "m", "value": 1}),
        "task": {
            "uses": "probe.once@1",
            "with": {"marker": "m", "value": 1},
            "in_doubt": "ask",
            "timeout": "50ms",
        },
    }
    gate = {"id": "g", "uses": "probe.gate@1", "with": {"marker": "g"}}
    refused = over([3], "probe.echo@1", {"zeros": "{{ item }}"}, failure_policy="collect")
    execution = await begin(room, asks, gate, {**refused, "id": "refused", "depends_on": ["g"]})
    await room.until(execution, lambda: _says(room, execution, "step_in_doubt"))
    CALLS.gates["g"].set()
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    await room.decide(execution, "made", item=0, output=55)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert len(CALLS.keys["refused"]) == 1
