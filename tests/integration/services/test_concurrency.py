"""Concurrency keys on real PostgreSQL with real workers: never more than the limit, in order, and each rule for one more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.engine.history import fold
from runtime.model.blocker import BlockCause
from runtime.model.checkpoint import InboxKind
from runtime.model.errors import BadInput, Conflict
from runtime.model.execution import EnqueueRequest, Execution, ExecutionStatus, WaitKind
from runtime.worker import signals
from tests.integration.services.conftest import ServiceRoom
from tests.integration.services.test_blocking import causes
from tests.support.steps import CALLS

S = ExecutionStatus
GATE = {"id": "hold", "uses": "probe.gate@1", "with": {"marker": "{{ params.n }}"}}
PARAMS = {"n": "string", "k": {"type": "string", "default": "one"}}
LIMITED: dict[str, Any] = {"steps": [GATE], "params": PARAMS}


@pytest.fixture(autouse=True)
def calls() -> None:
    CALLS.clear()


async def limited(room: ServiceRoom, name: str = "w", **concurrency: Any) -> None:
    rule = {"key": "{{ params.k }}", "limit": 1, **concurrency}
    await room.publish(name, **LIMITED, concurrency=rule)


async def ask(room: ServiceRoom, n: str, k: str = "one", **more: Any) -> Execution:
    return await room.enqueue(input={"n": n, "k": k}, **more)


async def begun(*names: str) -> None:
    for name in names:
        await asyncio.wait_for(CALLS.begun[name].wait(), 10)


async def waits(room: ServiceRoom, id: UUID) -> bool:
    row = await room.engine.row(id)
    return (row["status"], row["wait"], row["in_lane"]) == (3, WaitKind.CONCURRENCY_LIMIT, False)


async def end(room: ServiceRoom, id: UUID, name: str) -> ExecutionStatus:
    CALLS.gates[name].set()
    return await room.engine.finished(id)


async def test_one_at_a_time_in_the_order_of_priority_then_age(room: ServiceRoom):
    await limited(room)
    worker = room.engine.worker(beat_seconds=0.05)
    first = await ask(room, "a")
    assert (first.status, first.wait) == (S.WAITING, WaitKind.CONCURRENCY_LIMIT)
    await begun("a")
    late, early = await ask(room, "b"), await ask(room, "c", priority=5)
    beats = worker.signals.counts[signals.BEAT]
    await worker.signals.wait(signals.BEAT, beats + 4)
    assert CALLS.attempts.keys() == {"a"}
    assert await waits(room, late.id)
    found = (await causes(room, late.id))["hold"]
    assert (found.cause, found.position) == (BlockCause.CONCURRENCY, 2)
    assert (found.concurrency_key, found.holders) == ("one", (first.id,))

    assert await end(room, first.id, "a") is S.COMPLETED
    await begun("c")
    assert CALLS.attempts.keys() == {"a", "c"}
    await end(room, early.id, "c")
    await end(room, late.id, "b")


async def test_other_keys_and_other_workflows_do_not_count_and_without_a_key_all_share_one(
    room: ServiceRoom,
):
    await limited(room)
    await room.publish("v", **LIMITED, concurrency={"limit": 2})
    room.engine.worker(beat_seconds=0.05)
    await ask(room, "a")
    await ask(room, "b", "two")
    for n in "cde":
        await room.enqueue("v", input={"n": n})

    await begun("a", "b", "c", "d")

    assert "e" not in CALLS.attempts
    for n in "abcde":
        CALLS.gates[n].set()
    await begun("e")


@pytest.mark.parametrize("workers", [1, 3])
async def test_never_more_than_the_limit_over_all_workers(room: ServiceRoom, workers: int):
    pause = {"id": "hold", "uses": "core.sleep@1", "with": {"duration": "20ms"}}
    await room.publish(
        steps=[pause], params=PARAMS, concurrency={"key": "{{ params.k }}", "limit": 2}
    )
    for _ in range(workers):
        room.engine.worker(beat_seconds=0.03)
    ids = [(await ask(room, str(n), str(n % 2))).id for n in range(16)]
    for one in ids:
        assert await room.engine.finished(one) is S.COMPLETED

    rows = await room.engine.sql.fetch(
        "select e.lane, s.started_at, s.finished_at from step_executions s join workflow_executions e on e.id = s.execution_id"
    )
    for row in rows:
        beside = [
            one for one in rows
            if one["lane"] == row["lane"] and one["started_at"] <= row["started_at"] < one["finished_at"]
        ]  # fmt: skip
        assert len(beside) <= 2


async def test_a_place_is_held_while_parked_and_over_a_lost_worker(room: ServiceRoom):
    wait = {"id": "bell", "type": "wait", "signal": "go", "depends_on": ["hold"]}
    await room.publish(steps=[GATE, wait], params=PARAMS, concurrency={"key": "k", "limit": 1})
    first = await ask(room, "a")
    # Its first heartbeat is its only one: what is accepted after that waits for the next.
    room.engine.worker(beat_seconds=60.0, lease_seconds=600.0)
    await begun("a")
    second = await ask(room, "b")
    other = room.engine.worker(beat_seconds=0.05)

    await room.engine.expire("test:1")
    await other.signals.wait(signals.TAKEN_OVER)
    CALLS.gates["a"].set()
    await room.engine.reached(
        first.id, lambda row: row["status"] == 3 and row["wait"] == WaitKind.SIGNAL
    )
    beats = other.signals.counts[signals.BEAT]
    await other.signals.wait(signals.BEAT, beats + 4)
    assert await waits(room, second.id)

    await room.engine.tell(first.id, InboxKind.SIGNAL, name="go", payload=1)
    assert await room.engine.finished(first.id) is S.COMPLETED
    await begun("b")


async def test_reject_says_who_holds_the_key_and_a_known_key_keeps_its_answer(room: ServiceRoom):
    await limited(room, on_conflict="reject")
    room.engine.worker(beat_seconds=0.05)
    first = await ask(room, "a", idempotency_key="first")
    await begun("a")

    with pytest.raises(Conflict) as refused:
        await ask(room, "b")

    assert refused.value.reason == "CONCURRENCY_LIMIT"
    assert str(first.id) in refused.value.message
    assert (await ask(room, "a", idempotency_key="first")).id == first.id
    wanted = [
        EnqueueRequest(workflow_name="w", input={"n": n, "k": k})
        for n, k in ("cx", "dy", "ez", "fx")
    ]
    wanted += [EnqueueRequest(workflow_name="w", input={"n": "g", "k": "one"})]
    answers = await room.executions.enqueue_many(room.who, wanted)
    assert [isinstance(one, Conflict) for one in answers] == [False, False, False, True, True]
    await end(room, first.id, "a")
    assert (await ask(room, "h")).status is S.WAITING


async def test_the_oldest_is_cancelled_where_the_newest_asks_for_that(room: ServiceRoom):
    await limited(room, on_conflict="cancel_oldest")
    room.engine.worker(beat_seconds=0.05)
    first = await ask(room, "a")
    await begun("a")

    second, third = await ask(room, "b"), await ask(room, "c")

    assert await room.engine.finished(first.id) is S.CANCELLED
    assert await room.engine.finished(second.id) is S.CANCELLED
    await begun("c")
    assert "b" not in CALLS.attempts
    said = await room.engine.sql.fetchval(
        "select data ->> 'actor' from execution_events where execution_id = $1 and kind = 12",
        first.id,
    )
    assert "concurrency" in (said or "")
    assert await end(room, third.id, "c") is S.COMPLETED


async def test_a_retry_waits_for_its_turn_like_everybody(room: ServiceRoom):
    fail = {
        "id": "hold",
        "uses": "core.fail@1",
        "with": {"message": "no"},
        "when": "params.n == 'bad'",
    }
    gate = {**GATE, "id": "gate", "when": "params.n != 'bad'"}
    await room.publish(steps=[fail, gate], params=PARAMS, concurrency={"key": "k", "limit": 1})
    worker = room.engine.worker(beat_seconds=0.05)
    failed = await ask(room, "bad")
    assert await room.engine.finished(failed.id) is S.FAILED
    holder = await ask(room, "a")
    await begun("a")

    await room.executions.retry(room.who, failed.id)

    assert await waits(room, failed.id)
    told = await room.executions.events(room.who, failed.id)
    then = fold(told)
    assert (then.status, then.wait) == (S.WAITING, WaitKind.CONCURRENCY_LIMIT)
    await room.engine.tell(failed.id, InboxKind.SIGNAL, name="x", payload=1)
    beats = worker.signals.counts[signals.BEAT]
    await worker.signals.wait(signals.BEAT, beats + 4)
    assert await waits(room, failed.id)
    await end(room, holder.id, "a")
    assert await room.engine.finished(failed.id) is S.FAILED


async def test_what_waits_is_cancelled_at_once_and_has_run_nothing(room: ServiceRoom):
    await limited(room)
    room.engine.worker(beat_seconds=0.05)
    await ask(room, "a")
    await begun("a")
    second = await ask(room, "b")

    await room.engine.cancel(second.id)

    assert await room.engine.finished(second.id) is S.CANCELLED
    assert CALLS.attempts.keys() == {"a"}


async def test_a_time_that_has_come_gives_no_place(room: ServiceRoom):
    await limited(room)
    worker = room.engine.worker(beat_seconds=0.05)
    holder = await ask(room, "a")
    await begun("a")
    timed = await ask(room, "b", run_at=datetime.now(UTC) + timedelta(milliseconds=200))
    assert (timed.status, timed.wait) == (S.WAITING, WaitKind.TIMER)

    async def is_due() -> bool:
        return bool(
            await room.engine.sql.fetchval(
                "select wake_at < now() from workflow_executions where id = $1", timed.id
            )
        )

    await room.engine.until(timed.id, is_due)
    beats = worker.signals.counts[signals.BEAT]
    await worker.signals.wait(signals.BEAT, beats + 4)
    assert "b" not in CALLS.attempts
    assert (await causes(room, timed.id))["hold"].cause is BlockCause.CONCURRENCY
    await end(room, holder.id, "a")
    await begun("b")


async def test_a_child_waits_for_its_place(room: ServiceRoom):
    await limited(room)
    start = {"id": "start", "type": "workflow", "workflow": "w", "input": {"n": "b", "k": "one"}}
    await room.publish("parent", steps=[start])
    room.engine.worker(beat_seconds=0.05)
    holder = await ask(room, "a")
    await begun("a")
    parent = await room.enqueue("parent")
    await room.engine.reached(parent.id, lambda row: row["status"] == 3)
    child = await room.engine.sql.fetchval(
        "select id from workflow_executions where meta ->> 'parent' = $1", str(parent.id)
    )
    assert await waits(room, child)

    await end(room, holder.id, "a")
    await begun("b")
    CALLS.gates["b"].set()

    assert await room.engine.finished(parent.id) is S.COMPLETED


async def test_what_waits_too_long_times_out_while_the_holder_goes_on(room: ServiceRoom):
    await limited(room)
    room.engine.worker(beat_seconds=0.05)
    holder = await ask(room, "a")
    await begun("a")

    late = await ask(room, "b", timeout_ms=100)

    assert await room.engine.finished(late.id) is S.TIMED_OUT
    assert CALLS.attempts.keys() == {"a"}
    assert await end(room, holder.id, "a") is S.COMPLETED


async def test_a_key_that_can_not_be_rendered_is_refused(room: ServiceRoom):
    await room.publish(**LIMITED, concurrency={"key": "{{ params.k / 2 }}", "limit": 1})

    with pytest.raises(BadInput) as refused:
        await ask(room, "a")

    assert refused.value.reason == "CONCURRENCY_KEY"
