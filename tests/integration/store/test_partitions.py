"""Making days beside readers and writers: nobody waits for it, and it waits for nobody for long."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from runtime.model.errors import Unavailable
from runtime.store.migrate import migrate, shipped
from tests.integration.store.conftest import StoreRoom

AHEAD = 9


@pytest.fixture
def database_url(databases) -> str:
    """A database of its own: days stay made."""
    return str(databases.clone())


@pytest.fixture
async def other(database_url):
    """Somebody else's session."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "maestro"})
    yield connection
    connection.terminate()


async def test_a_reader_who_stays_does_not_keep_a_day_from_being_made(room: StoreRoom, other):
    async with other.transaction():
        await other.fetch("select count(*) from workflow_executions")

        assert await room.store.make_partitions(days_ahead=AHEAD) == 4


async def test_a_flush_goes_on_while_days_are_made(room: StoreRoom, other):
    making = other.transaction()
    await making.start()
    await other.execute("select mc_make_partitions(current_date + 8, current_date + 12)")

    epoch, ids = await room.own()

    assert (epoch, len(ids)) == (1, 1)
    await making.rollback()


async def test_a_day_that_is_locked_is_given_up_soon(room: StoreRoom, other):
    async with other.transaction():
        await other.execute("lock table step_executions in share update exclusive mode")

        async with asyncio.timeout(4):
            with pytest.raises(Unavailable):
                await room.store.make_partitions(days_ahead=AHEAD)

    assert await room.store.make_partitions(days_ahead=AHEAD) == 4


async def test_a_migration_says_that_somebody_holds_the_tables(room: StoreRoom, other):
    day = await room.sql.fetchval(
        "select to_char((now() at time zone 'UTC')::date + 8, 'YYYYMMDD')"
    )
    await room.sql.execute(f"drop table step_executions_{day}")
    async with other.transaction():
        await other.execute("lock table step_executions in share update exclusive mode")

        with pytest.raises(Unavailable, match="another session holds a lock"):
            await migrate(room.database.url)


async def test_a_day_has_what_its_table_has(room: StoreRoom):
    kinds = "select indisprimary, count(*) from pg_index where indrelid = $1::regclass group by 1 order by 1"
    day = await room.sql.fetchval("select to_char((now() at time zone 'UTC')::date, 'YYYYMMDD')")
    for table in ("workflow_executions", "step_executions", "execution_events", "step_logs"):
        ours = await room.sql.fetch(kinds, f"{table}_{day}")
        assert ours == await room.sql.fetch(kinds, table)


VACUUM = "autovacuum_vacuum_scale_factor=0.05"
OF_DAYS = (
    "select c.reloptions from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " where i.inhparent = 'maestro.workflow_executions'::regclass"
)


async def test_each_day_of_executions_is_vacuumed_when_a_twentieth_is_dead(room: StoreRoom):
    """ADR-010; one that is made from now on as well."""
    made = await room.store.make_partitions(days_ahead=AHEAD)
    days = await room.sql.fetch(OF_DAYS)

    assert made == 4
    assert len(days) > AHEAD
    assert {tuple(day["reloptions"]) for day in days} == {("fillfactor=80", VACUUM)}


async def test_days_that_were_there_before_are_vacuumed_like_new_ones(databases):
    url = databases.empty()
    await migrate(url, migrations=[one for one in shipped() if one.name < "0117"])
    connection = await asyncpg.connect(url)
    before = await connection.fetch(OF_DAYS)

    await migrate(url)

    after = await connection.fetch(OF_DAYS)
    await connection.close()
    assert {tuple(day["reloptions"]) for day in before} == {("fillfactor=80",)}
    assert len(after) == len(before)
    assert {tuple(day["reloptions"]) for day in after} == {("fillfactor=80", VACUUM)}
