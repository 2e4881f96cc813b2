"""Human steps through a real worker: a task in the commit of its event, an answer that wakes, an end that cancels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from runtime.model.checkpoint import InboxKind
from runtime.model.errors import Denied, InvalidState
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.model.human_task import HumanTaskStatus
from runtime.model.ids import human_task_id
from tests.support.engine_room import EngineRoom
from tests.support.people import People
from tests.support.steps import CALLS

ASK: dict[str, Any] = {
    "id": "ask", "type": "human_approval", "title": "Pay {{ params.n }}?", "assignees": ["ann", "bob"],
}  # fmt: skip
SAY: dict[str, Any] = {
    "id": "say", "uses": "core.set@1", "depends_on": ["ask"], "with": {"word": "{{ steps.ask.output.decision }}"},
}  # fmt: skip
PARAMS = {"n": {"type": "integer"}}
GIVEN = {"n": 7}
OUTPUTS = {"said": "{{ steps.say.output.word }}", "by": "{{ steps.ask.output.by.subject }}"}
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def people(room: EngineRoom) -> People:
    return People(room)


async def publish(room: EngineRoom, *steps: Any, **more: Any) -> UUID:
    return await room.publish(list(steps or (ASK, SAY)), params=PARAMS, **more)


def is_parked(row: Any) -> bool:
    return bool(row["status"] == ExecutionStatus.WAITING and row["wait"] == WaitKind.HUMAN_TASK)


async def asked(room: EngineRoom, people: People, *steps: Any, **more: Any) -> tuple[UUID, UUID]:
    """An execution that waits for people, parked, and its task."""
    execution = await room.enqueue(await publish(room, *steps, **more), GIVEN)
    await room.reached(execution, is_parked)
    return execution, (await people.asked(execution))[0].id


async def test_a_step_asks_and_goes_on_with_the_answer(room: EngineRoom, people: People):
    room.worker()
    execution, task = await asked(room, people, outputs=OUTPUTS)
    row = await room.row(execution)
    [kept] = await people.asked(execution)
    assert (row["owner"], row["wake_at"]) == (None, None)
    assert (task, kept.title, kept.candidate_users) == (
        human_task_id(execution, 0, 0),
        "Pay 7?",
        ("ann", "bob"),
    )
    assert kept.origin is not None
    assert (kept.origin.step_key, kept.origin.workflow_id) == ("ask", row["workflow_id"])

    await people.answer(task, response={"note": "fine"})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    row = await room.row(execution)
    assert json.loads(row["output"]) == {"said": "approved", "by": "ann"}
    [result, _] = await room.results(execution)
    assert (result["output"]["outcome"], result["output"]["response"]) == (
        "approved",
        {"note": "fine"},
    )
    assert (result["task"], result["output"].keys()) == (
        str(task),
        {"outcome", "response", "by", "at"},
    )
    assert {"in", "out", "code", "worker"} <= result.keys()
    assert [one for one in await room.events(execution) if one != "execution_waiting"] == [
        *[
            "execution_queued",
            "execution_started",
            "step_started",
            "human_task_created",
            "step_completed",
        ],
        *["step_started", "step_completed", "execution_completed"],
    ]
    assert await people.history(task) == ["created", "completed"]
    assert await room.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_an_answer_that_nobody_is_told_of_is_found(room: EngineRoom, people: People):
    room.worker()
    execution, task = await asked(room, people)

    await people.answer(task, ring=False)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_what_is_cancelled_cancels_its_task_with_the_event_that_says_so(
    room: EngineRoom, people: People
):
    room.worker()
    gate = {"id": "gate", "uses": "probe.gate@1", "with": {"marker": "gate"}}
    execution = await room.enqueue(await publish(room, ASK, gate), GIVEN)
    await CALLS.begun["gate"].wait()
    [task] = await people.asked(execution)

    await room.cancel(execution)
    await room.finished(execution)

    [kept] = await people.asked(execution)
    at = await room.sql.fetchval(
        "select ts from execution_events where execution_id = $1 and kind = $2",
        execution, EventKind.EXECUTION_CANCEL_REQUESTED,
    )  # fmt: skip
    assert (kept.status, kept.ended_at) == (HumanTaskStatus.CANCELLED, at)
    with pytest.raises(InvalidState):
        await people.answer(task.id)
    assert await people.history(task.id) == ["created", "cancelled"]


async def test_from_the_request_to_cancel_on_nobody_answers(room: EngineRoom, people: People):
    worker = room.worker()
    execution, task = await asked(room, people)
    await worker.stop(0.0)
    await room.cancel(execution, ring=False)

    done = await people.answer(task, ring=False)

    assert done.told is not None
    assert done.told.n == 0
    [kept] = await people.asked(execution)
    assert kept.status is HumanTaskStatus.OPEN


async def test_a_step_that_fails_cancels_the_task_of_another(room: EngineRoom, people: People):
    room.worker()
    fail = {"id": "fail", "uses": "core.fail@1", "with": {"message": "no"}}
    execution = await room.enqueue(await publish(room, ASK, fail), GIVEN)

    assert await room.finished(execution) is ExecutionStatus.FAILED

    [kept] = await people.asked(execution)
    assert kept.status is HumanTaskStatus.CANCELLED


async def test_whoever_ends_an_execution_cancels_its_tasks(room: EngineRoom, people: People):
    worker = room.worker()
    execution, _ = await asked(room, people)
    await worker.stop(0.0)

    await room.sql.execute(
        "update workflow_executions set status = 6, finished_at = now(), wait = null where id = $1",
        execution,
    )

    [kept] = await people.asked(execution)
    assert kept.status is HumanTaskStatus.CANCELLED


LATE: dict[str, Any] = {"timeout": "50ms"}


@pytest.mark.parametrize(
    ("rule", "ended", "steps"),
    [
        ({"on_expiry": {"outcome": "rejected"}}, ExecutionStatus.COMPLETED, {0: StepStatus.COMPLETED, 1: StepStatus.SKIPPED, 2: StepStatus.COMPLETED}),
        ({"on_expiry": {"goto": "late"}}, ExecutionStatus.COMPLETED, {0: StepStatus.TIMED_OUT, 1: StepStatus.COMPLETED, 2: StepStatus.SKIPPED}),
        ({"on_error": "continue"}, ExecutionStatus.COMPLETED, {0: StepStatus.TIMED_OUT, 1: StepStatus.COMPLETED, 2: StepStatus.COMPLETED}),
        ({}, ExecutionStatus.FAILED, {0: StepStatus.TIMED_OUT}),
    ],
    ids=["outcome", "goto", "on_error", "fail"],
)  # fmt: skip
async def test_an_expiry_takes_the_way_that_the_definition_names(
    room: EngineRoom, people: People, rule: Any, ended: ExecutionStatus, steps: Any
):
    room.worker()
    late = {"id": "late", "uses": "core.noop@1", "depends_on": ["ask"]}
    if "outcome" in rule.get("on_expiry", {}):
        late["when"] = "{{ steps.ask.output.outcome == 'approved' }}"
    good = {"id": "good", "uses": "core.noop@1", "depends_on": ["ask"]}
    execution, task = await asked(room, people, {**ASK, **LATE, **rule}, late, good)

    await people.expire(task)

    assert await room.finished(execution) is ended
    assert {step: status for step, _, _, status in await room.steps(execution)} == steps
    [first, *_] = await room.results(execution)
    if ended is ExecutionStatus.FAILED:
        assert first["error"]["type"] == "human_task.expired"


async def test_a_retry_asks_anew_and_keeps_what_was_answered(room: EngineRoom, people: People):
    room.worker()
    second = {**ASK, "id": "second", "depends_on": ["ask"], "timeout": "50ms"}
    execution, first = await asked(room, people, ASK, second)
    await people.answer(first)
    [_, late] = await people.asked(execution, 2)
    await people.expire(late.id)
    assert await room.finished(execution) is ExecutionStatus.FAILED

    await room.retry(execution)
    tasks = await people.asked(execution, 3)
    await people.answer(tasks[2].id)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert [one.origin and (one.origin.step, one.origin.generation) for one in tasks] == [
        (0, 0),
        (1, 0),
        (1, 1),
    ]
    assert tasks[2].id == human_task_id(execution, 1, 1)


async def test_a_takeover_waits_for_the_same_task(room: EngineRoom, people: People):
    room.worker()
    gate = {"id": "gate", "uses": "probe.gate@1", "with": {"marker": "gate"}}
    execution = await room.enqueue(await publish(room, ASK, gate), GIVEN)
    await CALLS.begun["gate"].wait()
    [task] = await people.asked(execution)
    room.worker()
    await room.expire("test:1")

    async def is_taken_over() -> bool:
        return "execution_taken_over" in await room.events(execution)

    await room.until(execution, is_taken_over)
    CALLS.gates["gate"].set()
    await people.answer(task.id)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (await room.events(execution)).count("human_task_created") == 1


async def test_who_started_it_and_who_answered_before_are_excluded_where_duties_are_separated(
    room: EngineRoom, people: People
):
    room.worker()
    apart = {**ASK, "separation_of_duties": True, "assignees": ["ann", "bob", "mia"]}
    then = {**apart, "id": "then", "depends_on": ["ask"]}
    version = await publish(room, apart, then)
    execution = await room.enqueue(
        version, GIVEN, meta={"actor": {"subject": "mia", "kind": "user"}}
    )
    [first] = await people.asked(execution)
    await people.answer(first.id, by="ann")

    [_, second] = await people.asked(execution, 2)

    assert set(first.excluded) == {"mia"}
    assert set(second.excluded) == {"ann", "mia"}
    who = await room.sql.fetch("select who from human_task_people where task_id = $1", second.id)
    assert [row["who"] for row in who] == ["user:bob"]


async def test_what_nobody_can_be_asked_fails_without_a_task(room: EngineRoom, people: People):
    room.worker()
    version = await publish(room, {**ASK, "assignees": ["{{ params.n }}"]})
    execution = await room.enqueue(version, GIVEN)

    assert await room.finished(execution) is ExecutionStatus.FAILED

    assert await people.ids(execution) == []
    assert json.loads((await room.row(execution))["error"])["type"] == "human_task.not_asked"


async def test_an_answer_in_a_pause_counts_and_what_follows_waits(room: EngineRoom, people: People):
    room.worker()
    execution, task = await asked(room, people)
    await room.tell(execution, InboxKind.PAUSE, reason=None)
    await room.reached(execution, lambda row: row["wait"] == WaitKind.PAUSED)
    await people.answer(task)
    await room.tell(execution, InboxKind.RESUME, reason=None)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_the_example_asks_two_people_of_whom_none_has_asked_for_it(
    room: EngineRoom, people: People
):
    room.worker()
    example = yaml.safe_load((EXAMPLES / "approval.yaml").read_text())
    version = await room.publish(example.pop("steps"), **example)
    given = {"payee": "Acme", "amount": 120, "approvers": ["ann", "bob", "mia"]}
    execution = await room.enqueue(
        version, given, meta={"actor": {"subject": "mia", "kind": "user"}}
    )
    await room.reached(execution, is_parked)
    [task] = await people.asked(execution)

    with pytest.raises(Denied):
        await people.answer(task.id, by="mia")
    await people.answer(task.id, by="ann")
    assert is_parked(await room.row(execution))
    await people.answer(task.id, by="bob", response={"note": "agreed"})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    output = json.loads((await room.row(execution))["output"])
    assert output == {"decision": "approved", "paid": True}
    assert await people.history(task.id) == ["created", "answered", "completed"]


async def test_the_example_pays_nothing_that_two_people_have_rejected(
    room: EngineRoom, people: People
):
    room.worker()
    example = yaml.safe_load((EXAMPLES / "approval.yaml").read_text())
    version = await room.publish(example.pop("steps"), **example)
    given = {"payee": "Acme", "amount": 120, "approvers": ["ann", "bob"]}
    execution = await room.enqueue(version, given)
    [task] = await people.asked(execution)

    for name in ("ann", "bob"):
        await people.answer(task.id, "rejected", {"note": "too much"}, name)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    output = json.loads((await room.row(execution))["output"])
    assert output == {"decision": "rejected", "paid": False}
