"""Connections are handed on without the pool, and nobody notices but the clock."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from runtime.store import lending
from runtime.store.faults import Busy
from runtime.store.lending import Lender
from runtime.store.pool import Database, EngineConnection, TenantConnection
from tests import make


@pytest.fixture
async def pool(database_url):
    made = await asyncpg.create_pool(
        database_url, min_size=0, max_size=2, connection_class=EngineConnection
    )
    yield made
    made.terminate()


async def test_what_came_back_is_handed_to_the_next_one_without_the_pool(pool):
    lender = Lender(pool, 5)
    first = await lender.take()
    await lender.give(first, is_sound=True)

    assert await lender.take() is first
    assert pool.get_idle_size() == 0


async def test_who_waits_is_served_when_another_gives_back(pool):
    lender = Lender(pool, 5)
    taken = [await lender.take() for _ in range(2)]
    waiting = asyncio.create_task(lender.take())
    while not lender._waiting:
        await asyncio.sleep(0)

    await lender.give(taken[0], is_sound=True)

    assert await (await waiting).fetchval("select 1") == 1
    with pytest.raises(Busy):
        await Lender(pool, 0.01).take()


@pytest.mark.parametrize("is_sound", [True, False])
async def test_an_open_transaction_is_never_handed_on(pool, *, is_sound):
    lender = Lender(pool, 5)
    first = await lender.take()
    await first.execute("begin")
    await lender.give(first, is_sound=is_sound)

    second = await lender.take()

    assert second is not first
    assert not second.is_in_transaction()


async def test_what_was_interrupted_goes_through_the_pool(pool):
    lender = Lender(pool, 5)
    first = await lender.take()
    with suppress(TimeoutError):
        await first.fetchval("select pg_sleep(30)", timeout=0.01)
    await lender.give(first, is_sound=False)

    assert lender._ready == []
    assert await (await lender.take()).fetchval("select 1") == 1


async def test_who_was_broken_off_before_a_statement_ran_leaves_no_transaction(
    database_url, monkeypatch
):
    """asyncpg sends a statement to be prepared without a sync: the server is in a transaction that it does not know."""
    prepare = TenantConnection._get_statement

    async def broken_off(self, *arguments, **more):
        await prepare(self, *arguments, **more)
        raise asyncio.CancelledError

    database = await Database.open(database_url, api_connections=1)
    try:
        with monkeypatch.context() as patch, suppress(asyncio.CancelledError):
            async with database.tenant(make.TENANT) as connection:
                patch.setattr(TenantConnection, "_get_statement", broken_off)
                await connection.fetchval("select count(*) from workflows")

        async with (
            database.tenant(make.TENANT) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            assert await connection.fetchval("select 1") == 1
    finally:
        await database.close()


async def test_what_the_server_has_ended_is_not_handed_on(pool, room):
    lender = Lender(pool, 5)
    first = await lender.take()
    process = await first.fetchval("select pg_backend_pid()")
    await lender.give(first, is_sound=True)
    await room.sql.execute("select pg_terminate_backend($1)", process)
    while pool.get_size():
        await asyncio.sleep(0.01)

    assert await (await lender.take()).fetchval("select 1") == 1


async def test_after_a_while_all_go_back_to_the_pool(pool, monkeypatch):
    monkeypatch.setattr(lending, "_KEPT_SECONDS", 0.01)
    lender = Lender(pool, 5)
    await lender.give(await lender.take(), is_sound=True)

    while not pool.get_idle_size():
        await asyncio.sleep(0.01)

    assert lender._ready == []


async def test_closing_waits_for_what_is_lent_and_closes_what_is_kept(pool):
    lender = Lender(pool, 5)
    kept, lent = await lender.take(), await lender.take()
    await lender.give(kept, is_sound=True)
    closing = asyncio.create_task(lender.close())
    while not pool.is_closing():
        await asyncio.sleep(0)
    assert not closing.done()

    await lender.give(lent, is_sound=True)
    await closing

    assert pool.get_size() == 0


async def test_a_database_whose_connections_are_all_kept_still_answers(room):
    async def one() -> None:
        async with room.database.engine() as connection:
            await connection.fetchval("select pg_sleep(0.01)")

    await asyncio.gather(*(one() for _ in range(20)))

    await room.database.ping(seconds=1)


async def test_a_connection_that_ends_while_it_goes_back_is_back(pool):
    lender = Lender(pool, 5)
    connection = await lender.take()
    raw = connection._con
    await lender.give(connection, is_sound=True)

    # In this order: our word, the end, the pool's look.
    closing = asyncio.ensure_future(lender.close())
    asyncio.get_running_loop().call_soon(raw.terminate)

    await closing
