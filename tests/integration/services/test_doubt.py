"""A person's word about a call in doubt: who may say it, about what, and what is kept of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from runtime.model.errors import BadInput, Denied, Invalid, InvalidState, MaestroError, NotFound
from runtime.model.event import EventKind
from runtime.model.execution import (
    DoubtDecision,
    ExecutionState,
    ExecutionStatus,
    Resolution,
    StepStatus,
    WaitKind,
)
from runtime.settings import WorkerSettings
from tests.integration.services.conftest import ServiceRoom
from tests.support.steps import CALLS

MADE, NOT_MADE, FAIL = DoubtDecision
ASK = {
    "id": "pay",
    "uses": "probe.typed@1",
    "with": {"marker": "pay"},
    "timeout": "50ms",
    "in_doubt": "ask",
}


async def asking(room: ServiceRoom, **more: Any) -> Any:
    """An execution that waits for a person."""
    CALLS.clear()
    await room.publish(steps=[{**ASK, **more}])
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.reached(execution.id, lambda row: row["status"] == ExecutionStatus.WAITING)
    return execution.id


async def test_it_is_shown_as_what_it_waits_for(room: ServiceRoom):
    execution = await asking(room)

    found = await room.executions.find(room.who, execution)
    step = await room.executions.step(room.who, execution, "pay")

    assert found is not None
    assert step is not None
    assert (found.state, found.wait) == (ExecutionState.WAITING, WaitKind.IN_DOUBT)
    assert (step.status, step.finished_at) == (StepStatus.IN_DOUBT, None)
    assert step.error is not None
    assert step.error.type == "step.timeout"


async def test_a_call_that_was_made_completes_the_step_and_is_audited(room: ServiceRoom):
    execution = await asking(room)

    said = Resolution("pay", MADE, {"number": 7}, "on their statement", "k1")
    await room.doubts.resolve(room.who, execution, said)

    assert await room.engine.finished(execution) is ExecutionStatus.COMPLETED
    step = await room.executions.step(room.who, execution, "pay")
    assert step is not None
    assert step.output == {"number": 7}
    [event] = await room.executions.events(
        room.who, execution, kinds=[EventKind.STEP_DOUBT_SETTLED]
    )
    assert event.field("reason") == "on their statement"
    assert event.field("actor") == {"subject": room.who.actor.subject, "kind": "user"}
    again = await room.doubts.resolve(room.who, execution, said)
    assert again.status is ExecutionStatus.COMPLETED
    assert CALLS.attempts["pay"] == [1]


async def test_an_output_that_the_connector_could_not_have_given_is_refused(room: ServiceRoom):
    execution = await asking(room)

    with pytest.raises(Invalid, match="number") as refused:
        await room.doubts.resolve(room.who, execution, Resolution("pay", MADE, {"number": "seven"}))

    assert refused.value.reason == "OUTPUT_INVALID"
    found = await room.executions.find(room.who, execution)
    assert found is not None
    assert found.status is ExecutionStatus.WAITING


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        (Resolution("nobody", FAIL), NotFound, "STEP_NOT_FOUND"),
        (Resolution("pay", FAIL, {"number": 1}), MaestroError, "OUTPUT"),
    ],
)
async def test_a_word_about_nothing_is_refused(
    room: ServiceRoom, said: Any, error: Any, reason: str
):
    execution = await asking(room)

    with pytest.raises(error) as refused:
        await room.doubts.resolve(room.who, execution, said)

    assert refused.value.reason == reason


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("output", [10**40, nested(300), nested(5_000), {"a": "\0"}])
async def test_an_output_that_no_row_can_hold_is_refused(room: ServiceRoom, output: Any):
    await room.publish()
    execution = (await room.enqueue()).id

    with pytest.raises(BadInput) as refused:
        await room.doubts.resolve(room.who, execution, Resolution("one", MADE, output))

    assert (refused.value.reason, refused.value.path) == ("NOT_STORABLE", ("output",))


async def test_only_what_is_in_doubt_can_be_resolved(room: ServiceRoom):
    await room.publish()
    room.engine.worker()
    execution = (await room.enqueue()).id
    await room.engine.finished(execution)

    with pytest.raises(InvalidState) as refused:
        await room.doubts.resolve(room.who, execution, Resolution("one", MADE))

    assert refused.value.reason == "NOT_IN_DOUBT"


async def test_what_has_ended_in_doubt_is_retried_instead(room: ServiceRoom):
    execution = await asking(room)
    await room.doubts.resolve(room.who, execution, Resolution("pay", FAIL))
    assert await room.engine.finished(execution) is ExecutionStatus.FAILED

    with pytest.raises(InvalidState, match="retry the execution"):
        await room.doubts.resolve(room.who, execution, Resolution("pay", MADE))


async def test_readers_and_strangers_may_not_say_anything(room: ServiceRoom):
    execution = await asking(room)

    with pytest.raises(Denied):
        await room.doubts.resolve(
            replace(room.who, scopes=frozenset()), execution, Resolution("pay", FAIL)
        )
    stranger = replace(room.who, tenant_id=execution)
    with pytest.raises(NotFound):
        await room.doubts.resolve(stranger, execution, Resolution("pay", FAIL))


async def test_a_person_settles_the_doubt_about_what_undoes_a_step(
    room: ServiceRoom, monkeypatch: pytest.MonkeyPatch
):
    """While its look-up waits until the lost worker has surely given the call up."""
    CALLS.clear()
    undo = {"uses": "probe.findable@1", "with": {"marker": "undo"}}
    steps: list[Any] = [
        {"id": "a", "uses": "core.noop@1", "compensate": undo},
        {"id": "b", "uses": "core.fail@1", "depends_on": ["a"]},
    ]
    room.engine.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await room.engine.enqueue(await room.engine.publish(steps))
    await asyncio.wait_for(CALLS.begun["undo"].wait(), 10)
    monkeypatch.setattr(WorkerSettings, "overlap_seconds", 600.0)
    room.engine.worker()
    await room.engine.expire("test:1")

    async def is_doubtful() -> bool:
        step = await room.executions.step(room.who, execution, "a:compensate")
        return step is not None and step.status is StepStatus.IN_DOUBT

    await room.engine.until(execution, is_doubtful)
    said = Resolution("a:compensate", MADE, {"refund": 7}, "seen there")
    await room.doubts.resolve(room.who, execution, said)

    assert await room.engine.finished(execution) is ExecutionStatus.FAILED
    undone = await room.executions.step(room.who, execution, "a")
    assert undone is not None
    assert undone.status is StepStatus.COMPENSATED
    assert undone.compensation is not None
    assert undone.compensation.output == {"refund": 7}
    assert CALLS.attempts["undo"] == [1]
