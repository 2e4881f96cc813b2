"""Rewinds on real rows: what runs again and what does not, once for a key, refused elsewhere, children started anew."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import Denied, IdempotencyConflict, InvalidState, NotFound
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.identity import Principal
from runtime.services.generation_preview import GenerationPreviewService
from runtime.services.past import PastExecution
from tests.integration.services.conftest import ServiceRoom
from tests.integration.services.test_generation_preview import begin, previews, runs
from tests.support.counters import miscounted
from tests.support.engine_room import TENANT
from tests.support.steps import CALLS

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
NOBODY = UUID("01930000-0000-7000-8000-00000000ffff")


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def call(marker: str, *needs: str, **more: Any) -> dict[str, Any]:
    given = {"marker": marker, **more}
    return {"id": marker, "uses": "probe.flaky@1", "with": given, "depends_on": [*needs]}


ORDER = [
    call("reserve"),
    call("charge", "reserve"),
    call("mail", "charge"),
    call("note", "reserve"),
]


async def ended(room: ServiceRoom, one: UUID) -> ExecutionStatus:
    room.engine.queue.add(0, [(one, 1)])
    return await room.engine.finished(one)


async def completed(room: ServiceRoom, *steps: Any) -> UUID:
    room.engine.worker()
    one = await begin(room, *(steps or ORDER))
    assert await room.engine.finished(one) is COMPLETED
    return one


async def past(room: ServiceRoom, one: UUID, at: int) -> PastExecution:
    found = (await room.executions.past(room.who, [(one, at)]))[one, at]
    assert isinstance(found, PastExecution)
    return found


def made() -> dict[str, int]:
    return {marker: len(keys) for marker, keys in CALLS.keys.items()}


async def test_a_step_and_what_rests_on_it_run_again_in_the_same_execution(room: ServiceRoom):
    one = await completed(room)
    foreseen = await previews(room).rewind(room.who, one, "charge")
    assert made() == {"reserve": 1, "charge": 1, "mail": 1, "note": 1}

    again = await room.executions.rewind(room.who, one, "charge", reason="twice charged")
    assert again.generation == 1
    assert await ended(room, one) is COMPLETED

    assert runs(foreseen) == ["charge", "mail"]
    assert [step.repeats is not None for step in foreseen.steps] == [False, True, True, False]
    assert made() == {"reserve": 1, "charge": 2, "mail": 2, "note": 1}
    assert len(set(CALLS.keys["charge"])) == 2, "a call of its own for the receiver"
    shown = (await room.executions.steps(room.who, [one]))[one]
    assert [step.generation for step in shown] == [0, 1, 1, 0]
    assert {step.status for step in shown} == {StepStatus.COMPLETED}
    assert await miscounted(room.engine.sql) == []


async def test_the_event_says_who_why_and_which_steps(room: ServiceRoom):
    one = await completed(room)

    await room.executions.rewind(room.who, one, "charge", reason="twice charged")
    events = await room.executions.events(room.who, one)

    [told] = [event for event in events if event.kind is EventKind.EXECUTION_REWOUND]
    assert told.data == {
        "actor": {"kind": "user", "subject": room.who.subject},
        "reason": "twice charged", "step": 1, "key": "charge", "again": [2],
    }  # fmt: skip


async def test_a_key_rewinds_once_and_belongs_to_its_request(room: ServiceRoom):
    one = await completed(room)

    first = await room.executions.rewind(room.who, one, "mail", key="k")
    await ended(room, one)
    second = await room.executions.rewind(room.who, one, "mail", key="k")
    with pytest.raises(IdempotencyConflict):
        await room.executions.rewind(room.who, one, "charge", key="k")

    assert (first.generation, second.generation, second.status) == (1, 1, COMPLETED)
    assert made()["mail"] == 2


async def test_what_failed_elsewhere_runs_again_too_and_what_was_undone(room: ServiceRoom):
    hold = {**call("hold"), "compensate": {"uses": "probe.flaky@1", "with": {"marker": "free"}}}
    broken = call(
        "break", "hold", failures="{{ 9 if execution.generation == 0 else 0 }}", kind="permanent"
    )
    room.engine.worker()
    one = await begin(room, hold, broken, call("other"))
    assert await room.engine.finished(one) is FAILED

    foreseen = await previews(room).rewind(room.who, one, "other")
    await room.executions.rewind(room.who, one, "other")
    assert await ended(room, one) is COMPLETED

    assert runs(foreseen) == ["hold", "break", "other"]
    assert made() == {"hold": 2, "break": 2, "free": 1, "other": 2}
    row = await room.engine.row(one)
    assert (row["status"], row["compensating"], row["generation"]) == (COMPLETED, False, 1)


async def test_a_child_is_started_anew_and_one_that_goes_on_is_in_the_way(room: ServiceRoom):
    await room.publish("below", steps=[call("inner")])
    calls = {"id": "call", "type": "workflow", "workflow": "below@1", "input": {}}
    one = await completed(room, calls, call("after", "call"))
    foreseen = await previews(room).rewind(room.who, one, "call")

    await room.executions.rewind(room.who, one, "call")
    assert await ended(room, one) is COMPLETED

    children = "select id, status from workflow_executions where meta ->> 'parent' = $1 order by id"
    rows = await room.engine.sql.fetch(children, str(one))
    assert [row["status"] for row in rows] == [COMPLETED, COMPLETED]
    assert foreseen.steps[0].repeats is not None
    assert foreseen.steps[0].repeats.child_id == rows[0]["id"]
    assert made() == {"inner": 2, "after": 2}

    await room.engine.sql.execute(
        "update workflow_executions set status = 3, wait = 5 where id = $1", rows[1]["id"]
    )
    for refused in (room.executions.rewind, previews(room).rewind):
        with pytest.raises(InvalidState, match="is rewound only when its child") as caught:
            await refused(room.who, one, "call")
        assert caught.value.reason == "CHILD_NOT_ENDED"


async def test_the_past_before_a_rewind_stays_as_it_was_shown(room: ServiceRoom):
    one = await completed(room)
    last = len(await room.executions.events(room.who, one))
    before = await past(room, one, last)

    await room.executions.rewind(room.who, one, "charge")
    await ended(room, one)
    after = await past(room, one, last)
    begun = await past(room, one, last + 1)

    assert [(s.status, s.generation) for s in before.steps] == [
        (s.status, s.generation) for s in after.steps
    ]
    assert after.execution.status is COMPLETED
    assert begun.execution.status is ExecutionStatus.QUEUED
    assert [s.status for s in begun.steps] == [
        StepStatus.COMPLETED, StepStatus.READY, StepStatus.PENDING, StepStatus.COMPLETED,
    ]  # fmt: skip


async def test_what_goes_on_is_not_rewound_and_neither_is_a_step_that_is_none(room: ServiceRoom):
    queued = await begin(room, *ORDER)
    service: GenerationPreviewService = previews(room)

    for refused in (room.executions.rewind, service.rewind):
        with pytest.raises(InvalidState, match="is queued") as caught:
            await refused(room.who, queued, "charge")
        assert caught.value.reason == "NOT_REWINDABLE"
        with pytest.raises(NotFound, match="no step 'nothing'") as absent:
            await refused(room.who, queued, "nothing")
        assert absent.value.path == ("stepKey",)


async def test_only_who_may_rewinds_and_nothing_of_another_tenant(room: ServiceRoom):
    one = await completed(room)
    reader = Principal(TENANT, "test", "ann", frozenset({"executions:read"}))
    stranger = Principal(
        UUID(int=7), "other", "eve", frozenset({"executions:read", "executions:write"})
    )

    with pytest.raises(Denied):
        await room.executions.rewind(reader, one, "charge")
    with pytest.raises(NotFound):
        await room.executions.rewind(stranger, one, "charge")
    with pytest.raises(NotFound):
        await previews(room).rewind(stranger, one, "charge")
    with pytest.raises(NotFound):
        await room.executions.rewind(room.who, NOBODY, "charge")

    assert (await previews(room).rewind(reader, one, "charge")).generation == 1


async def test_a_signal_that_was_taken_stays_taken(room: ServiceRoom):
    wait = {"id": "wait", "type": "wait", "signal": "go"}
    room.engine.worker()
    one = await begin(room, wait, call("after", "wait"))
    await room.executions.messages.signal(room.who, one, "go", {"n": 1})
    assert await room.engine.finished(one) is COMPLETED

    await room.executions.rewind(room.who, one, "wait")
    room.engine.queue.add(0, [(one, 1)])
    await room.engine.reached(one, lambda row: row["status"] == ExecutionStatus.WAITING)
    await room.executions.messages.signal(room.who, one, "go", {"n": 2})

    assert await ended(room, one) is COMPLETED
    assert [row["output"] for row in await room.engine.results(one) if "signal" in row] == [
        {"n": 1},
        {"n": 2},
    ]
