"""A backlog with a bound: what is more is refused, says when to come again, and is taken when there is room."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.clock import ManualClock
from runtime.model.errors import Exhausted, Unavailable
from runtime.model.execution import EnqueueRequest
from runtime.services.backlog import Backlogs
from runtime.store.execution_record import ExecutionRecords
from runtime.store.tenant import TenantStore
from tests import make
from tests.integration.services.conftest import ServiceRoom

REQUEST = EnqueueRequest(workflow_name="w")


async def bounded(room: ServiceRoom, most: Any) -> None:
    await room.engine.sql.execute(
        "insert into tenants (id, name, settings) values ($1, 'bounded', $2) on conflict (id) do update set settings = excluded.settings",
        room.who.tenant_id, json.dumps({"max_queued": most}),
    )  # fmt: skip


def backlogs(room: ServiceRoom, clock: ManualClock) -> Backlogs:
    engine = room.engine
    records = ExecutionRecords(engine.shards)
    return Backlogs(TenantStore(engine.database), records, clock=clock, metrics=engine.metrics)


async def test_what_is_more_than_may_be_queued_is_refused_and_says_when_to_come_again(
    room: ServiceRoom,
):
    await bounded(room, 3)
    await room.publish("w")

    answers = await room.executions.enqueue_many(room.who, [REQUEST] * 5)

    refused = [one for one in answers if isinstance(one, Exhausted)]
    assert [isinstance(one, Exhausted) for one in answers] == [False] * 3 + [True] * 2
    assert {(one.code, one.reason, one.retry_after) for one in refused} == {
        ("RATE_LIMITED", "BACKLOG_FULL", 5.0)
    }
    assert room.engine.metrics.registry.get_sample_value("maestro_backlog_refusals_total") == 2


async def test_a_known_key_keeps_its_answer_while_the_backlog_is_full(room: ServiceRoom):
    await bounded(room, 1)
    await room.publish("w")
    first = await room.enqueue("w", idempotency_key="k")

    assert (await room.enqueue("w", idempotency_key="k")).id == first.id
    with pytest.raises(Exhausted):
        await room.enqueue("w", idempotency_key="another")


async def test_other_tenants_and_tenants_without_a_bound_are_not_refused(room: ServiceRoom):
    await bounded(room, 1)
    gate = backlogs(room, ManualClock())
    for _ in range(5):
        await gate.take(make.OTHER_TENANT)
    await gate.take(room.who.tenant_id)
    with pytest.raises(Exhausted):
        await gate.take(room.who.tenant_id)


@pytest.mark.parametrize("most", [0, -1, "many", True, None, 1.5])
async def test_what_is_no_bound_bounds_nothing(room: ServiceRoom, most: Any):
    await bounded(room, most)
    gate = backlogs(room, ManualClock())

    for _ in range(5):
        await gate.take(room.who.tenant_id)


async def test_room_is_found_within_a_second_and_the_pace_says_how_long_to_wait(room: ServiceRoom):
    await bounded(room, 20)
    await room.publish("w")
    clock = ManualClock()
    gate = backlogs(room, clock)
    ids = [(await room.enqueue("w")).id for _ in range(20)]
    with pytest.raises(Exhausted) as refused:
        await gate.take(room.who.tenant_id)
    assert refused.value.retry_after == 5.0, "nobody knows the pace"

    parked = "update workflow_executions set status = 3, wait = 0 where id = any ($1)"
    await room.engine.sql.execute(parked, ids[:1])
    with pytest.raises(Exhausted):
        await gate.take(room.who.tenant_id)
    clock.move(1.0)
    await gate.take(room.who.tenant_id)
    with pytest.raises(Exhausted) as refused:
        await gate.take(room.who.tenant_id)
    assert refused.value.retry_after == 2.0, "a tenth of the bound at one a second"


async def test_a_changed_bound_is_noticed(room: ServiceRoom):
    await bounded(room, 1)
    clock = ManualClock()
    gate = backlogs(room, clock)
    await gate.take(room.who.tenant_id)
    await bounded(room, 2)
    with pytest.raises(Exhausted):
        await gate.take(room.who.tenant_id)
    clock.move(31)
    await gate.take(room.who.tenant_id)


async def test_while_the_catalog_is_away_what_was_known_holds(
    room: ServiceRoom, monkeypatch: pytest.MonkeyPatch
):
    await bounded(room, 1)
    clock = ManualClock()
    gate = backlogs(room, clock)
    await gate.take(room.who.tenant_id)

    async def away(*_: Any) -> Any:
        raise Unavailable

    monkeypatch.setattr(TenantStore, "settings", away)
    clock.move(31)
    await gate.take(room.who.tenant_id)
    with pytest.raises(Exhausted):
        await gate.take(room.who.tenant_id)
    for _ in range(3):
        await gate.take(make.OTHER_TENANT)


async def test_another_tenant_can_not_see_how_much_is_queued(room: ServiceRoom):
    await room.publish("w")
    await room.enqueue("w")
    records = ExecutionRecords(room.engine.shards)

    assert await records.queued(room.who.tenant_id, 10, spread=False) == 1
    assert await records.queued(make.OTHER_TENANT, 10, spread=False) == 0


async def test_what_is_refused_for_another_reason_takes_no_place(room: ServiceRoom):
    await bounded(room, 1)
    await room.publish("w")
    unknown = EnqueueRequest(workflow_name="nobody")
    large = EnqueueRequest(workflow_name="w", input={"n": "x" * (1 << 20)})

    answers = await room.executions.enqueue_many(room.who, [unknown, large, unknown, REQUEST])
    full = await room.executions.enqueue_many(room.who, [large, REQUEST])

    assert [getattr(one, "reason", None) for one in (*answers, *full)] == [
        "WORKFLOW_NOT_FOUND",
        "INPUT_TOO_LARGE",
        "WORKFLOW_NOT_FOUND",
        None,
        "INPUT_TOO_LARGE",
        "BACKLOG_FULL",
    ]


async def test_what_waits_for_a_concurrency_key_counts(room: ServiceRoom):
    await bounded(room, 2)
    await room.publish("w", concurrency={"limit": 1})
    for _ in range(2):
        await room.enqueue("w")
    gate = backlogs(room, ManualClock())

    with pytest.raises(Exhausted):
        await gate.take(room.who.tenant_id)
