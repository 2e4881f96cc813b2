"""Calls that may happen once, when the database refuses a checkpoint: what their worker knows of them is in no doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from runtime.model.checkpoint import FlushOutcome, FlushResult, InboxKind, StepRow
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.settings import WorkerSettings
from runtime.store.flush import Flusher
from runtime.worker.attempt import Attempt
from runtime.worker.incarnation import Incarnation
from runtime.worker.intents import Intents
from runtime.worker.lease import Lease
from runtime.worker.run import Run
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

# They replace methods of classes that may be compiled.
pytestmark = pytest.mark.interpreted


def step(name: str = "a", uses: str = "probe.once@1", **more: Any) -> dict[str, Any]:
    return {"id": name, "uses": uses, "with": {"marker": name}, **more}


def has_completed(row: StepRow) -> bool:
    return (row.step, row.status) == (0, StepStatus.COMPLETED)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The database takes no such row, so many times."""
    call = Flusher._call

    def refuse(is_refused: Callable[[StepRow], bool], times: float = float("inf")) -> None:
        left = [times]

        async def refusing(flusher: Flusher, part: list[Any]) -> FlushResult:
            if left[0] > 0 and any(is_refused(row) for one in part for row in one.checkpoint.steps):
                # A batch is halved until the one that is refused is found.
                left[0] -= len(part) == 1
                return FlushResult(FlushOutcome.REJECTED, "no")
            return await call(flusher, part)

        monkeypatch.setattr(Flusher, "_call", refusing)

    return refuse


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the first announced call on the lease lets none begin, until this is called."""
    found = {"announced": False, "let go": False}
    announce = Intents.announce

    def announcing(intents: Intents, run: Run, attempt: Attempt) -> None:
        found["announced"] = True
        announce(intents, run, attempt)

    monkeypatch.setattr(Intents, "announce", announcing)
    may_call = property(lambda _: found["let go"] or not found["announced"])
    monkeypatch.setattr(Lease, "allows_calls", may_call)
    return lambda: found.update({"let go": True})


async def was(room: EngineRoom, execution: Any, event: str) -> bool:
    return event in await room.events(execution)


async def test_a_call_whose_outcome_is_refused_has_failed_and_is_not_made_again(
    room: EngineRoom, refuse: Callable[..., None]
):
    """This worker knows that it was made, whatever the rule says of calls of which nobody knows."""
    refuse(has_completed)
    room.worker()
    CALLS.gates["a"].set()

    execution = await room.run([step(in_doubt="retry")])

    assert CALLS.attempts["a"] == [1]
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.FAILED)]
    (row,) = await room.results(execution)
    assert row["error"]["type"] == "checkpoint_rejected"
    assert row["in"].startswith("sha256:")
    assert not await was(room, execution, "step_in_doubt")


async def test_a_call_that_was_announced_when_something_else_is_refused_is_made_later(
    room: EngineRoom, refuse: Callable[..., None], let_go: Callable[[], None]
):
    """It waits for the lease; that it was not made is known here."""
    refuse(has_completed)
    room.worker()
    CALLS.gates["b"].set()
    first = step(uses="probe.gate@1", on_error="continue")
    before = step("before", uses="probe.gate@1")
    given = [first, step("b", in_doubt="retry", depends_on=["before"]), before]
    execution = await room.enqueue(await room.publish(given))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    CALLS.gates["before"].set()
    await room.until(execution, partial(was, room, execution, "step_call_announced"))
    CALLS.gates["a"].set()

    await room.until(execution, partial(was, room, execution, "step_retrying"))
    let_go()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (CALLS.attempts["a"], CALLS.attempts["b"]) == ([1], [2])
    assert sorted(await room.steps(execution)) == [
        (0, 0, 1, StepStatus.FAILED),
        (1, 0, 1, StepStatus.CANCELLED),
        (1, 0, 2, StepStatus.COMPLETED),
        (2, 0, 1, StepStatus.COMPLETED),
    ]
    assert not await was(room, execution, "step_in_doubt")


async def test_what_a_draining_worker_takes_back_is_in_no_doubt_when_that_is_refused(
    room: EngineRoom, refuse: Callable[..., None], let_go: Callable[[], None]
):
    refuse(lambda row: row.is_open and row.status == StepStatus.CANCELLED)
    worker = room.worker()
    execution = await room.enqueue(await room.publish([step(in_doubt="fail")]))
    await room.until(execution, partial(was, room, execution, "step_call_announced"))

    await worker.stop(5.0)
    let_go()
    CALLS.gates["a"].set()
    room.worker()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [2]
    assert not await was(room, execution, "step_in_doubt")


async def test_what_a_person_said_of_a_call_of_another_worker_holds_after_a_refusal(
    room: EngineRoom, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    """It was settled here, and is none of this worker's calls."""
    monkeypatch.setattr(WorkerSettings, "overlap_seconds", 0.0)
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await room.enqueue(await room.publish([step(in_doubt="ask")]))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    said = {"step": 0, "attempt": 1, "generation": 0, "decision": "made", "output": 3}
    await room.tell(execution, InboxKind.RESOLVE_DOUBT, ring=False, reason="seen", **said)
    refuse(has_completed, times=1)

    room.worker()
    await room.expire("test:1")

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert [row["output"] for row in await room.results(execution)] == [3]
    assert CALLS.attempts["a"] == [1]


async def test_a_call_that_was_under_way_when_something_else_is_refused_is_in_doubt(
    room: EngineRoom, refuse: Callable[..., None]
):
    """It is cut off, and answers nothing."""
    refuse(has_completed)
    room.worker()
    first = step(uses="probe.gate@1", on_error="continue")
    execution = await room.enqueue(await room.publish([first, step("b", in_doubt="fail")]))
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await was(room, execution, "step_in_doubt")
    assert CALLS.attempts["b"] == [1]


async def test_what_is_durable_of_an_announced_call_is_not_kept(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """A map of a hundred thousand such calls would keep all their inputs."""
    kept: list[int] = []
    close = Incarnation._closed

    def closing(self: Incarnation, run: Run, closing: Any) -> None:
        kept.append(len(run.announced))
        close(self, run, closing)

    monkeypatch.setattr(Incarnation, "_closed", closing)
    room.worker()
    CALLS.gates["a"].set()
    task = {"uses": "probe.once@1", "with": {"marker": "a"}}
    every = {"id": "m", "type": "map", "for_each": "{{ params.list }}", "task": task}

    execution = await room.run([every], {"list": [1, 2, 3]})

    assert (await room.row(execution))["status"] == ExecutionStatus.COMPLETED
    assert kept == [0]
