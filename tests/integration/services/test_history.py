"""The past of real executions: what their events tell is what the live view shows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runtime.engine.history import fold
from runtime.model.execution import ExecutionStatus, WaitKind
from tests import make
from tests.integration.services.conftest import NOOP
from tests.integration.services.test_execution import FAIL

LIVES = {
    "completed": [NOOP, {"id": "two", "uses": "core.noop@1", "depends_on": ["one"]}],
    "skipped": [
        NOOP,
        {
            "id": "two",
            "uses": "core.noop@1",
            "depends_on": ["one"],
            "when": "steps.one.status == 'skipped'",
        },
    ],
    "failed": [NOOP, {**FAIL, "depends_on": ["one"]}],
    "repeated": [
        {
            **FAIL,
            "with": {"message": "no", "kind": "transient"},
            "retry": {"max_attempts": 3, "backoff": "fixed", "initial": "1ms"},
        }
    ],
    "stopped": [FAIL, {"id": "long", "uses": "core.sleep@1", "with": {"duration": "1m"}}],
    "waited": [{"id": "wait", "type": "wait", "for": "10ms"}],
}


@pytest.mark.parametrize("life", LIVES)
async def test_at_the_end_the_events_say_what_the_live_view_shows(room, life):
    await room.publish(steps=LIVES[life])
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.finished(execution.id)
    if life == "failed":
        await room.executions.retry(room.who, execution.id)
        await room.engine.finished(execution.id)

    live = await room.executions.find(room.who, execution.id)
    events = await room.executions.events(room.who, execution.id, limit=500)
    steps = (await room.executions.steps(room.who, [execution.id]))[execution.id]
    at = fold(events)

    assert (at.status, at.generation) == (live.status, live.generation)
    assert [at.steps[step.index, -1].status for step in steps] == [step.status for step in steps]
    assert [at.steps[step.index, -1].ended for step in steps] == [step.attempt for step in steps]
    for step in steps:
        error = at.steps[step.index, -1].error
        message = error["message"] if isinstance(error, dict) else None
        assert message == (step.error and step.error.message)


async def test_one_that_may_not_start_yet_is_told_by_its_first_event(room):
    await room.publish()
    execution = await room.enqueue(run_at=make.now() + timedelta(hours=1))

    at = fold(await room.executions.events(room.who, execution.id))

    assert (at.status, at.wait) == (ExecutionStatus.WAITING, WaitKind.TIMER)
