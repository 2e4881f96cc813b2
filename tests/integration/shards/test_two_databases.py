"""A shard map of two databases: everything that one database gives, each execution whole in its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from runtime.clock import SystemClock
from runtime.model.blob import BlobKey, BlobRef
from runtime.model.errors import IdempotencyConflict, SetupError, Unavailable
from runtime.model.event import EventKind
from runtime.model.execution import EnqueueRequest, ExecutionFilter, ExecutionOrder
from runtime.model.execution_stats import StatsFilter
from runtime.model.ids import SLOTS, make_uuid7
from runtime.model.page import PageRequest
from runtime.model.values import Digest
from runtime.scheduler.blobs import BlobRelease
from runtime.scheduler.days import Days
from runtime.store.blob import BlobRetention
from runtime.store.catalog_copy import CatalogCopies
from runtime.store.retention import DroppedDay, DueDay
from runtime.store.shards import Shards
from runtime.telemetry.metrics import Metrics
from tests.support.processes import eventually
from tests.support.sharded import TOTAL, map_of

OF_EXECUTIONS = {
    "human_tasks": "id",
    "human_task_events": "task_id",
    "human_task_people": "task_id",
    "workflow_executions": "id",
    "step_executions": "execution_id",
    "execution_events": "execution_id",
    "execution_inbox": "execution_id",
    "execution_labels": "execution_id",
    "step_logs": "execution_id",
    "dead_letters": "execution_id",
    "idempotency_keys": "result_id",
    "blob_refs": "execution_id",
}
WAITS = [{"id": "one", "uses": "core.sleep@1", "with": {"duration": "60s"}}]
SAYS = [{"id": "one", "uses": "probe.chatty@1", "with": {"lines": 2}}]
ALL = ExecutionFilter()
OLDEST = ExecutionOrder(descending=False)

LARGE: Any = {"text": "x" * 40_000}
OLD = datetime.now(UTC) - timedelta(days=40)


async def in_their_places(room) -> int:
    """How many rows there are; each lies in the shard of its id, and in the database of that shard (I15)."""
    count = 0
    for number, place in enumerate(room.rt.shards.map.places):
        for table, key in OF_EXECUTIONS.items():
            where = (
                " where operation similar to '%(execution|human_task)'"
                if key == "result_id"
                else ""
            )
            for row in await room.rows(number, f"select {key} as id, shard from {table}{where}"):
                count += 1
                assert row["shard"] == room.rt.shards.shard_of(row["id"]), (table, dict(row))
                assert row["shard"] in place.shards, (table, dict(row))
    return count


async def test_executions_of_all_shards_run_each_in_its_own_database(room):
    callers = [await room.caller(shard) for shard in range(TOTAL)]
    async with room.crew():
        for who in callers:
            await room.publish(who)
        made = [
            [
                (await room.enqueue(who, labels={"n": str(n)}, idempotency_key=f"k{n}")).id
                for n in range(5)
            ]
            for who in callers
        ]
        ends = [await room.ended(who, *ids) for who, ids in zip(callers, made, strict=True)]

    assert ends == [["completed"] * 5] * TOTAL
    counts = [await room.rows(n, "select count(*) from workflow_executions") for n in (0, 1)]
    assert [found[0]["count"] for found in counts] == [10, 10]
    assert await in_their_places(room) > 100
    for who, ids in zip(callers, made, strict=True):
        page = await room.rt.services.executions.list(who, ALL, PageRequest(10))
        assert [one.id for one in page.items] == ids[::-1]
        assert (await room.rt.services.executions.find_by_key(who, "k3")).id == ids[3]
        labelled = replace(ALL, labels=(("n", "2"),), workflow_name=("w",), version="1.0.0")
        page = await room.rt.services.executions.list(who, labelled, PageRequest(10))
        assert [one.id for one in page.items] == [ids[2]]


async def test_a_spread_tenant_has_executions_everywhere_and_one_list(room):
    who = await room.caller(0, spread=True)
    executions = room.rt.services.executions
    async with room.crew():
        await room.publish(who)
        answers = await executions.enqueue_many(
            who, [EnqueueRequest(workflow_name="w", idempotency_key=f"key {n}") for n in range(40)]
        )
        ids = [answer.execution.id for answer in answers]
        assert set(await room.ended(who, *ids)) == {"completed"}

    assert {room.rt.shards.shard_of(one) for one in ids} == set(range(TOTAL))
    assert await in_their_places(room) > 200
    seen, cursor = [], None
    while True:
        page = await executions.list(who, ALL, PageRequest(7, cursor))
        seen += [one.id for one in page.items]
        if not page.has_next:
            break
        cursor = page.cursors[-1]
    assert seen == sorted(ids, reverse=True)
    oldest = await executions.list(who, ALL, PageRequest(5), order=OLDEST)
    assert [one.id for one in oldest.items] == sorted(ids)[:5]
    assert await executions.count(who, ALL) == (40, False)
    assert await executions.count(who, ALL, 10) == (10, True)
    stats = await room.rt.services.stats.stats(who, StatsFilter(), None)
    assert sum(stats.counts.values()) == 40
    assert stats.silent == ()
    assert set(await executions.get_many(who, ids)) == set(ids)
    assert len(await executions.steps(who, ids)) == 40


async def large_input(room, who, one) -> object:
    """The input of an execution, wherever it lies."""
    found = await room.rt.services.executions.find(who, one)
    assert isinstance(found.input, BlobRef)
    return await room.rt.services.artifacts.value(who, one, found.input)


async def test_large_values_are_known_where_their_executions_are(room):
    who = await room.caller(0, spread=True)
    say = "{{ params.text }}{{ params.text }}"
    steps = [{"id": "one", "uses": "core.set@1", "with": {"said": say}}]
    await room.publish(who, steps=steps, params={"text": "string"})
    executions, artifacts = room.rt.services.executions, room.rt.services.artifacts
    async with room.crew():
        answers = await executions.enqueue_many(
            who,
            [
                EnqueueRequest(workflow_name="w", idempotency_key=f"key {n}", input=LARGE)
                for n in range(20)
            ],
        )
        ids = [answer.execution.id for answer in answers]
        assert set(await room.ended(who, *ids)) == {"completed"}

    assert await in_their_places(room) > 100
    refs = [await room.rows(n, "select execution_id from blob_refs") for n in (0, 1)]
    assert all(refs)
    assert {row["execution_id"] for rows in refs for row in rows} == set(ids)
    assert sum(map(len, refs)) == 2 * len(ids)
    for one in ids:
        assert await large_input(room, who, one) == LARGE
        said = b"".join(
            [piece async for piece in (await artifacts.output(who, one, "one")).content]
        )
        assert len(said) > 80_000


async def test_each_database_releases_blobs_of_its_own_executions_only(room):
    who = await room.caller(0, spread=True)
    raw = b'"the same everywhere"'
    for slot in (0, SLOTS - 1):
        one = make_uuid7(unix_ms=int(OLD.timestamp() * 1000), slot=slot, noise=slot)
        await room.rt.blobs.put(who.tenant_id, one, raw, str(Digest.of(raw)))
    for number in (0, 1):
        await room.rows(
            number,
            "insert into retention_days (day, as_of, policy, state) values ($1, $1, '', 3)",
            OLD.date(),
        )

    store = room.rt.blobs.store
    left = [BlobKey(who.tenant_id, slot, str(Digest.of(raw))) for slot in (0, SLOTS - 1)]
    for number, gone in enumerate(left):
        duty = BlobRelease(BlobRetention(room.rt.shards.databases[number], store), room.rt.metrics)
        assert await duty.run() == 1
        assert await store.size(gone) is None
        assert [await store.size(key) for key in left[number + 1 :]] == [len(raw)] * (1 - number)
        assert not await room.rows(number, "select 1 from blob_refs")


async def test_a_key_gives_the_first_answer_again_wherever_it_lies(room):
    for who in (await room.caller(0, spread=True), await room.caller(3)):
        await room.publish(who)
        first = await room.enqueue(who, idempotency_key="once", input={"a": 1})

        again = await room.rt.services.executions.enqueue(
            who, EnqueueRequest(workflow_name="w", idempotency_key="once", input={"a": 1})
        )

        assert (again.execution.id, again.created) == (first.id, False)
        with pytest.raises(IdempotencyConflict):
            await room.enqueue(who, idempotency_key="once", input={"a": 2})
        assert (await room.rt.services.executions.find_by_key(who, "once")).id == first.id


async def test_events_and_logs_are_followed_from_the_other_database(room):
    who = await room.caller(3)
    await room.publish(who, steps=SAYS)
    executions = room.rt.services.executions
    one = (await room.enqueue(who)).id

    async def kinds() -> list[EventKind]:
        return [event.kind async for event in executions.watch(who, one)]

    async def lines() -> list[str]:
        return [line.message async for line in executions.follow_logs(who, one)]

    async with room.crew(), asyncio.timeout(30):
        seen, said = await asyncio.gather(kinds(), lines())

    assert seen[0] is EventKind.EXECUTION_QUEUED
    assert seen[-1] is EventKind.EXECUTION_COMPLETED
    assert said == ["a line"] * 2


async def test_cancel_and_retry_reach_their_shard(room):
    who = await room.caller(2)
    await room.publish(who, steps=WAITS)
    executions = room.rt.services.executions
    one = (await room.enqueue(who)).id
    async with room.crew():
        await eventually(lambda: is_running(room, who, one))
        await executions.messages.cancel(who, one, reason="enough", key="stop")
        assert await room.ended(who, one) == ["cancelled"]
        await executions.messages.cancel(who, one, reason="enough", key="stop")
        await executions.retry(who, one, key="again")
        await executions.retry(who, one, key="again")
        await eventually(lambda: is_running(room, who, one))
        await executions.messages.cancel(who, one)
        await room.ended(who, one)

    assert (await executions.find(who, one)).generation == 1
    assert await in_their_places(room) > 8


async def is_running(room, who, one) -> bool:
    found = await room.rt.services.executions.find(who, one)
    return found is not None and found.status.name == "RUNNING"


@pytest.mark.long
async def test_a_killed_worker_is_replaced_in_its_own_database(room):
    callers = [await room.caller(shard) for shard in (1, 2)]
    for who in callers:
        await room.publish(
            who, steps=[{"id": "one", "uses": "core.sleep@1", "with": {"duration": "2s"}}]
        )
    ids = [(await room.enqueue(who)).id for who in callers]
    first = room.rt.make_crew()
    task = asyncio.create_task(first.run())
    for who, one in zip(callers, ids, strict=True):
        await eventually(partial(is_running, room, who, one))

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with room.crew():
        for who, one in zip(callers, ids, strict=True):
            assert await room.ended(who, one) == ["completed"]

    for number in (0, 1):
        assert (await room.rows(number, "select max(epoch) from workflow_executions"))[0]["max"] > 1
    assert await in_their_places(room) > 8


async def test_what_nobody_was_told_of_is_swept_in_every_shard(room):
    callers = [await room.caller(shard) for shard in range(TOTAL)]
    for who in callers:
        await room.publish(who)
    ids = [(await room.enqueue(who)).id for who in callers]
    await room.rt.link.client.flushdb()

    async with room.crew(), room.schedulers():
        ends = [await room.ended(who, one) for who, one in zip(callers, ids, strict=True)]

    assert ends == [["completed"]] * TOTAL


async def test_two_processes_share_the_shards_of_each_database(room, pair, redis_url, home):
    who = await room.caller(0, spread=True)
    await room.publish(who)
    async with room.crew() as one, room.crew() as other:
        # Of one name, hence one process to the roster: both serve everything.
        await eventually(lambda: len(one.workers) == len(other.workers) == TOTAL)
        ids = [(await room.enqueue(who)).id for _ in range(30)]
        assert set(await room.ended(who, *ids)) == {"completed"}


async def test_a_database_with_other_shards_is_refused(pair):
    swapped = map_of(pair[::-1])

    with pytest.raises(
        SetupError, match=r"holds shards 2, 3 of 4, and should hold shards 0, 1 of 4"
    ):
        await Shards.open(swapped)


async def test_copies_of_the_catalog_reach_the_other_database(room):
    who = await room.caller(3)
    await room.publish(who)
    await room.rows(
        0, "update workflows set retention_days = 400 where tenant_id = $1", who.tenant_id
    )
    await room.rows(
        0,
        "insert into legal_holds (tenant_id, scope, id, reason, actor)"
        " select tenant_id, 'workflow', id, 'case', 'ann' from workflows",
    )

    async def copied() -> bool:
        versions = await room.rows(1, "select version from workflow_versions")
        holds = await room.rows(
            1, "select w.retention_days from legal_holds h join workflows w on w.id = h.id"
        )
        return [tuple(row) for row in versions + holds] == [("1.0.0",), (400,)]

    async with room.schedulers():
        await eventually(copied)
        await room.rows(0, "delete from legal_holds")
        await eventually(lambda: is_gone(room, "legal_holds"))


class Exchanging:
    """A day of the other database that is to be exchanged; meanwhile somebody sets a hold in the catalog."""

    def __init__(self, room) -> None:
        self.room = room
        self.setting: asyncio.Task[Any] | None = None
        self.was_set: list[bool] = []

    async def due(self):
        return [DueDay(OLD.date(), datetime.now(UTC).date(), "", is_exchanged=False)]

    async def watch(self, _due):
        return True

    async def copy(self, _due):
        return 0

    async def catch_up(self, _due):
        return 0

    async def exchange(self, _due):
        hold = (
            "insert into legal_holds (tenant_id, scope, id, reason, actor)"
            " select tenant_id, 'workflow', id, 'case', 'ann' from workflows"
        )
        self.setting = asyncio.create_task(self.room.rows(0, hold))
        waits = (
            "select 1 from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()"
            " where l.locktype = 'advisory' and not l.granted"
        )
        while not self.setting.done() and not await self.room.rows(0, waits):
            await asyncio.sleep(0)
        self.was_set.append(self.setting.done())
        return True

    async def sweep(self, *_):
        return None, 0

    async def outcome(self, _due):
        return DroppedDay(0, 0, 0)

    def close(self) -> None:
        """Nothing was opened."""


async def test_a_hold_waits_for_the_exchange_of_a_day_in_another_database(room):
    """Else it would be accepted while what it names goes."""
    who = await room.caller(3)
    await room.publish(who)
    shards = room.rt.shards
    copies = CatalogCopies(shards.catalog, shards.database(3))
    store: Any = Exchanging(room)

    await Days(store, Metrics(), SystemClock(), copies=copies).run()

    assert store.was_set == [False]
    await store.setting
    await copies.refresh()
    assert len(await room.rows(1, "select 1 from legal_holds")) == 1


async def test_an_exchange_does_not_queue_for_who_is_just_setting_a_hold(room):
    """Whoever comes next would queue behind it, for as long as one transaction stays open."""
    shards = room.rt.shards
    copies = CatalogCopies(shards.catalog, shards.database(3))

    async with shards.catalog.engine() as other, other.transaction():
        await other.execute("select pg_advisory_xact_lock_shared(7263003)")
        with pytest.raises(Unavailable) as caught:
            await copies.still().__aenter__()

    assert isinstance(caught.value.__cause__, asyncpg.LockNotAvailableError)


async def test_an_exchange_that_lost_the_catalog_is_broken_off(room, monkeypatch):
    """Holds are accepted again from then on."""
    monkeypatch.setattr("runtime.store.catalog_copy.BEAT_SECONDS", 0.01)
    shards = room.rt.shards
    copies = CatalogCopies(shards.catalog, shards.database(3))
    end = (
        "select pg_terminate_backend(l.pid, 5000) from pg_locks l join pg_database d on d.oid = l.database"
        " where d.datname = current_database() and l.locktype = 'advisory' and l.objid = 7263003"
    )

    async def exchange() -> None:
        async with copies.still():
            assert len(await room.rows(0, end)) == 1
            await asyncio.Event().wait()

    with pytest.raises(Unavailable):
        await asyncio.wait_for(exchange(), 30)


async def test_a_deleted_draft_is_gone_from_the_copies_too(room):
    who = await room.caller(3)
    insert = (
        "insert into workflows (id, tenant_id, name, created_by) values ($1, $2, 'draft', '{}')"
    )
    await room.rows(0, insert, who.tenant_id, who.tenant_id)

    async def copied() -> bool:
        return not await is_gone(room, "workflows")

    async with room.schedulers():
        await eventually(copied)
        await room.rows(0, "delete from workflows")
        await eventually(lambda: is_gone(room, "workflows"))


async def is_gone(room, table) -> bool:
    return not await room.rows(1, f"select 1 from {table}")
