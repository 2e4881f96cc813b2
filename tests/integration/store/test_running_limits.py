"""Limits on running executions: never more than may, whoever makes them run; what has no place waits in the queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from runtime.store.births import Births, Newborn, Offer
from runtime.store.enqueue import Enqueuer
from tests import make
from tests.integration.store.conftest import LEASE, StoreRoom, until

WORKFLOW = make.new_id()


@pytest.fixture
async def other(database_url: str):
    settings = {"search_path": "maestro", "statement_timeout": "5s"}
    connection = await asyncpg.connect(database_url, server_settings=settings)
    yield connection
    await connection.close()


async def of_tenant(room: StoreRoom, most: Any, *, spread: bool = False) -> None:
    await room.sql.execute(
        "insert into tenants (id, name, settings, spread) values ($1, 'limited', $2, $3)",
        make.TENANT, json.dumps({"max_running": most}), spread,
    )  # fmt: skip


async def of_workflow(room: StoreRoom, most: int) -> None:
    await room.sql.execute(
        "insert into workflows (id, tenant_id, name, created_by, max_running) values ($1, $2, 'w', '{}', $3)",
        WORKFLOW, make.TENANT, most,
    )  # fmt: skip


async def workers(room: StoreRoom) -> None:
    for me in (1, 2):
        await room.store.register(0, me, f"host:{me}", LEASE)


async def claimed(room: StoreRoom, me: int, ids: list[UUID]) -> list[UUID]:
    return sorted(one.id for one in await room.store.claim(0, me, 1, ids))


async def queued(room: StoreRoom, count: int = 1, **fields: Any) -> list[UUID]:
    """The oldest first."""
    return sorted(await room.queue(count, **fields))


async def park(room: StoreRoom, id: UUID, wake: str | None = None) -> None:
    await room.sql.execute(
        "update workflow_executions set status = 3, owner = null, wait = 0, wake_at = now() + $2::text::interval where id = $1",
        id, wake,
    )  # fmt: skip


async def test_those_of_a_tenant_run_as_many_at_once_as_may(room: StoreRoom):
    await of_tenant(room, 2)
    await workers(room)
    ids = await queued(room, 4)

    assert await claimed(room, 1, ids) == ids[:2]
    assert await claimed(room, 2, ids) == []
    await park(room, ids[0], "1 hour")
    assert await claimed(room, 2, ids) == ids[2:3], "what is parked has given its place back"


async def test_those_of_a_workflow_count_by_themselves_and_with_those_of_the_tenant(
    room: StoreRoom,
):
    await of_tenant(room, 3)
    await of_workflow(room, 1)
    await workers(room)
    limited = await queued(room, 3, workflow=WORKFLOW)
    free = await queued(room, 3)

    assert await claimed(room, 1, [*limited, *free]) == sorted([limited[0], *free[:2]])


async def test_others_go_by_no_limit(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    mine, theirs = await queued(room, 2), await queued(room, 2, tenant=make.OTHER_TENANT)

    assert set(await claimed(room, 1, [*mine, *theirs])) == {mine[0], *theirs}


@pytest.mark.parametrize("most", [0, -1, "two", None, 1e300])
async def test_what_is_no_limit_limits_nothing(room: StoreRoom, most: Any):
    await of_tenant(room, most)
    await workers(room)
    ids = await queued(room, 2)

    assert await claimed(room, 1, ids) == ids


async def test_two_workers_that_claim_at_once_count_one_after_the_other(
    room: StoreRoom, other: Any
):
    """Without the lock the second counts nobody: the first has not committed."""
    await of_tenant(room, 1)
    await workers(room)
    first, second = await queued(room, 2)
    transaction = room.sql.transaction()
    await transaction.start()
    took = "select id from mc_claim_2(0::smallint, $1, 1, $2)"
    assert [row["id"] for row in await room.sql.fetch(took, 1, [first])] == [first]
    asked = asyncio.create_task(claimed(room, 2, [second]))

    async def is_waited_for() -> bool:
        found = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        return asked.done() or bool(await other.fetchval(found))

    await until(is_waited_for)
    await transaction.commit()

    assert await asked == []


async def test_what_has_a_limit_is_not_born_running(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    told: list[Any] = []

    def offer(wanted: int) -> Offer:
        return Offer(1, 1, wanted, told.append)

    births = Births()
    births.join(0, offer)
    enqueuer = Enqueuer(room.database, 0, metrics=room.metrics, births=births)
    rows = [make.enqueue_row(), make.enqueue_row(tenant=make.OTHER_TENANT)]

    found = await enqueuer.enqueue_many(rows)
    await enqueuer.close()

    assert [one.born for one in found if not isinstance(one, Exception)] == [False, True]
    assert [[type(one) for one in born] for born in told] == [[Newborn]]


async def test_a_time_that_has_come_waits_for_a_place_in_the_queue(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    first, second = await queued(room, 2)
    await claimed(room, 1, [first])
    await park(room, second, "-1 second")

    assert await room.store.due(0, 2, 1, 10) == []

    row = await room.row(second)
    assert (row["status"], row["wait"], row["wake_at"]) == (0, None, None)
    await park(room, first, "1 hour")
    assert await claimed(room, 2, [second]) == [second]


async def test_a_place_in_a_lane_is_not_given_to_whom_the_limit_holds_up(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    (first,) = await queued(room)
    await claimed(room, 1, [first])
    meta = {"concurrency": {"key": "k", "limit": 1, "on_conflict": "queue"}}
    (waits,) = await queued(room, meta=meta)

    assert await room.store.due(0, 2, 1, 10) == []
    assert not (await room.row(waits))["in_lane"]
    await park(room, first, "1 hour")
    assert [one.id for one in await room.store.due(0, 2, 1, 10)] == [waits]


async def test_what_is_to_end_needs_no_place(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    first, second, third, fourth = await queued(room, 4)
    await claimed(room, 1, [first])
    change = "update workflow_executions set {} where id = $1"
    await room.sql.execute(change.format("cancel_requested = true"), second)
    await room.sql.execute(change.format("deadline = now() - interval '1 second'"), third)

    assert await claimed(room, 2, [second, third, fourth]) == [second, third]


async def test_a_suspect_has_no_place_before_others(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    first, second = await queued(room, 2)
    await claimed(room, 1, [first])
    await room.sql.execute("update workflow_executions set takeovers = 2 where id = $1", second)

    assert await room.store.claim_alone(0, 2, 1) == []
    await park(room, first, "1 hour")
    assert [one.id for one in await room.store.claim_alone(0, 2, 1)] == [second]


async def test_who_takes_over_keeps_the_places_of_the_lost(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    first, second = await queued(room, 2)
    await claimed(room, 1, [first])
    await room.expire(1)
    assert await claimed(room, 2, [second]) == []
    await room.store.bury(0, 2)

    taken = await room.store.takeover(0, 2, 1, 10)

    assert [one.id for one in taken.owned] == [first]
    assert await claimed(room, 2, [second]) == []


async def test_a_spread_tenant_has_a_part_in_each_shard(room: StoreRoom):
    await of_tenant(room, 8, spread=True)
    await workers(room)
    ids = await queued(room, 4)
    await room.sql.execute("update shards set total = 4")
    try:
        assert await claimed(room, 1, ids) == ids[:2]
    finally:
        await room.sql.execute("update shards set total = 1")


async def test_the_dispatcher_hands_out_what_there_is_a_place_for(room: StoreRoom):
    await of_tenant(room, 3)
    await of_workflow(room, 1)
    await workers(room)
    limited = await queued(room, 2, workflow=WORKFLOW)
    free = await queued(room, 4)
    await claimed(room, 1, limited[:1])

    async def handed() -> list[UUID]:
        found = await room.store.queued(0, older_than_seconds=-1, per_tenant=64, limit=64)
        assert all(one.is_limited for one in found)
        return [one.id for one in found]

    assert await handed() == free[:2], "the workflow has none, the tenant two"
    assert await room.store.held_back(0) == 1
    await claimed(room, 1, free)
    assert await handed() == []
    await park(room, limited[0], "1 hour")
    assert await handed() == [limited[1]]


async def test_without_limits_nothing_is_counted(room: StoreRoom):
    (execution,) = await queued(room)

    [found] = await room.store.queued(0, older_than_seconds=-1, per_tenant=64, limit=64)

    assert (found.id, found.is_limited) == (execution, False)
    assert await room.store.held_back(0) == 0


async def test_the_parts_of_a_spread_tenant_add_up_to_its_limit(room: StoreRoom):
    await of_tenant(room, 10, spread=True)
    asked = "select most from mc_limits_of($1::smallint, array[$2::uuid], '{}')"
    transaction = room.sql.transaction()
    await transaction.start()
    try:
        await room.sql.execute("update shards set total = 4")
        await room.sql.execute(
            "insert into shards (shard, total) select x, 4 from generate_series(1, 3) x"
        )
        parts = [await room.sql.fetchval(asked, shard, make.TENANT) for shard in range(4)]
    finally:
        await transaction.rollback()

    assert parts == [3, 3, 2, 2]


async def suspected(room: StoreRoom, count: int = 1, **fields: Any) -> list[UUID]:
    ids = await queued(room, count, **fields)
    await room.sql.execute(
        "update workflow_executions set takeovers = 2 where id = any($1::uuid[])", ids
    )
    return ids


async def test_who_looks_for_suspects_takes_the_locks_in_the_order_of_everybody(
    room: StoreRoom, other: Any
):
    """By the age of the suspects he would hold the lock of the later workflow and wait for that of the earlier one."""
    earlier, later = sorted((make.new_id(), make.new_id()))
    await of_tenant(room, 100)
    await workers(room)
    for workflow in (later, earlier):
        await room.sql.execute(
            "insert into workflows (id, tenant_id, name, created_by, max_running) values ($1, $2, $3, '{}', 1)",
            workflow, make.TENANT, str(workflow),
        )  # fmt: skip
        await claimed(room, 1, await queued(room, workflow=workflow))
        await suspected(room, workflow=workflow)
    transaction = room.sql.transaction()
    await transaction.start()
    await room.sql.execute(
        "select pg_advisory_xact_lock(hashtextextended('0/' || $1::text, 7263010))", str(earlier)
    )
    asked = asyncio.create_task(room.store.claim_alone(0, 2, 1))
    waits = "select pid from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())"

    async def is_waiting() -> bool:
        return bool(await other.fetchval(waits))

    await until(is_waiting)
    held = "select count(*) from pg_locks where locktype = 'advisory' and granted and pid = $1 and objid <> 0"
    later_key = "select hashtextextended('0/' || $1::text, 7263010)"
    key = await other.fetchval(later_key, str(later)) & 0xFFFFFFFF
    mine = await other.fetchval(f"{held} and objid = $2", await other.fetchval(waits), key)
    await transaction.rollback()

    assert await asked == []
    assert mine == 0


async def test_suspects_without_a_place_hide_no_others(room: StoreRoom):
    await of_tenant(room, 1)
    await workers(room)
    flow = make.new_id()
    await claimed(room, 1, await queued(room))
    await suspected(room, 25, workflow=flow)
    (theirs,) = await suspected(room, tenant=make.OTHER_TENANT)

    assert [one.id for one in await room.store.claim_alone(0, 2, 1)] == [theirs]


@pytest.mark.parametrize(
    "change", ["cancel_requested = true", "deadline = now() - interval '1 second'"]
)
async def test_what_is_to_end_is_handed_out_while_a_limit_holds_up_its_queue(
    room: StoreRoom, change: str
):
    await of_tenant(room, 1)
    await workers(room)
    first, ends, waits = await queued(room, 3)
    await claimed(room, 1, [first])
    await room.sql.execute(f"update workflow_executions set {change} where id = $1", ends)

    found = await room.store.queued(0, older_than_seconds=-1, per_tenant=64, limit=64)

    assert [one.id for one in found] == [ends]
    assert await claimed(room, 2, [ends, waits]) == [ends]


async def tagged(room: StoreRoom, count: int, **fields: Any) -> list[UUID]:
    ids = await queued(room, count, **fields)
    await room.sql.execute(
        "insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data) "
        "select e.shard, 5, 2, e.id, e.tenant_id, now(), $2 from workflow_executions e where e.id = any($1::uuid[])",
        ids, json.dumps({"tags": [["gpu"]]}),
    )  # fmt: skip
    await room.sql.execute(
        "update workflow_executions set status = 3, wait = 10 where id = any($1::uuid[])", ids
    )
    return ids


async def test_who_waits_for_tags_stands_not_behind_what_a_limit_holds_up(room: StoreRoom):
    await of_tenant(room, 2)
    await workers(room)
    await room.store.register(0, 3, "host:3", LEASE, tags=("gpu",))
    await claimed(room, 1, await queued(room))
    mine = await tagged(room, 10)
    theirs = await tagged(room, 3, tenant=make.OTHER_TENANT)

    assert sorted(one.id for one in await room.store.due(0, 3, 1, 4)) == [mine[0], *theirs]
    assert await room.store.due(0, 3, 1, 4) == []
