"""I14: what is acknowledged has been flushed to the disk. Counted at the server, not timed; a server told not to wait is the control."""

from __future__ import annotations

import asyncpg
import pytest

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.model.checkpoint import FlushOutcome
from tests import make
from tests.integration.store.conftest import StoreRoom, store_room, until

pytestmark = pytest.mark.chaos

COUNT = 40
SYNCS = {
    True: "select coalesce(sum(fsyncs), 0)::bigint from pg_stat_io where object = 'wal'",
    False: "select wal_sync from pg_stat_wal",
}
METHOD = """
  select case when 'fdatasync' = any (enumvals) then 'fdatasync' else 'fsync' end from pg_settings
   where name = 'wal_sync_method'
"""


@pytest.fixture(params=["on", "off"])
async def waits(request: pytest.FixtureRequest, own_postgres: EmbeddedPostgres) -> str:
    """Whether commits wait for their flush, as the server's later connections have it."""
    connection = await asyncpg.connect(own_postgres.url)
    name = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{name}" set synchronous_commit = {request.param}')
    # Else the background writer flushes for the control, several times a second.
    await connection.execute("alter system set wal_writer_delay = '10s'")
    # Where files are opened so that each write is durable (the default of some systems), no flush is counted.
    method = await connection.fetchval(METHOD)
    await connection.execute(f"alter system set wal_sync_method = '{method}'")
    await connection.execute("select pg_reload_conf()")
    # The server hands it on to its connections after it has read it itself.
    await until(lambda: has_read(connection, method))
    await connection.close()
    return str(request.param)


async def has_read(connection: asyncpg.Connection, method: str) -> bool:
    """Whether the new settings are those of this connection."""
    found = await connection.fetchrow(
        "select current_setting('wal_sync_method'), current_setting('wal_writer_delay')"
    )
    return tuple(found) == (method, "10s")


async def syncs(url: str) -> int:
    """Flushes of the log so far, as told by connections that have ended."""
    connection = await asyncpg.connect(url)
    found = await connection.fetchval(SYNCS[connection.get_server_version().major >= 18])
    await connection.close()
    return int(found)


async def commit(room: StoreRoom) -> None:
    """Accept an execution, own it, checkpoint it: each acknowledged before the next begins."""
    epoch, (execution,) = await room.own()
    for number in range(2, 2 + COUNT):
        [result] = await room.flush(
            1, epoch, make.checkpoint(execution, events=[make.event_row(execution, number)])
        )
        assert result.outcome is FlushOutcome.COMMITTED


@pytest.mark.long
async def test_every_acknowledged_commit_was_flushed(own_postgres: EmbeddedPostgres, waits: str):
    url = own_postgres.url
    before = await syncs(url)

    async with store_room(url) as room:
        await commit(room)

    # Connections hand in what they counted when they end, which is not at once.
    if waits == "on":
        await until(lambda: counted(url, before + COUNT), seconds=20.0)
    else:
        await until(lambda: gone(url), seconds=20.0)
        assert await syncs(url) - before < COUNT


async def counted(url: str, most: int) -> bool:
    return await syncs(url) >= most


async def gone(url: str) -> bool:
    """Whether nobody but this connection is left."""
    connection = await asyncpg.connect(url)
    others = await connection.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()
    return not others
