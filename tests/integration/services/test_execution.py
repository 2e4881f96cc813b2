"""Enqueue, cancel, retry, read: refused before anything is queued, durable when acknowledged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from operator import attrgetter

import pytest

from runtime.model.errors import (
    BadInput,
    Denied,
    IdempotencyConflict,
    Invalid,
    InvalidState,
    NotFound,
    PayloadTooLarge,
)
from runtime.model.event import EventKind
from runtime.model.execution import (
    EnqueueRequest,
    Execution,
    ExecutionFilter,
    ExecutionState,
    ExecutionStatus,
    StepStatus,
    TriggerKind,
    WaitKind,
)
from runtime.model.page import PageRequest
from runtime.model.workflow import DefinitionFormat
from tests import make
from tests.integration.services.conftest import NOOP, document

FAIL = {"id": "bad", "uses": "core.fail@1", "with": {"message": "no"}}
PARAMS = {
    "type": "object",
    "properties": {"n": {"type": "integer", "default": 7}, "s": {"type": "string"}},
}


async def _ended(room, *, steps=None, **fields):
    """An execution that a worker has brought to an end."""
    await room.publish(steps=steps)
    room.engine.worker()
    execution = await room.enqueue(**fields)
    await room.engine.finished(execution.id)
    return await room.executions.find(room.who, execution.id)


async def test_accepted_execution_reads_back_as_it_was_answered(room):
    published = await room.publish()

    execution = await room.enqueue(input={"a": 1}, labels={"k": "v"}, priority=3, timeout_ms=60_000)

    assert await room.executions.find(room.who, execution.id) == execution
    assert (execution.version_id, execution.state) == (published.version.id, ExecutionState.QUEUED)
    assert execution.created_by == room.who.actor


async def test_first_event_says_who_what_and_why(room):
    await room.publish(
        policy={"purpose": "research", "authority": "ethics-7", "license": "CC-BY-4.0"}
    )

    execution = await room.enqueue(trigger=TriggerKind.CLI)

    (event,) = await room.executions.events(room.who, execution.id)
    assert event.kind is EventKind.EXECUTION_QUEUED
    assert {**event.data} == {
        "workflow": "w",
        "workflow_id": str(execution.workflow_id),
        "version": "1.0.0",
        "version_id": str(execution.version_id),
        "actor": {"subject": "ann", "kind": "user"},
        "trigger": "cli",
        "purpose": "research",
        "authority": "ethics-7",
        "license": "CC-BY-4.0",
    }


async def test_accepted_execution_is_hinted_to_workers(room):
    await room.publish()
    await room.engine.queue.read(0, "c", 1, 0)

    execution = await room.enqueue()

    (entry,) = await room.engine.queue.read(0, "c", 10, 2_000)
    assert entry.execution_id == execution.id


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"workflow_name": "none"}, "WORKFLOW_NOT_FOUND"),
        ({"workflow_name": ""}, "WORKFLOW_NOT_FOUND"),
        ({"workflow_id": make.new_id()}, "WORKFLOW_NOT_FOUND"),
        ({"workflow_name": "w", "version": "9.9.9"}, "VERSION_NOT_FOUND"),
        ({"workflow_name": "w", "namespace": "elsewhere"}, "WORKFLOW_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_named(room, fields, reason):
    await room.publish()

    with pytest.raises(NotFound) as caught:
        await room.executions.enqueue(room.who, EnqueueRequest(**fields))

    assert caught.value.reason == reason
    assert "None" not in caught.value.message
    assert reason != "WORKFLOW_NOT_FOUND" or caught.value.path == (
        "workflowId" if "workflow_id" in fields else "workflowName",
    )


async def test_a_draft_is_not_run(room):
    await room.create()

    with pytest.raises(InvalidState) as caught:
        await room.enqueue()

    assert caught.value.reason == "NOT_PUBLISHED"


async def test_an_archived_workflow_takes_nothing(room):
    await room.publish()
    await room.engine.sql.execute("update workflows set status = 2")

    with pytest.raises(InvalidState, match="archived"):
        await room.enqueue()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"workflow_name": "w", "workflow_id": make.new_id()},
        {"workflow_name": "w", "version": "one"},
        {"workflow_name": "w", "priority": 2**31},
        {"workflow_name": "w", "timeout_ms": 0},
        {"workflow_name": "w", "idempotency_key": ""},
        {"workflow_name": "w", "idempotency_key": "x" * 256},
        {"workflow_name": "w", "labels": {"": "x"}},
        {"workflow_name": "w", "labels": {"k": "\x00"}},
        {"workflow_name": "w", "run_at": make.now().replace(tzinfo=None)},
    ],
    ids=lambda fields: str(fields)[:50],
)
async def test_malformed_requests_are_refused(room, fields):
    await room.publish()

    with pytest.raises(BadInput):
        await room.executions.enqueue(room.who, EnqueueRequest(**fields))


async def test_input_that_does_not_fit_is_refused_before_anything_is_queued(room):
    await room.publish(params=PARAMS)

    with pytest.raises(Invalid) as caught:
        await room.enqueue(input={"n": "seven", "s": 1})

    assert {problem.path for problem in caught.value.problems} == {("input", "n"), ("input", "s")}
    assert await room.executions.count(room.who, ExecutionFilter()) == (0, False)


async def test_defaults_are_filled_in(room):
    await room.publish(params=PARAMS)

    assert (await room.enqueue(input={"s": "x"})).input == {"s": "x", "n": 7}


async def test_a_large_input_is_refused_with_the_limit(room):
    await room.publish()

    with pytest.raises(PayloadTooLarge, match="at most 1048576"):
        await room.enqueue(input={"x": "y" * 10_000_000})


@pytest.mark.parametrize("value", ["a\x00b", {"\x00": 1}, 2**70], ids=repr)
async def test_an_input_that_cannot_be_stored_is_refused(room, value):
    await room.publish()

    with pytest.raises(Invalid, match=r"can't (be stored as JSON|store)"):
        await room.enqueue(input={"x": value})


async def test_a_backslash_before_u0000_is_only_text(room):
    await room.publish()

    execution = await room.enqueue(input={"x": "\\u0000"})

    assert (await room.executions.find(room.who, execution.id)).input == {"x": "\\u0000"}


async def test_the_same_key_and_body_give_the_first_answer(room):
    await room.publish()
    request = EnqueueRequest(workflow_name="w", input={"b": 1, "a": 2}, idempotency_key="k")

    first = await room.executions.enqueue(room.who, request)
    again = await room.executions.enqueue(room.who, request)

    assert (first.created, again.created) == (True, False)
    assert again.execution == first.execution
    assert await room.executions.find_by_key(room.who, "k") == first.execution


async def test_the_same_key_with_another_body_is_refused(room):
    await room.publish()
    await room.enqueue(input={"a": 1}, idempotency_key="k")

    with pytest.raises(IdempotencyConflict):
        await room.enqueue(input={"a": 2}, idempotency_key="k")


async def test_a_known_key_answers_even_when_the_request_would_be_refused_now(room):
    await room.publish()
    first = await room.enqueue(idempotency_key="k")
    await room.engine.sql.execute("update workflows set status = 2")
    room.executions.forget_targets(room.who.tenant_id)

    again = await room.enqueue(idempotency_key="k")

    assert again == first


class Looks:
    """The look-ups of targets: how many there were, and a gate that holds them up."""

    def __init__(self, room, monkeypatch):
        self.count = 0
        self.gate = asyncio.Event()
        self._store = room.executions._intake._workflows
        self._target = self._store.target
        monkeypatch.setattr(self._store, "target", self._held)

    async def _held(self, *arguments, **more):
        self.count += 1
        found = await self._target(*arguments, **more)
        await self.gate.wait()
        return found

    async def begun(self, count):
        async with asyncio.timeout(10):
            while self.count < count:
                await asyncio.sleep(0)


async def test_who_asks_for_the_same_at_the_same_time_waits_for_one_look(room, monkeypatch):
    await room.publish()
    room.executions.forget_targets(room.who.tenant_id)
    looks = Looks(room, monkeypatch)

    asked = [asyncio.create_task(room.enqueue()) for _ in range(8)]
    await looks.begun(1)
    await asyncio.sleep(0)
    # The one that looks may leave: it takes nobody's answer with it.
    asked[0].cancel()
    looks.gate.set()
    made = await asyncio.gather(*asked, return_exceptions=True)

    assert looks.count == 1
    assert isinstance(made[0], asyncio.CancelledError)
    assert len({one.id for one in made if isinstance(one, Execution)}) == 7


async def test_who_asks_after_a_version_was_published_waits_for_no_look_from_before(
    room, monkeypatch
):
    await room.publish()
    room.executions.forget_targets(room.who.tenant_id)
    looks = Looks(room, monkeypatch)
    early = asyncio.create_task(room.enqueue())
    await looks.begun(1)

    room.executions.forget_targets(room.who.tenant_id)
    late = asyncio.create_task(room.enqueue())
    await looks.begun(2)
    looks.gate.set()
    await asyncio.gather(early, late)
    await room.enqueue()

    # What the second found is remembered, what the first found is not.
    assert looks.count == 2
    assert not room.executions._intake._looks


async def test_a_look_that_fails_fails_for_all_who_wait_and_for_nobody_after(room, monkeypatch):
    await room.publish()
    room.executions.forget_targets(room.who.tenant_id)
    looks = Looks(room, monkeypatch)
    asked = [asyncio.create_task(room.enqueue("other")) for _ in range(2)]
    await looks.begun(1)
    looks.gate.set()

    refused = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in refused] == [NotFound, NotFound]
    with pytest.raises(NotFound):
        await room.enqueue("other")
    assert looks.count == 2


async def test_order_of_fields_does_not_change_the_body(room):
    await room.publish()
    first = await room.enqueue(input={"a": 1, "b": 2.0}, idempotency_key="k")

    assert await room.enqueue(input={"b": 2.0, "a": 1}, idempotency_key="k") == first


async def test_many_at_once_keep_their_places(room):
    await room.publish()
    names = ["w", "none", "w", "w"]
    keys = [None, None, "k", "k"]
    requests = [
        EnqueueRequest(workflow_name=n, idempotency_key=k) for n, k in zip(names, keys, strict=True)
    ]

    one, two, three, four = await room.executions.enqueue_many(room.who, requests)

    assert (one.created, three.created, four.created) == (True, True, False)
    assert isinstance(two, NotFound)
    assert four.execution.id == three.execution.id


async def test_more_than_a_thousand_at_once_are_refused(room):
    with pytest.raises(BadInput, match="1000"):
        await room.executions.enqueue_many(room.who, [EnqueueRequest(workflow_name="w")] * 1_001)


async def test_run_at_waits_on_a_timer(room):
    await room.publish()
    at = make.now() + timedelta(hours=1)

    execution = await room.enqueue(run_at=at)

    assert (execution.status, execution.wait) == (ExecutionStatus.WAITING, WaitKind.TIMER)
    assert await room.executions.find(room.who, execution.id) == execution


async def test_a_new_version_is_taken_at_once(room):
    first = await room.publish(version=None)
    await room.enqueue()
    source = document(version=None, steps=[NOOP, {**NOOP, "id": "two"}])
    await room.workflows.update(
        room.who, first.workflow.id, source=source, format=DefinitionFormat.JSON
    )
    second = await room.workflows.publish(room.who, first.workflow.id)

    assert (await room.enqueue()).version_id == second.version.id
    assert (await room.enqueue(version="1")).version_id == first.version.id


async def test_cancel_of_what_is_queued(room):
    await room.publish()
    execution = await room.enqueue()

    asked = await room.executions.messages.cancel(room.who, execution.id, reason="enough", key="c")
    again = await room.executions.messages.cancel(room.who, execution.id, reason="enough", key="c")
    room.engine.worker()

    assert asked.state is again.state is ExecutionState.CANCELLING
    assert await room.engine.finished(execution.id) is ExecutionStatus.CANCELLED
    event = (await room.executions.events(room.who, execution.id))[-1]
    assert (event.kind, event.field("reason")) == (EventKind.EXECUTION_CANCELLED, "enough")


async def test_what_has_ended_is_not_cancelled(room):
    execution = await _ended(room)

    with pytest.raises(InvalidState) as caught:
        await room.executions.messages.cancel(room.who, execution.id)

    assert caught.value.reason == "EXECUTION_FINISHED"


async def test_retry_runs_the_next_generation_from_the_failed_step(room):
    execution = await _ended(room, steps=[NOOP, {**FAIL, "depends_on": ["one"]}])

    retried = await room.executions.retry(room.who, execution.id, reason="again", key="r")
    again = await room.executions.retry(room.who, execution.id, reason="again", key="r")
    await room.engine.finished(execution.id)

    kept, failed = (await room.executions.steps(room.who, [execution.id]))[execution.id]
    assert (retried.generation, again.generation) == (1, 1)
    assert (kept.generation, failed.generation) == (0, 1)
    assert (kept.status, failed.status) == (StepStatus.COMPLETED, StepStatus.FAILED)


async def test_what_completed_is_not_retried(room):
    execution = await _ended(room)

    with pytest.raises(InvalidState) as caught:
        await room.executions.retry(room.who, execution.id)

    assert caught.value.reason == "NOT_RETRYABLE"


@pytest.mark.parametrize("action", ["messages.cancel", "retry"])
async def test_a_key_of_another_request_is_refused(room, action):
    execution = await _ended(room, steps=[FAIL])
    await room.executions.retry(room.who, execution.id, key="k", reason="one")

    with pytest.raises(IdempotencyConflict):
        await room.executions.retry(room.who, execution.id, key="k", reason="two")


@pytest.mark.parametrize("action", ["messages.cancel", "retry"])
async def test_another_tenants_execution_is_not_there(room, action):
    await room.publish()
    execution = await room.enqueue()
    other = make.principal(make.OTHER_TENANT)

    with pytest.raises(NotFound):
        await attrgetter(action)(room.executions)(other, execution.id)

    assert await room.executions.find(other, execution.id) is None
    assert await room.executions.steps(other, [execution.id]) == {}
    assert await room.executions.events(other, execution.id) == []
    assert await room.executions.logs(other, execution.id) == []


async def test_steps_of_what_has_not_begun(room):
    await room.publish(steps=[NOOP, {**NOOP, "id": "two", "depends_on": ["one"]}])
    execution = await room.enqueue()

    one, two = (await room.executions.steps(room.who, [execution.id]))[execution.id]

    assert (one.status, two.status) == (StepStatus.READY, StepStatus.PENDING)
    assert (one.attempt, one.attempts, one.input, one.started_at) == (0, (), None, None)


async def test_steps_show_attempts_output_and_the_rendered_input(room):
    steps = [
        {"id": "first", "uses": "core.set@1", "with": {"n": "{{ params.n }}"}},
        {
            "id": "second",
            "uses": "core.set@1",
            "with": {"m": "{{ steps.first.output.n + 1 }}"},
            "depends_on": ["first"],
        },
        {
            **FAIL,
            "depends_on": ["second"],
            "retry": {"max_attempts": 2, "backoff": "fixed", "initial": "1ms"},
        },
        {**NOOP, "id": "never", "depends_on": ["bad"]},
    ]
    execution = await _ended(room, steps=steps, input={"n": 1})

    first, second, bad, never = (await room.executions.steps(room.who, [execution.id]))[
        execution.id
    ]

    assert (first.status, second.input, second.output) == (StepStatus.COMPLETED, {"m": 2}, {"m": 2})
    assert first.output_hash.startswith("sha256:")
    assert bad.error.message == "no"
    assert [(a.attempt, a.status) for a in bad.attempts][-1][1] is StepStatus.FAILED
    assert never.status in {StepStatus.PENDING, StepStatus.SKIPPED, StepStatus.CANCELLED}
    assert never.input is None


async def test_secrets_in_a_rendered_input_are_masked(room):
    room.engine.secrets.path.write_text("token: canary-1234\n")
    room.engine.secrets.path.chmod(0o600)
    execution = await _ended(
        room, steps=[{"id": "s", "uses": "core.set@1", "with": {"t": "x {{ secrets.token }}"}}]
    )

    (step,) = (await room.executions.steps(room.who, [execution.id]))[execution.id]

    assert step.input == {"t": "x ***"}
    assert "canary-1234" not in repr(step)


async def test_one_step_by_its_key(room):
    execution = await _ended(room)

    assert (
        await room.executions.step(room.who, execution.id, "one")
    ).status is StepStatus.COMPLETED
    assert await room.executions.step(room.who, execution.id, "none") is None


async def test_pages_meet_each_execution_once(room):
    await room.publish()
    ids = [(await room.enqueue()).id for _ in range(5)]
    found: list[object] = []
    cursor: str | None = None
    while cursor is not None or not found:
        page = await room.executions.list(room.who, ExecutionFilter(), PageRequest(2, cursor))
        found += [execution.id for execution in page.items]
        cursor = page.cursors[-1] if page.has_next else None

    assert found == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"state": (ExecutionState.QUEUED,)}, {"queued"}),
        ({"state": (ExecutionState.WAITING,)}, {"parked"}),
        ({"state": (ExecutionState.CANCELLING,)}, {"cancelling"}),
        ({"state": (ExecutionState.QUEUED, ExecutionState.CANCELLING)}, {"queued", "cancelling"}),
        ({"state": (ExecutionState.PAUSED,)}, {"paused"}),
        ({"state": (ExecutionState.COMPENSATING,)}, set()),
        ({"state": (ExecutionState.COMPLETED, ExecutionState.FAILED)}, set()),
        ({"labels": (("name", "queued"),)}, {"queued"}),
        ({"labels": (("name", "queued"), ("name", "parked"))}, set()),
        ({"workflow_name": ("w", "none")}, {"queued", "parked", "cancelling", "paused"}),
        ({"workflow_name": ("none",)}, set()),
        ({"version": "1.0.0"}, {"queued", "parked", "cancelling", "paused"}),
        ({"version": "2.0.0"}, set()),
        ({"trigger": (TriggerKind.CLI,)}, {"parked"}),
        ({"namespace": ("default",)}, {"queued", "parked", "cancelling", "paused"}),
        ({"idempotency_key": "k"}, {"queued"}),
        (
            {"created_from": make.now() - timedelta(hours=1)},
            {"queued", "parked", "cancelling", "paused"},
        ),
        ({"created_to": make.now() - timedelta(hours=1)}, set()),
        ({"finished_from": make.now() - timedelta(hours=1)}, set()),
    ],
)
async def test_filters_in_peoples_words(room, wanted, expected):
    await room.publish()
    await room.enqueue(labels={"name": "queued"}, idempotency_key="k")
    await room.enqueue(
        labels={"name": "parked"}, run_at=make.now() + timedelta(hours=1), trigger=TriggerKind.CLI
    )
    cancelling = await room.enqueue(labels={"name": "cancelling"})
    await room.executions.messages.cancel(room.who, cancelling.id)
    paused = await room.enqueue(labels={"name": "paused"})
    await room.engine.sql.execute(
        "update workflow_executions set status = 3, wait = 5 where id = $1", paused.id
    )

    page = await room.executions.list(room.who, ExecutionFilter(**wanted), PageRequest(10))

    assert {execution.labels["name"] for execution in page.items} == expected
    assert await room.executions.count(room.who, ExecutionFilter(**wanted)) == (
        len(expected),
        False,
    )
    if wanted.get("state"):
        assert {execution.state for execution in page.items} <= set(wanted["state"])


async def test_totals_stop_at_their_cap(room):
    await room.publish()
    await asyncio.gather(*(room.enqueue() for _ in range(5)))

    assert await room.executions.count(room.who, ExecutionFilter(), cap=3) == (3, True)


async def test_an_unknown_step_has_no_logs(room):
    await room.publish()
    execution = await room.enqueue()

    with pytest.raises(NotFound) as caught:
        await room.executions.logs(room.who, execution.id, step_key="none")

    assert caught.value.reason == "STEP_NOT_FOUND"


@pytest.mark.parametrize("action", ["enqueue", "messages.cancel", "retry", "find", "watch"])
async def test_nothing_without_its_scope(room, action):
    nobody = make.principal(scopes=frozenset())
    argument = EnqueueRequest(workflow_name="w") if action == "enqueue" else make.new_id()

    with pytest.raises(Denied):
        await attrgetter(action)(room.executions)(nobody, argument)
