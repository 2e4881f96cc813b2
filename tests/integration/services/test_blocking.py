"""Why a step is not running, on real PostgreSQL: what the rows of executions, workers and messages add to the events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.model.blocker import BlockCause, Blocker
from runtime.model.errors import Denied, StepErrorKind, StepFailed
from runtime.model.execution import ExecutionStatus
from runtime.worker import breaker as breakers
from tests import make
from tests.integration.services.conftest import ServiceRoom
from tests.support.steps import CALLS

C = BlockCause
GATE = {"id": "call", "uses": "probe.gate@1", "with": {"marker": "call"}}
AFTER = {"id": "after", "uses": "core.noop@1", "depends_on": "call"}
BUSY = {"message": "no", "kind": "transient"}
RETRY = {"max_attempts": 3, "backoff": "fixed", "initial": "1h", "max": "1h"}
WAIT = {"id": "call", "type": "wait"}


@pytest.fixture(autouse=True)
def calls() -> None:
    CALLS.clear()


async def causes(room: ServiceRoom, execution_id: UUID) -> dict[str, Blocker]:
    """The cause of every step that has one."""
    standing = (await room.executions.standings(room.who, [execution_id]))[execution_id]
    steps = (await room.executions.steps(room.who, [execution_id]))[execution_id]
    found = {step.key: step.blocked(standing) for step in steps}
    return {key: blocker for key, blocker in found.items() if blocker is not None}


async def waiting(room: ServiceRoom, *steps: Any, **more: Any) -> UUID:
    """An execution that a worker has put aside."""
    await room.publish(steps=list(steps), **more)
    room.engine.worker()
    execution_id = (await room.enqueue()).id
    await room.engine.reached(execution_id, lambda row: row["status"] == ExecutionStatus.WAITING)
    return execution_id


async def running(room: ServiceRoom, *steps: Any, **more: Any) -> UUID:
    """An execution whose step `call` is under way."""
    await room.publish(steps=list(steps), **more)
    room.engine.worker()
    execution_id = (await room.enqueue()).id
    await CALLS.begun["call"].wait()
    await room.engine.until(execution_id, lambda: _is_told(room, execution_id, "step_started"))
    return execution_id


async def _position_of(room: ServiceRoom, execution_id: UUID) -> int | None:
    return (await causes(room, execution_id))["one"].position


async def test_without_a_worker_that_is_the_cause(room: ServiceRoom):
    await room.publish(steps=[GATE, AFTER])
    execution = await room.enqueue()

    found = await causes(room, execution.id)

    assert {key: one.cause for key, one in found.items()} == {
        "call": C.WORKER,
        "after": C.DEPENDENCY,
    }
    assert found["call"].since == execution.created_at
    assert found["call"].worker is None


async def test_a_queue_is_counted_by_priority_then_age_and_within_the_tenant(room: ServiceRoom):
    await room.publish()
    await room.engine.store.register(0, 77, "test:busy", 3_600.0)
    first, second = (await room.enqueue()).id, (await room.enqueue()).id
    urgent = (await room.enqueue(priority=5)).id
    other = make.enqueue_row(tenant=make.OTHER_TENANT, priority=9)
    await room.engine.enqueuer.enqueue(other)

    found = [await _position_of(room, one) for one in (urgent, first, second)]

    assert (await causes(room, first))["one"].cause is C.QUEUE
    assert found == [1, 2, 3]


async def test_what_may_not_start_yet_waits_for_its_time(room: ServiceRoom):
    await room.publish()
    at = make.now() + timedelta(hours=1)
    execution = await room.enqueue(run_at=at)

    blocker = (await causes(room, execution.id))["one"]

    assert (blocker.cause, blocker.since) == (C.SCHEDULED, execution.created_at)
    assert blocker.until == at


@pytest.mark.parametrize(
    ("more", "cause", "is_timed"),
    [
        ({"for": "1h"}, C.TIMER, True),
        ({"signal": "go"}, C.SIGNAL, False),
        ({"signal": "go", "timeout": "1h"}, C.SIGNAL, True),
    ],
)
async def test_a_wait_says_for_what_and_until_when_it_wakes(
    room: ServiceRoom, more: Any, cause: BlockCause, is_timed: bool
):
    execution_id = await waiting(room, {**WAIT, **more}, AFTER)

    found = await causes(room, execution_id)

    assert {key: one.cause for key, one in found.items()} == {"call": cause, "after": C.DEPENDENCY}
    row = await room.engine.row(execution_id)
    until = found["call"].until
    if is_timed:
        assert until is not None
        assert abs(until - row["wake_at"]) < timedelta(seconds=1)
    else:
        assert until is None


async def test_a_retry_waits_for_its_delay(room: ServiceRoom):
    failing = {"id": "call", "uses": "core.fail@1", "with": BUSY, "retry": RETRY}
    execution_id = await waiting(room, failing)

    blocker = (await causes(room, execution_id))["call"]

    assert (blocker.cause, blocker.attempt) == (C.RETRY, 2)
    assert blocker.until is not None


async def test_an_open_breaker_is_named_with_its_target(
    room: ServiceRoom, monkeypatch: pytest.MonkeyPatch
):
    quick = replace(breakers.RULE, failures=1, open_seconds=60.0)
    monkeypatch.setattr(breakers, "RULE", quick)
    step = {"id": "call", "uses": "probe.targeted@1", "with": {"marker": "call", "target": "shop"}}
    CALLS.found["call"] = StepFailed("away", kind=StepErrorKind.TRANSIENT, type="away")
    await room.publish(steps=[step])
    room.engine.worker()
    await room.engine.finished((await room.enqueue()).id)

    execution_id = (await room.enqueue()).id
    await room.engine.reached(execution_id, lambda row: row["status"] == ExecutionStatus.WAITING)
    blocker = (await causes(room, execution_id))["call"]

    assert (blocker.cause, blocker.target) == (C.BREAKER, "shop")
    assert blocker.until is not None


async def test_a_doubt_waits_for_a_person(room: ServiceRoom):
    asking = {"uses": "probe.typed@1", "timeout": "50ms", "in_doubt": "ask"}
    execution_id = await waiting(room, {**GATE, **asking})

    blocker = (await causes(room, execution_id))["call"]

    assert (blocker.cause, blocker.attempt) == (C.IN_DOUBT, 1)
    assert "person" in blocker.frees


async def test_a_pause_names_who_and_why(room: ServiceRoom):
    execution_id = await running(room, GATE, AFTER)
    await room.executions.messages.pause(room.who, execution_id, reason="stocktaking")
    await room.engine.until(execution_id, lambda: _is_told(room, execution_id, "execution_paused"))
    CALLS.gates["call"].set()
    await room.engine.reached(execution_id, lambda row: row["status"] == ExecutionStatus.WAITING)

    blocker = (await causes(room, execution_id))["after"]

    assert blocker.cause is C.PAUSED
    assert blocker.actor is not None
    assert (blocker.actor.subject, blocker.reason) == ("ann", "stocktaking")


async def test_places_that_are_taken_are_named(room: ServiceRoom):
    second = {"id": "after", "uses": "core.noop@1"}
    execution_id = await running(room, GATE, second, max_parallel_steps=1)

    found = await causes(room, execution_id)

    assert {key: one.cause for key, one in found.items()} == {"after": C.PARALLELISM}
    assert found["after"].steps == ("call",)


async def test_a_worker_that_is_lost_is_the_cause_of_what_it_has(room: ServiceRoom):
    await room.publish(steps=[GATE, AFTER])
    execution_id = (await room.enqueue()).id
    epoch = await room.engine.store.register(0, 77, "test:busy", 3_600.0)
    await room.engine.store.claim(0, 77, epoch, [execution_id])
    before = await causes(room, execution_id)
    await room.engine.sql.execute("update workers set lease_until = now() - interval '9 s'")

    after = await causes(room, execution_id)

    assert (before["call"].cause, before["call"].worker) == (C.STARTING, "test:busy")
    assert (after["call"].cause, after["call"].worker) == (C.WORKER, "test:busy")
    assert after["call"].since == await room.engine.sql.fetchval("select lease_until from workers")
    assert after["after"].cause is C.DEPENDENCY


async def test_what_lost_two_owners_waits_to_run_alone(room: ServiceRoom):
    await room.publish()
    await room.engine.store.register(0, 77, "test:busy", 3_600.0)
    execution_id = (await room.enqueue()).id
    await room.engine.sql.execute(
        "update workflow_executions set takeovers = 2 where id = $1", execution_id
    )

    assert (await causes(room, execution_id))["one"].cause is C.QUARANTINE


async def test_what_ended_before_its_turn_says_so_until_a_retry(room: ServiceRoom):
    failing = {"id": "call", "uses": "core.fail@1", "with": {"message": "no"}}
    await room.publish(steps=[failing, AFTER])
    room.engine.worker()
    execution_id = (await room.enqueue()).id
    await room.engine.finished(execution_id)

    found = await causes(room, execution_id)
    execution = await room.executions.find(room.who, execution_id)

    assert {key: one.cause for key, one in found.items()} == {"after": C.ENDED}
    assert execution is not None
    assert found["after"].steps == ("call",)
    assert found["after"].since == execution.finished_at


async def test_a_call_that_does_not_stop_holds_up_the_end(room: ServiceRoom):
    deaf = {"id": "call", "uses": "probe.deaf@1", "with": {"marker": "call"}}
    execution_id = await running(room, deaf, AFTER)
    await room.executions.messages.cancel(room.who, execution_id, reason="enough")
    await room.engine.until(
        execution_id, lambda: _is_told(room, execution_id, "execution_cancel_requested")
    )

    blocker = (await causes(room, execution_id))["after"]

    assert (blocker.cause, blocker.steps, blocker.reason) == (C.STOPPING, ("call",), "enough")
    CALLS.gates["call"].set()


async def test_only_readers_of_the_tenant_are_told(room: ServiceRoom):
    await room.publish()
    execution_id = (await room.enqueue()).id
    stranger = replace(room.who, tenant_id=make.OTHER_TENANT)

    assert await room.executions.standings(stranger, [execution_id]) == {}
    with pytest.raises(Denied):
        await room.executions.standings(replace(room.who, scopes=frozenset()), [execution_id])


async def _is_told(room: ServiceRoom, execution_id: UUID, word: str) -> bool:
    return word in await room.engine.events(execution_id)
