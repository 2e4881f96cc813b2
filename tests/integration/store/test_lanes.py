"""Lanes and tags between connections that stand still in the middle: what one has begun, another one sees or waits for."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from runtime.model.errors import Conflict
from runtime.model.execution import ExecutionStatus
from runtime.store.enqueue import Enqueuer, EnqueueRow
from tests import make
from tests.integration.store.conftest import LEASE, StoreRoom, until

S = ExecutionStatus
WORKFLOW = make.new_id()
DUE = "select id, in_lane from mc_due(0::smallint, $1, $2, $3)"


def lane(key: str = "k", limit: int = 1, on_conflict: str = "queue") -> dict[str, Any]:
    return {"concurrency": {"key": key, "limit": limit, "on_conflict": on_conflict}}


def in_lane(**rule: Any) -> EnqueueRow:
    """A row as the intake writes it."""
    row = make.enqueue_row(workflow=WORKFLOW, meta=lane(**rule))
    return row._replace(meta=orjson.dumps(orjson.loads(row.meta)).decode())


async def waiting(room: StoreRoom, count: int = 1, *, workflow: UUID = WORKFLOW, **rule: Any) -> list[UUID]:  # fmt: skip
    """Executions that wait in one lane, the oldest first."""
    return [
        (await room.enqueuer.enqueue(make.enqueue_row(workflow=workflow, meta=lane(**rule)))).id
        for _ in range(count)
    ]


@pytest.fixture
async def other(database_url: str):
    """A second connection, which is not waited for: whoever waits for it fails."""
    settings = {"search_path": "maestro", "statement_timeout": "3s"}
    connection = await asyncpg.connect(database_url, server_settings=settings)
    yield connection
    await connection.close()


async def workers(room: StoreRoom, tags: list[str] | None = None) -> None:
    for me in (1, 2):
        await room.store.register(0, me, f"host:{me}", LEASE, tags or [])


async def looked(connection: Any, me: int, limit: int = 10) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(DUE, me, 1, limit)]


async def test_a_place_that_is_being_given_is_given_by_nobody_else(room: StoreRoom, other: Any):
    """Without the lock of the lane the second look counts no holder, and passes by the rows that the first has read."""
    await workers(room)
    first, *_ = await waiting(room, 70)
    async with room.sql.transaction():
        assert await looked(room.sql, 1) == [first]

        assert await looked(other, 2) == []

    assert await looked(other, 2) == []


async def test_two_that_are_refused_when_full_are_judged_one_after_the_other(
    room: StoreRoom, other: Any
):
    """The second acceptance waits for the end of the first, which is not committed yet."""
    held = lane(on_conflict="reject")
    insert = (
        "insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, status, namespace, priority, input, meta) "
        "values ($1, 0, $2, $3, $3, 0, 'default', 0, '{}', $4::text::jsonb)"
    )
    transaction = room.sql.transaction()
    await transaction.start()
    await room.sql.execute(
        insert, make.new_id(), make.TENANT, WORKFLOW, orjson.dumps(held).decode()
    )
    second = asyncio.create_task(
        room.enqueuer.enqueue(make.enqueue_row(workflow=WORKFLOW, meta=held))
    )

    async def is_waited_for() -> bool:
        found = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        return second.done() or bool(await other.fetchval(found))

    await until(is_waited_for)
    assert not second.done()
    await transaction.commit()

    with pytest.raises(Conflict, match="may be open at once"):
        await second


async def test_batches_that_meet_in_other_orders_lock_lanes_in_one(room: StoreRoom):
    """Else each would hold a lane that the other one waits for."""
    keys = [f"k{n}" for n in range(20)]
    rows = [in_lane(key=key, limit=100, on_conflict="reject") for key in (*keys, *reversed(keys))]
    second = Enqueuer(room.database, 0, metrics=room.metrics)
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    for _ in range(5):
        found = await asyncio.gather(
            room.enqueuer.enqueue_many([_again(row) for row in rows[:20]]),
            second.enqueue_many([_again(row) for row in rows[20:]]),
        )
        assert not [one for part in found for one in part if isinstance(one, Exception)]
    await second.close()
    await room.sql.execute("select pg_stat_clear_snapshot()")
    assert await room.sql.fetchval(deadlocks) == 0


async def test_who_is_being_changed_is_asked_to_end_with_the_next_look(room: StoreRoom, other: Any):
    first, second, _ = await waiting(room, 3, on_conflict="cancel_oldest")
    async with room.sql.transaction():
        await room.sql.execute("select 1 from workflow_executions where id = $1 for update", first)

        assert await other.fetchval("select mc_lanes_trim(0::smallint)") == [second]

    assert await other.fetchval("select mc_lanes_trim(0::smallint)") == [first]


async def test_many_are_asked_to_end_five_hundred_at_a_time(room: StoreRoom):
    rows = [
        make.enqueue_row(workflow=WORKFLOW, meta=lane(on_conflict="cancel_oldest"))
        for _ in range(700)
    ]
    await room.enqueuer.enqueue_many(rows)

    told = [len(await room.store.trim_lanes(0)) for _ in range(3)]

    assert told == [500, 199, 0]


async def test_what_is_to_be_cancelled_for_a_newer_one_does_not_begin(room: StoreRoom):
    await workers(room)
    *_, newest = await waiting(room, 3, on_conflict="cancel_oldest")

    assert await looked(room.sql, 1) == [newest]


async def test_what_runs_out_of_time_in_its_lane_ends_without_a_place(room: StoreRoom):
    await workers(room)
    holder, late, next_one = await waiting(room, 3)
    assert await looked(room.sql, 1) == [holder]
    await room.sql.execute(
        "update workflow_executions set deadline = now() - interval '1 second' where id = $1", late
    )

    found = await room.sql.fetch(DUE, 2, 1, 10)

    assert [tuple(row) for row in found] == [(late, False)]
    await room.sql.execute(
        "update workflow_executions set status = 7, owner = null where id = $1", late
    )
    assert await looked(room.sql, 2) == [], "the holder has its place still"
    await room.sql.execute(
        "update workflow_executions set status = 2, owner = null where id = $1", holder
    )
    assert await looked(room.sql, 2) == [next_one]


async def test_a_lane_with_many_places_leaves_room_for_others(room: StoreRoom):
    """Whose workflow is older came first, for as long as it had somebody."""
    await workers(room)
    await waiting(room, 6, limit=100)
    await waiting(room, 6, limit=100, key="another")
    (alone,) = await waiting(room, 1, workflow=make.new_id(), limit=1)

    assert alone in await looked(room.sql, 1, limit=3)


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED, S.DEAD_LETTERED, S.TIMED_OUT])  # fmt: skip
async def test_every_end_frees_the_place(room: StoreRoom, status: ExecutionStatus):
    await workers(room)
    first, second = await waiting(room, 2)
    assert await looked(room.sql, 1) == [first]
    for kept in (S.QUEUED, S.WAITING, S.RUNNING):
        owner = 1 if kept is S.RUNNING else None
        await room.sql.execute(
            "update workflow_executions set status = $2, owner = $3 where id = $1", first, int(kept), owner
        )  # fmt: skip
        assert await looked(room.sql, 2) == [], kept

    await room.sql.execute(
        "update workflow_executions set status = $2, owner = null where id = $1", first, int(status)
    )

    assert await looked(room.sql, 2) == [second]


async def test_lanes_of_other_namespaces_and_tenants_are_others(room: StoreRoom):
    """A workflow belongs to one namespace of one tenant, and a lane to one workflow."""
    await workers(room)
    (mine,) = await waiting(room)
    theirs = make.enqueue_row(
        workflow=make.new_id(), tenant=make.OTHER_TENANT, meta=lane(), namespace="apart"
    )
    await room.enqueuer.enqueue(theirs)

    assert set(await looked(room.sql, 1)) == {mine, theirs.id}


async def test_who_waits_for_other_tags_is_not_looked_at(room: StoreRoom):
    """A look reads the sets of tags that somebody waits for, not everybody who waits."""
    await workers(room, ["eu"])
    ids = await room.queue(1_001)
    sets = ['{"tags": [["gpu"]]}'] * 1_000 + ['{"tags": [["gpu"], ["eu"]]}']
    await room.sql.execute(
        "insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data) "
        "select 0, 5, 2, i, $3, now(), d::jsonb from unnest($1::uuid[], $2::text[]) x (i, d)",
        ids, sets, make.TENANT,
    )  # fmt: skip
    await room.sql.execute("update workflow_executions set status = 3, wait = 10")
    pages: list[int] = []
    for _ in range(2):  # The first look is planned, which reads pages too.
        transaction = room.sql.transaction()
        await transaction.start()
        plan = await room.sql.fetchval(
            "explain (analyze, buffers, format json) " + DUE.replace("$1, $2, $3", "1, 1, 10")
        )
        pages.append(orjson.loads(plan)[0]["Plan"]["Shared Hit Blocks"])
        await transaction.rollback()

    assert await looked(room.sql, 1) == ids[-1:]
    assert pages[1] < 1_500


def _again(row: Any) -> Any:
    return row._replace(id=make.new_id())


async def test_a_flood_of_what_is_refused_costs_the_others_of_its_batch_little(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
):
    """Halved until each of them stood alone, forty that are refused had the batch sent some eighty times."""
    held = [in_lane(key=f"k{n}", on_conflict="reject") for n in range(40)]
    await room.enqueuer.enqueue_many(held)
    keyed = make.enqueue_row(workflow=WORKFLOW, meta=lane("once", on_conflict="reject"), key="i")
    known = await room.enqueuer.enqueue(keyed)
    calls, call = [], room.enqueuer._call

    async def counted(rows: list[EnqueueRow]) -> Any:
        calls.append(len(rows))
        return await call(rows)

    monkeypatch.setattr(room.enqueuer, "_call", counted)
    others = [make.enqueue_row() for _ in range(40)]
    new = [in_lane(key="new", limit=2, on_conflict="reject") for _ in range(4)]
    queue = in_lane(key="k1")
    rows = [*map(_again, held), *others, _again(keyed), _again(keyed), *new, queue]

    found = await room.enqueuer.enqueue_many(rows)

    assert len(calls) <= 3
    refused = [isinstance(one, Conflict) for one in found]
    assert refused == [True] * 40 + [False] * 42 + [False, False, True, True] + [False]
    assert [one.id for one in found[80:82] if not isinstance(one, Exception)] == [known.id] * 2
    assert f"key 'k3' may be open at once, and as many are: {held[3].id}." in str(found[3])
    assert f"{new[0].id}, {new[1].id}" in str(found[84])
