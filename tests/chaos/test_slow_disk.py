"""A disk on which every flush takes a tenth of a second: slower answers, and nothing else.

The server itself is told to wait before each flush of its log (`commit_delay`), so that its locks, its group commits and
its clients' waits are those of a slow disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from runtime.embedded.postgres import EmbeddedPostgres
from tests.support.outages import CHAIN, all_end_rightly
from tests.support.processes import Mc
from tests.support.stack import Stack, start_service

pytestmark = [pytest.mark.chaos, pytest.mark.long]

FLUSH_SECONDS = 0.1
COUNT = 100


@pytest.fixture
async def sql(own_postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a server whose later connections all wait for their disk."""
    found = await asyncpg.connect(own_postgres.url)
    name = await found.fetchval("select current_database()")
    for setting in (f"commit_delay = {int(FLUSH_SECONDS * 1e6)}", "commit_siblings = 0"):
        await found.execute(f'alter database "{name}" set {setting}')
    yield found
    await found.close()


async def test_everything_ends_with_its_first_owner_and_commits_are_shared(
    own_postgres: EmbeddedPostgres, sql: asyncpg.Connection, redis_url: str, mc: Mc
):
    slow = await asyncpg.connect(own_postgres.url)
    await slow.execute("create table control (n int)")
    began = time.monotonic()
    await slow.execute("insert into control values (1)")
    assert time.monotonic() - began >= FLUSH_SECONDS
    await slow.close()
    stack = Stack.of_tenant(await start_service(mc, own_postgres.url, redis_url), "acme")
    name = await stack.publish(CHAIN)
    before = await flushes(sql)

    ids = await asyncio.gather(*(stack.enqueue(name, {"n": number}) for number in range(COUNT)))

    await all_end_rightly(stack, ids, seconds=120)
    owners = await sql.fetch("select epoch, takeovers from maestro.workflow_executions")
    assert {(row["epoch"], row["takeovers"]) for row in owners} == {(1, 0)}
    # Each is accepted, runs four steps and ends: flushed one by one, that would be several times as many.
    assert 0 < await flushes(sql) - before < COUNT * 2


async def flushes(sql: asyncpg.Connection) -> int:
    """How often the log was made to reach the disk, by all processes of the server so far."""
    return int(await sql.fetchval("select sum(fsyncs) from pg_stat_io where object = 'wal'"))
