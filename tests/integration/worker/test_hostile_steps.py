"""Connectors that break the rules harm their own step only; a drain takes back calls that were not made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.engine.advance import advance
from runtime.engine.command import Command
from runtime.engine.event import Event
from runtime.engine.state import ExecutionState
from runtime.model.errors import StepFailed
from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS


async def started(room: EngineRoom, steps: list[dict[str, Any]]) -> UUID:
    """An execution of these steps, not waited for."""
    return await room.enqueue(await room.publish(steps))


@pytest.mark.parametrize("name", ["probe.picky", "probe.unsure"])
async def test_a_connector_that_breaks_before_the_call_fails_its_step(
    room: EngineRoom, name: str
) -> None:
    room.worker()
    bad = await started(room, [{"id": "a", "uses": f"{name}@1", "with": {"value": 1}}])
    good = await started(room, [{"id": "a", "uses": "core.noop@1"}])
    assert await room.finished(good) is ExecutionStatus.COMPLETED
    assert await room.finished(bad) is ExecutionStatus.FAILED


ODD: Any = [
    StepFailed("it says its kind as a word", kind="transient"),  # type: ignore[arg-type] # as a step may
    StepFailed("of no kind", kind="odd"),  # type: ignore[arg-type]
    StepFailed(5, type=None, uncertain="maybe"),  # type: ignore[arg-type]
    StepFailed("later", retry_after=timedelta(days=1)),  # type: ignore[arg-type]
    StepFailed("soon", retry_after="soon"),  # type: ignore[arg-type]
    StepFailed("never", retry_after=float("inf")),
]


async def test_a_failure_whose_parts_are_of_other_types_ends_its_step_and_nothing_hangs(
    room: EngineRoom,
) -> None:
    room.worker()
    executions = []
    for number, failure in enumerate(ODD):
        CALLS.found[f"m{number}"] = failure
        given = {"marker": f"m{number}", "target": f"t{number}"}
        step = {"id": "a", "uses": "probe.targeted@1", "with": given, "retry": {"max_attempts": 1}}
        executions.append(await started(room, [step]))
    ends = [await room.finished(execution) for execution in executions]
    assert ends == [ExecutionStatus.FAILED] * len(ODD)
    errors = [(await room.results(execution))[0]["error"] for execution in executions]
    assert "engine.defect" not in [error["type"] for error in errors]
    kinds = ["transient", *["permanent"] * 5]
    assert [error["kind"] for error in errors] == kinds
    assert [error.get("retry_after") for error in errors] == [
        None,
        None,
        None,
        86_400.0,
        None,
        1e12,
    ]


async def test_what_answers_at_once_and_may_happen_once_is_announced_before_it_is_called(
    room: EngineRoom,
) -> None:
    """Else a worker that is lost between the answer and its commit would make it twice, in silence."""
    room.worker()
    execution = await room.run([{"id": "a", "uses": "probe.instant@1", "with": {"n": 1}}])
    events = await room.events(execution)
    assert events.index("step_call_announced") < events.index("step_completed")
    assert [one["output"] for one in await room.results(execution)] == [{"n": 1}]


async def test_a_step_that_changes_its_input_changes_nothing_else(room: EngineRoom) -> None:
    room.worker()
    version = await room.publish(
        [
            {"id": "a", "uses": "probe.echo@1", "with": {"data": []}},
            {
                "id": "b",
                "uses": "probe.mutate@1",
                "with": {"items": "{{ steps.a.output.data }}"},
                "depends_on": ["a"],
            },
            {
                "id": "c",
                "uses": "probe.echo@1",
                "with": {"data": "{{ steps.a.output.data }}"},
                "depends_on": ["b"],
            },
            {"id": "d", "uses": "probe.mutate@1", "with": {"items": []}, "depends_on": ["c"]},
        ]
    )
    for _ in range(2):
        execution = await room.enqueue(version)
        assert await room.finished(execution) is ExecutionStatus.COMPLETED
        outputs = [result["output"] for result in await room.results(execution)]
        assert outputs == [{"data": []}, 1, {"data": []}, 1]


async def test_a_drain_leaves_no_doubt_about_calls_that_were_not_made(room: EngineRoom) -> None:
    worker = room.worker(max_steps=1)
    step = {"id": "a", "uses": "probe.once@1", "with": {"marker": "g"}}
    executions = [await started(room, [step]) for _ in range(5)]
    await CALLS.begun["g"].wait()
    CALLS.gates["g"].set()
    await worker.stop(5)
    room.worker()
    for execution in executions:
        assert await room.finished(execution) is ExecutionStatus.COMPLETED
        # What was taken back never happened: it is not one of the attempts.
        assert await room.steps(execution) == [(0, 0, 1, StepStatus.COMPLETED)]
    assert len(CALLS.keys["g"]) == 5


async def test_only_as_many_intents_are_open_as_calls_may_be_made(room: EngineRoom) -> None:
    room.worker(max_steps=1)
    step = {"id": "a", "uses": "probe.once@1", "with": {"marker": "g"}}
    executions = [await started(room, [step]) for _ in range(5)]
    await CALLS.begun["g"].wait()
    for execution in executions:
        await room.reached(execution, lambda row: row["status"] == ExecutionStatus.RUNNING)
    rows = [row for execution in executions for row in await room.steps(execution)]
    assert [row[-1] for row in rows] == [StepStatus.RUNNING]


async def test_an_execution_retried_after_a_cancel_can_be_parked(room: EngineRoom) -> None:
    room.worker()
    execution = await started(
        room,
        [
            {
                "id": "a",
                "uses": "probe.flaky@1",
                "with": {"marker": "m", "failures": 9},
                "retry": {"max_attempts": 5, "initial": "60s", "max": "60s"},
            }
        ],
    )
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    await room.cancel(execution)
    await room.finished(execution)
    await room.retry(execution)
    await room.reached(
        execution,
        lambda row: row["status"] == ExecutionStatus.WAITING and row["generation"] == 1,
    )


@pytest.mark.parametrize(
    "place", ["runtime.worker.executor.advance", "runtime.worker.admission.advance"]
)
@pytest.mark.interpreted
async def test_a_defect_of_the_core_fails_its_execution_and_no_other(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(state: ExecutionState, event: Event) -> list[Command]:
        if any(step.plan.key == "poisoned" for step in state.program.steps):
            raise RuntimeError("a defect")
        return advance(state, event)

    monkeypatch.setattr(place, broken)
    room.worker()
    steps = [
        [{"id": key, "uses": "core.noop@1"}] for key in ("poisoned", "sound", "poisoned", "sound")
    ]
    executions = [await started(room, step) for step in steps]
    ends = [await room.finished(execution) for execution in executions]
    assert ends == [ExecutionStatus.FAILED, ExecutionStatus.COMPLETED] * 2
