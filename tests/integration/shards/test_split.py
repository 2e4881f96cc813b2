"""From one shard in one database to four in two: nothing is lost, everything goes on where its id says."""

from __future__ import annotations

import asyncpg
import pytest

from runtime.bootstrap import open_runtime
from runtime.model.errors import SetupError
from runtime.model.execution import ExecutionFilter
from runtime.model.human_task import HumanTaskFilter, NewHumanTask
from runtime.model.page import PageRequest
from runtime.model.shard_map import ShardMap
from runtime.store.migrate import migrate_all
from tests.integration.shards.test_two_databases import in_their_places, large_input
from tests.support.counters import miscounted
from tests.support.servers import Databases
from tests.support.sharded import SHARDS, TOTAL, Sharded, map_of, settings_of, sharded

WAITS = [
    {"id": "a", "uses": "core.noop@1"},
    {"id": "b", "uses": "core.sleep@1", "with": {"duration": "300ms"}, "depends_on": ["a"]},
]

LARGE = {"text": "x" * 40_000}


@pytest.fixture
def whole(databases: Databases) -> str:
    """A database of one shard, for this test alone."""
    return databases.clone()


async def run(url: str, *statements: str) -> None:
    """An operator's statements, each a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


PAY = NewHumanTask("Pay?")
CLOSE = (
    "begin; select 1 from maestro.shards for update; update maestro.shards set open = false; commit"
)


async def test_a_database_is_divided(whole, databases, redis_url, home):
    single = settings_of(ShardMap.single(whole), redis_url, home)
    async with open_runtime(single) as rt:
        before = Sharded(rt)
        callers = [await before.caller(shard) for shard in range(TOTAL)]
        async with before.crew():
            for who in callers:
                await before.publish(who, steps=WAITS)
            done = [
                (await before.enqueue(who, idempotency_key="k", labels={"a": "b"}, input=LARGE)).id
                for who in callers
            ]
            for who, one in zip(callers, done, strict=True):
                assert await before.ended(who, one) == ["completed"]
        await before.rows(
            0,
            "insert into event_cursors (handler, stream, shard, kinds, xact)"
            " values ('h', 'execution', 0, -1, pg_current_xact_id())",
        )
        left = [(await before.enqueue(who)).id for who in callers]
        tasks = [
            (await before.rt.services.human_tasks.create(who, PAY, key="k")).id for who in callers
        ]
        # An owner that is gone without a word: what he ran is taken over afterwards.
        await before.rows(
            0,
            "with w as (insert into workers (id, shard, lease_until, host)"
            " values (7, 0, now() - interval '1 s', 'gone:1') returning id)"
            " update workflow_executions e set status = 1, owner = w.id, epoch = 1 from w where e.id = $1",
            left[2],
        )

    with pytest.raises(asyncpg.RaiseError, match="close every shard first"):
        await run(whole, "call maestro.mc_reshard(4)")
    await run(whole, CLOSE, "call maestro.mc_reshard(4)", "call maestro.mc_reshard(4)")
    parts = (whole, databases.copy(whole))
    with pytest.raises(SetupError, match="holds executions of shard"):
        await migrate_all(map_of(parts))
    for url, shards in zip(parts, SHARDS, strict=True):
        await run(url, f"call maestro.mc_keep_shards('{{{shards[0]}, {shards[1]}}}')")
    assert await migrate_all(map_of(parts)) == ()

    async with sharded(parts, redis_url, home) as room:
        assert await in_their_places(room) > 50
        refs = [await room.rows(n, "select shard from blob_refs order by 1") for n in (0, 1)]
        assert [tuple(row["shard"] for row in rows) for rows in refs] == list(SHARDS)
        assert [
            await large_input(room, who, one) for who, one in zip(callers, done, strict=True)
        ] == [LARGE] * TOTAL
        told = "select distinct c.shard from event_feed f join event_cursors c using (shard)"
        for number, shards in enumerate(SHARDS):
            assert {row["shard"] for row in await room.rows(number, told)} == set(shards)
        for url in parts:
            await run(url, "update maestro.shards set open = true")
        async with room.crew(), room.schedulers():
            for who, first, second in zip(callers, done, left, strict=True):
                assert await room.ended(who, second) == ["completed"]
                again = await room.enqueue(who, idempotency_key="k", labels={"a": "b"}, input=LARGE)
                assert again.id == first
                page = await room.rt.services.executions.list(
                    who, ExecutionFilter(labels=(("a", "b"),)), PageRequest(5)
                )
                assert [one.id for one in page.items] == [first]
            for who, task in zip(callers, tasks, strict=True):
                service = room.rt.services.human_tasks
                assert (await service.create(who, PAY, key="k")).id == task
                listed = await service.list(who, HumanTaskFilter(mine=True), PageRequest(5))
                assert [one.id for one in listed.items] == [task]
                assert (await service.complete(who, task, "approved")).version == 2
                assert len((await service.history(who, task, PageRequest(5))).items) == 2
            new = [(await room.enqueue(who)).id for who in callers]
            for who, one in zip(callers, new, strict=True):
                assert await room.ended(who, one) == ["completed"]
        assert await in_their_places(room) > 90
    for url in parts:
        connection = await asyncpg.connect(url)
        assert await miscounted(connection) == []
        await connection.close()


async def test_a_shard_is_moved_to_a_third_database(databases, redis_url, home):
    """Beside databases that are not touched; afterwards three of them are one service."""
    pair = tuple(databases.clone(shards, TOTAL) for shards in SHARDS)
    async with sharded(pair, redis_url, home) as before:
        spread = await before.caller(0, spread=True)
        callers = [await before.caller(shard) for shard in range(1, TOTAL)]
        async with before.crew():
            await before.publish(spread)
            for who in callers:
                await before.publish(who, steps=WAITS)
            everywhere = [
                (await before.enqueue(spread, idempotency_key=f"{n}")).id for n in range(24)
            ]
            assert set(await before.ended(spread, *everywhere)) == {"completed"}
        left = [(await before.enqueue(who, idempotency_key="k", input=LARGE)).id for who in callers]

    west = pair[1]
    await run(west, CLOSE)
    north = databases.copy(west)
    await run(west, "call maestro.mc_keep_shards('{2}')")
    await run(north, "call maestro.mc_keep_shards('{3}')")
    three, shards = (*pair, north), ((0, 1), (2,), (3,))
    with pytest.raises(SetupError, match="does not hold shard 3"):
        await migrate_all(map_of(pair))
    assert await migrate_all(map_of(three, shards)) == ()

    async with sharded(three, redis_url, home, shards) as room:
        assert await in_their_places(room) > 100
        for url in three:
            await run(url, "update maestro.shards set open = true")
        async with room.crew(), room.schedulers():
            for who, one in zip(callers, left, strict=True):
                assert await room.ended(who, one) == ["completed"]
                assert await large_input(room, who, one) == LARGE
                assert (await room.enqueue(who, idempotency_key="k", input=LARGE)).id == one
            new = [(await room.enqueue(spread, idempotency_key=f"new {n}")).id for n in range(24)]
            assert set(await room.ended(spread, *new)) == {"completed"}
        seen, cursor = [], None
        while cursor != "":
            page = await room.rt.services.executions.list(
                spread, ExecutionFilter(), PageRequest(7, cursor)
            )
            seen += [one.id for one in page.items]
            cursor = page.cursors[-1] if page.has_next else ""
        assert seen == sorted([*everywhere, *new], reverse=True)
        where = "select count(*) from workflow_executions where tenant_id = $1"
        assert all([(await room.rows(n, where, spread.tenant_id))[0]["count"] for n in range(3)])


async def test_shards_only_become_more_and_a_power_of_two(whole):
    await run(whole, CLOSE)
    for number in (3, 0, 8192):
        with pytest.raises(asyncpg.RaiseError, match="power of two"):
            await run(whole, f"call maestro.mc_reshard({number})")
    with pytest.raises(asyncpg.RaiseError, match="not here"):
        await run(whole, "call maestro.mc_keep_shards('{1}')")


async def test_workers_must_have_left(whole):
    await run(
        whole,
        CLOSE,
        "insert into maestro.workers (id, shard, lease_until, host)"
        " values (1, 0, now() + interval '1 hour', 'here:1')",
    )
    with pytest.raises(asyncpg.RaiseError, match="workers are still at work"):
        await run(whole, "call maestro.mc_reshard(2)")
