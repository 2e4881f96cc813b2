"""Calls that may happen once and are in doubt: looked up, decided by rule, or by a person. Never silently made twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.abi.connector import NotMade, Unknown
from runtime.connectors.registry import Registry
from runtime.connectors.threads import SERVICE as THREADS
from runtime.connectors.threads import StepThreads
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.settings import WorkerSettings
from runtime.worker import doubt, signals
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

PACKAGES = ("tests.support.steps",)


@pytest.fixture(autouse=True)
def overlap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """How long the lost worker may still be at it; here it is known to be gone."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr(WorkerSettings, "overlap_seconds", seconds)

    set_to(0.0)
    return set_to


def step(rule: str | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": "a",
        "uses": "probe.findable@1",
        "with": {"marker": "a", "value": 5},
    }
    return found | ({"in_doubt": rule} if rule else {}) | more


async def lost(room: EngineRoom, given: dict[str, Any], **more: Any) -> Any:
    """An execution whose worker was lost in the middle of the call, and another worker."""
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    after = {
        "id": "b",
        "uses": "probe.echo@1",
        "with": {"n": "{{ steps.a.output }}"},
        "depends_on": ["a"],
    }
    execution = await room.enqueue(await room.publish([given, after]), **more)
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    CALLS.begun["a"].clear()
    room.worker()
    await room.expire("test:1")
    return execution


async def parked(room: EngineRoom, execution: Any) -> Any:
    """Wait until it waits for a person; its row."""
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    return await room.row(execution)


async def data_of(room: EngineRoom, execution: Any, kind: int) -> dict[str, Any]:
    text = await room.sql.fetchval(
        "select data from execution_events where execution_id = $1 and kind = $2", execution, kind
    )
    return dict(json.loads(text))


async def test_a_call_that_is_found_counts_and_its_output_goes_on(room: EngineRoom):
    CALLS.found["a"] = 7
    execution = await lost(room, step())

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1]
    assert [one["output"] for one in await room.results(execution)] == [7, {"n": 7}]
    assert (await room.results(execution))[0]["out"].startswith("sha256:")
    assert (await data_of(room, execution, 29))["by"] == "look_up"


async def test_nobody_asks_while_the_lost_worker_may_still_make_the_call(
    room: EngineRoom, overlap: Callable[[float], None]
):
    """It believes in its lease; what is found before its end may not be the last word. A person may know better."""
    overlap(3_600.0)
    CALLS.found["a"] = NotMade()
    execution = await lost(room, step("retry"))
    second = room.workers[1][0]
    await second.signals.wait(signals.TAKEN_OVER)
    await second.signals.wait(signals.BEAT, second.signals.counts[signals.BEAT] + 2)

    assert (CALLS.asked["a"], CALLS.attempts["a"]) == (0, [1])
    await room.decide(execution, "made", output=3)
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (CALLS.asked["a"], CALLS.attempts["a"]) == (0, [1])


@pytest.mark.parametrize("rule", ["fail", "ask"])
async def test_a_call_that_was_not_made_is_made(room: EngineRoom, rule: str):
    CALLS.found["a"] = NotMade()
    execution = await lost(room, step(rule))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1, 2]
    assert len(set(CALLS.keys["a"])) == 1


@pytest.mark.parametrize(
    "failure",
    [StepFailed("busy", kind=StepErrorKind.TRANSIENT), asyncio.CancelledError()],
    ids=["fails", "awaits what was cancelled"],
)
async def test_a_look_up_that_fails_is_repeated_and_then_nobody_knows(
    room: EngineRoom, failure: BaseException
):
    CALLS.found["a"] = failure
    execution = await lost(room, step())

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert (CALLS.asked["a"], CALLS.attempts["a"]) == (3, [1])
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]


async def test_by_the_rule_retry_it_is_called_again(room: EngineRoom):
    execution = await lost(room, step("retry", uses="probe.once@1"))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1, 2]


async def test_by_the_rule_ask_it_waits_for_a_person_and_costs_nothing(room: EngineRoom):
    execution = await lost(room, step("ask"))

    row = await parked(room, execution)

    assert (row["wait"], row["wake_at"], row["owner"]) == (WaitKind.IN_DOUBT, None, None)
    assert room.workers[1][0].executions == 0
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]
    assert (await data_of(room, execution, 27))["error"]["type"] == "in_doubt"
    await room.decide(execution, "made", output={"seen": True})
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert [one["output"] for one in await room.results(execution)] == [
        {"seen": True},
        {"n": {"seen": True}},
    ]
    said = await data_of(room, execution, 29)
    assert (said["by"], said["actor"]["subject"], said["reason"]) == ("person", "ann", "seen")
    assert CALLS.attempts["a"] == [1]


async def test_a_person_says_that_it_was_not_made(room: EngineRoom):
    execution = await lost(room, step("ask"))
    await parked(room, execution)

    await room.decide(execution, "not_made")
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1, 2]


async def test_a_person_gives_it_up(room: EngineRoom):
    execution = await lost(room, step("ask"))
    await parked(room, execution)

    await room.decide(execution, "fail")

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]


@pytest.mark.parametrize("stale", [{"attempt": 2}, {"generation": 1}, {"step": 9}, {"step": 1}])
async def test_a_word_about_something_else_changes_nothing(room: EngineRoom, stale: dict[str, int]):
    execution = await lost(room, step("ask"))
    await parked(room, execution)

    await room.decide(execution, "made", output=1, **stale)
    await room.workers[1][0].signals.wait(signals.PARKED, 2)

    assert (await parked(room, execution))["wait"] == WaitKind.IN_DOUBT
    assert (await room.events(execution)).count("step_in_doubt") == 1


async def test_what_waits_for_a_person_can_be_cancelled(room: EngineRoom):
    execution = await lost(room, step("ask"))
    await parked(room, execution)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]


async def test_what_waits_for_a_person_keeps_to_the_deadline(room: EngineRoom):
    execution = await lost(room, step("ask"), timeout_seconds=1.5)

    assert await room.finished(execution) is ExecutionStatus.TIMED_OUT


@pytest.mark.parametrize(
    ("found", "status", "calls"),
    [(7, StepStatus.COMPLETED, [1]), (NotMade(), StepStatus.TIMED_OUT, [1, 2])],
)
async def test_an_attempt_that_ran_out_of_time_is_looked_up(
    room: EngineRoom, found: Any, status: StepStatus, calls: list[int]
):
    room.worker()
    CALLS.found["a"] = found
    quick = {"max_attempts": 2, "backoff": "fixed", "initial": "10ms"}

    execution = await room.run([step(timeout="100ms", retry=quick)])

    assert CALLS.attempts["a"] == calls
    assert [row[3] for row in await room.steps(execution)] == [status] * len(calls)


async def test_an_attempt_that_was_cut_by_a_cancellation_is_looked_up(room: EngineRoom):
    room.worker()
    CALLS.found["a"] = 7
    execution = await room.enqueue(await room.publish([step("ask")]))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.COMPLETED)]


async def test_a_worker_that_drains_leaves_the_question_to_the_next(room: EngineRoom):
    execution = await lost(room, step("ask"))
    await parked(room, execution)
    await room.workers[1][0].stop(0.0)
    room.worker()

    await room.decide(execution, "made", output=1)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_what_still_runs_in_its_thread_is_not_called_again_because_nothing_is_seen_of_it_yet(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """A thread can't be stopped: the call that ran out of time may be made yet."""
    monkeypatch.setattr(doubt, "RETURN_SECONDS", 0.05)
    room.registry = Registry.load(PACKAGES, services={THREADS: StepThreads()})
    room.worker()
    CALLS.found["a"] = NotMade()
    given = {
        "id": "a",
        "uses": "probe.stubborn@1",
        "with": {"marker": "a"},
        "retry": {"max_attempts": 3, "initial": "10ms"},
    }

    execution = await room.run([given])
    CALLS.released.set()

    assert (await room.row(execution))["status"] == ExecutionStatus.FAILED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]
    assert (CALLS.attempts["a"], CALLS.asked["a"]) == ([1], 1)


async def test_when_it_has_returned_the_look_up_is_believed(room: EngineRoom):
    room.registry = Registry.load(PACKAGES, services={THREADS: StepThreads()})
    room.worker()
    CALLS.found["a"] = NotMade()
    given = {"id": "a", "uses": "probe.stubborn@1", "with": {"marker": "a"}}
    execution = await room.enqueue(await room.publish([given]))
    await room.until(execution, lambda: in_doubt(room, execution))
    CALLS.released.set()

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.TIMED_OUT)]


async def in_doubt(room: EngineRoom, execution: Any) -> bool:
    return "step_in_doubt" in await room.events(execution)


async def test_a_call_that_waited_for_a_thread_until_its_time_was_over_is_in_no_doubt(
    room: EngineRoom,
):
    """Its intent is written, and nothing was called: that is known here, and nobody need be asked."""
    room.registry = Registry.load(PACKAGES, services={THREADS: StepThreads(1)})
    room.worker()
    CALLS.found["first"] = CALLS.found["second"] = Unknown()
    first, second = (
        {"id": name, "uses": "probe.stubborn@1", "with": {"marker": name}, "timeout": seconds}
        for name, seconds in (("first", "20s"), ("second", "100ms"))
    )
    busy = await room.enqueue(await room.publish([first]))
    await asyncio.wait_for(CALLS.begun["first"].wait(), 10)

    execution = await room.run([second])
    CALLS.released.set()

    assert await room.steps(execution) == [(0, 0, 1, StepStatus.TIMED_OUT)]
    assert (CALLS.attempts["second"], CALLS.asked["second"]) == ([], 0)
    assert await room.finished(busy) is ExecutionStatus.COMPLETED
