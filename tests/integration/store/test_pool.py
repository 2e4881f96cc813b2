"""Two roles, row security as a wall of its own, and no tenant that leaks through a connection."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from runtime.model.errors import SetupError, Unavailable
from runtime.store.execution import ExecutionStore
from runtime.store.faults import Busy
from runtime.store.log import LogRow, LogWriter
from runtime.store.migrate import migrate
from runtime.store.pool import Database, refuse_old
from tests import make
from tests.make import OTHER_TENANT, TENANT

SECURED = [
    "bulk_operations",
    "bulk_results",
    "workflows",
    "workflow_versions",
    "workflow_executions",
    "step_executions",
    "execution_events",
    "step_logs",
    "execution_inbox",
    "execution_labels",
    "execution_deltas",
    "execution_counts",
    "execution_day_counts",
    "human_tasks",
    "human_task_events",
    "human_task_people",
    "idempotency_keys",
    "domain_events",
    "dead_letters",
    "event_failures",
    "legal_holds",
    "version_provenance",
    "workflow_records",
]


async def _fill(room, tenant):
    """A row in every table that the face can read."""
    await room.sql.execute(
        "insert into workflows (id, tenant_id, name, created_by) values ($1, $2, 'w', '{}')",
        tenant,
        tenant,
    )
    await room.sql.execute(
        "insert into workflow_versions (id, tenant_id, workflow_id, version, version_order, digest, source, source_format,"
        " definition, published_by) values ($1, $1, $1, '1.0.0', '1', 'd', '', 'json', '{}', '{}')",
        tenant,
    )
    await room.sql.execute(
        "insert into domain_events (tenant_id, noun, id, seq, kind, actor) values ($1, 'workflow', $1, 1, 'created', '{}')",
        tenant,
    )
    me = tenant.int % 1000
    epoch, (execution,) = await room.own(me, tenant=tenant, key="k", labels={"a": "b"})
    await room.flush(
        me, epoch, make.checkpoint(execution, steps=[make.step_row(execution, tenant=tenant)])
    )
    await room.sql.execute(
        "insert into execution_counts values ($1, $1, now(), 2, 1, 'default', $1, now(), '', 1, 0)",
        tenant,
    )
    await room.sql.execute(
        "insert into execution_day_counts values ($1, $1, now(), 2, 1, 'default', $1, now(), '', 1, 0)",
        tenant,
    )
    await room.sql.execute(
        "insert into step_logs values (0, 1, $1, $2, 0, -1, 0, 1, now(), 'info', 'm', null)",
        execution,
        tenant,
    )
    await room.sql.execute(
        "insert into execution_inbox (shard, n, execution_id, tenant_id, kind, data) values (0, 1, $1, $2, 1, '{}')",
        execution,
        tenant,
    )
    await room.sql.execute(
        "insert into version_provenance (version_id, tenant_id, workflow_id, version, digest, source_digest, source_format, actor)"
        " values ($1, $1, $1, '1.0.0', 'd', 's', 'json', '{}') on conflict do nothing",
        tenant,
    )
    await room.sql.execute(
        "insert into dead_letters (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)"
        " values ($1, 0, 0, $2, 'r', '{}', 3, '{}')",
        execution,
        tenant,
    )
    await room.sql.execute(
        "insert into event_failures (handler, stream, shard, tenant_id, noun, id, seq, kind, reason, attempts, error)"
        " values ('h', 's', 0, $1, 'n', $1, 1, 'k', 'r', 1, 'e')",
        tenant,
    )
    await room.sql.execute(
        "insert into bulk_operations (id, tenant_id, deed, filter, digest, selected, total, actor, expires_at)"
        " values ($1, $1, '{}', '{}', '', '{}', 0, '{}', now())",
        tenant,
    )
    await _fill_tasks(room, tenant)
    await room.sql.execute(
        "insert into bulk_results (operation_id, position, tenant_id, execution_id, outcome) values ($1, 1, $1, $1, 0)",
        tenant,
    )
    await room.sql.execute(
        "insert into legal_holds (tenant_id, scope, id, reason, actor) values ($1, 'workflow', $1, 'r', 'a')",
        tenant,
    )


async def _fill_tasks(room, tenant):
    await room.sql.execute(
        "insert into human_tasks (shard, status, id, tenant_id, version, priority, closed_to, state)"
        " values (0, 0, $1, $1, 1, 0, '{}', '{}')",
        tenant,
    )
    await room.sql.execute(
        "insert into human_task_events (shard, task_id, seq, tenant_id, kind, at, actor, before, after)"
        " values (0, $1, 1, $1, 'created', now(), '{}', '{}', '{}')",
        tenant,
    )
    await room.sql.execute(
        "insert into human_task_people values (0, $1, $1, 'anyone', false)", tenant
    )


async def test_whatever_names_a_tenant_and_can_be_read_is_judged_here(room):
    readable = await room.sql.fetch(
        "select relname, relkind::text, relrowsecurity, reloptions from pg_class c"
        " where relnamespace = 'maestro'::regnamespace and relkind in ('r', 'p', 'v', 'm')"
        " and has_any_column_privilege('mc_api', c.oid, 'select') and exists (select from pg_attribute"
        " where attrelid = c.oid and attname = 'tenant_id' and not attisdropped)"
    )

    assert {row["relname"] for row in readable} == set(SECURED)
    for row in readable:
        is_view = row["relkind"] == "v" and "security_invoker=true" in (row["reloptions"] or ())
        assert row["relrowsecurity"] or is_view, row["relname"]


@pytest.mark.parametrize("table", SECURED)
async def test_reads_without_a_tenant_predicate_show_one_tenant(room, table):
    await _fill(room, TENANT)
    await _fill(room, OTHER_TENANT)

    async with room.database.tenant(TENANT) as connection:
        seen = {
            row["tenant_id"] for row in await connection.fetch(f"select tenant_id from {table}")
        }

    assert seen == {TENANT}


@pytest.mark.parametrize("setting", ["reset mc.tenant", "set mc.tenant = ''"])
async def test_unset_tenant_sees_no_rows(room, setting):
    await _fill(room, TENANT)
    await room.sql.execute(f"set role mc_api; {setting}")

    assert await room.count("workflow_executions") == 0


async def test_face_sees_its_own_tenant_row_only(room):
    await room.sql.execute(
        "insert into tenants (id, name) values ($1, 'one'), ($2, 'two')", TENANT, OTHER_TENANT
    )

    async with room.database.tenant(TENANT) as connection:
        names = [row["name"] for row in await connection.fetch("select name from tenants")]

    assert names == ["one"]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into workflows (id, tenant_id, name, created_by) values (gen_random_uuid(), $1, 'w', '{}')",
        "insert into domain_events (tenant_id, noun, id, seq, kind, actor) values ($1, 'w', $1, 1, 'k', '{}')",
    ],
)
async def test_face_cannot_write_for_another_tenant(room, statement):
    async with room.database.tenant(TENANT) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement, OTHER_TENANT)


@pytest.mark.parametrize(
    "statement",
    [
        "update workflow_executions set status = 2",
        "delete from workflow_versions",
        "select * from workers",
        "select epoch from workers",
        "select data from execution_inbox",
        "select mc_bury(0::smallint, 1)",
        "select * from mc_claim(0::smallint, 1, 1, '{}')",
        "select mc_make_partitions(current_date, current_date)",
        "insert into migrations (name, sha256) values ('x', 'y')",
    ],
)
async def test_face_cannot_act_as_engine(room, statement):
    async with room.database.tenant(TENANT) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_daily_partitions_are_no_way_around(room):
    (execution,) = await room.queue()
    partition = await room.sql.fetchval(
        "select tableoid::regclass::text from workflow_executions where id = $1", execution
    )

    async with room.database.tenant(OTHER_TENANT) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"select * from {partition}")


async def test_a_published_version_never_changes(room):
    await _fill(room, TENANT)

    async with room.database.tenant(TENANT) as connection:
        with pytest.raises(asyncpg.PostgresError, match="never changes"):
            await connection.execute("update workflow_versions set source = 'other'")


async def test_many_tenants_on_few_connections_with_cancellations(database_url, room):
    tenants = [make.new_id() for _ in range(200)]
    await room.sql.executemany(
        "insert into workflows (id, tenant_id, name, created_by) values ($1, $1, 'w', '{}')",
        [(tenant,) for tenant in tenants],
    )
    chance = random.Random(7)
    database = await Database.open(database_url, api_connections=4)

    async def read(tenant):
        async with database.tenant(tenant) as connection:
            seen = await connection.fetch(
                "select tenant_id, pg_sleep($1) from workflows", chance.random() / 500
            )
            assert [row["tenant_id"] for row in seen] == [tenant]

    async def request(tenant):
        task = asyncio.create_task(read(tenant))
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() / 50)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None if task.cancelled() else task.exception()

    try:
        found = await asyncio.gather(*(request(chance.choice(tenants)) for _ in range(1_000)))
    finally:
        await database.close()

    assert not [error for error in found if error]


async def test_an_interrupted_setting_counts_as_unset(room):
    async with room.database.tenant(TENANT) as connection:
        attempt = asyncio.create_task(connection.serve(OTHER_TENANT))
        await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)

        assert connection.tenant is None


async def test_setting_is_sent_only_when_the_tenant_changes(database_url):
    database = await Database.open(database_url, api_connections=1)
    statements = []

    async with database.tenant(TENANT) as connection:
        connection.add_query_logger(lambda record: statements.append(record.query))
        async with asyncio.timeout(2):
            await connection.serve(TENANT)
            await connection.serve(OTHER_TENANT)
    await database.close()

    assert len([query for query in statements if "set_config" in query]) == 1


async def test_an_open_transaction_is_not_handed_on(database_url):
    database = await Database.open(database_url, api_connections=1)
    with pytest.raises(RuntimeError, match="midway"):
        async with database.tenant(TENANT) as connection, connection.transaction():
            raise RuntimeError("midway")

    async with database.tenant(TENANT) as connection:
        assert not connection.is_in_transaction()
    await database.close()


async def test_open_refuses_a_role_that_bypasses_row_security(databases, room):
    url = databases.clone()
    connection = await asyncpg.connect(url)
    await connection.execute("alter table maestro.workflows disable row level security")
    await connection.close()

    with pytest.raises(SetupError, match="bypasses row security on workflows") as caught:
        await Database.open(url)

    assert caught.value.reason == "ROW_SECURITY_BYPASSED"


async def test_open_refuses_a_face_that_is_superuser(databases, room):
    url = databases.clone()
    await room.sql.execute("alter role mc_api bypassrls")
    try:
        with pytest.raises(SetupError, match="mc_api bypasses row security"):
            await Database.open(url)
    finally:
        await room.sql.execute("alter role mc_api nobypassrls")


async def test_open_names_a_database_without_schema(databases):
    with pytest.raises(SetupError) as caught:
        await Database.open(databases.empty())

    assert caught.value.reason == "NOT_MIGRATED"


async def test_open_names_a_server_that_is_not_there():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x does not answer"):
        await Database.open("postgresql://user:hidden@127.0.0.1:1/x")


async def test_old_postgres_is_refused_by_name():
    class Old:
        def get_server_version(self):
            return asyncpg.types.ServerVersion(15, 4, 0, "final", 0)

    with pytest.raises(SetupError, match=r"PostgreSQL 15\.4; 16 or newer"):
        refuse_old(Old())


async def test_pool_recovers_when_the_server_cuts_connections(room):
    async with room.database.tenant(TENANT) as connection:
        await connection.fetchval("select 1")
    await room.sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )

    for _ in range(20):
        try:
            await room.database.ping()
            break
        except Unavailable:
            continue

    async with room.database.tenant(TENANT) as connection:
        assert await connection.fetchval("select current_user") == "mc_api"


async def test_a_plain_login_user_is_enough(databases, room):
    url = databases.empty()
    admin = await asyncpg.connect(url)
    name = f"plain_{make.new_id().hex[:8]}"
    await admin.execute(f"create role {name} login createrole password 'secret'")
    await admin.execute(f"grant create on database {urlsplit(url).path[1:]} to {name}")
    await admin.execute(f"grant mc_api, mc_engine to {name} with admin option")
    await admin.close()
    place = urlsplit(url).netloc.rpartition("@")[2]
    as_plain = urlunsplit(urlsplit(url)._replace(netloc=f"{name}:secret@{place}"))
    await migrate(as_plain)

    database = await Database.open(as_plain)

    await database.ping()
    await database.close()


async def test_a_rush_of_callers_leaves_the_worker_its_connections(database_url):
    database = await Database.open(database_url, engine_connections=1, acquire_seconds=0.2)

    async with database.engine():
        with pytest.raises(Busy):
            async with database.engine():
                pass
        async with database.worker() as connection:
            assert await connection.fetchval("select 1") == 1
    await database.close()


async def test_a_claim_waits_for_a_connection_more_than_once(database_url):
    database = await Database.open(database_url, worker_connections=1, acquire_seconds=0.2)
    store = ExecutionStore(database)
    epoch = await store.register(0, 1, "host:1", 60.0)

    async with database.worker():
        claiming = asyncio.create_task(store.due(0, 1, epoch, 5))
        await asyncio.wait([claiming], timeout=0.3)

    assert await claiming == []
    await database.close()


async def test_a_claim_passes_a_row_by_that_another_session_holds(room):
    epoch = await room.store.register(0, 1, "host:1", 60.0)
    held, free = await room.queue(2)
    async with room.sql.transaction():
        await room.sql.execute("select 1 from workflow_executions where id = $1 for update", held)

        async with asyncio.timeout(2):
            owned = await room.store.claim(0, 1, epoch, [held, free])

    assert [one.id for one in owned] == [free]


async def test_a_server_that_takes_no_writes_counts_as_gone(room):
    async with room.database.engine() as connection:
        await connection.execute("set default_transaction_read_only = on")
    try:
        with pytest.raises(Unavailable):
            async with room.database.engine() as connection:
                await connection.execute("delete from outbox")
    finally:
        async with room.database.engine() as connection:
            await connection.execute("reset default_transaction_read_only")


async def test_the_log_writer_ends_although_nobody_takes_its_lines(database_url):
    database = await Database.open(database_url, engine_connections=1)
    writer = LogWriter(database, 0, wakeup_publish=lambda _: None)
    writer.write(LogRow(TENANT, make.new_id(), 0, -1, 0, 1, "info", "said", None))

    async with asyncio.timeout(3), database.engine():
        await writer.close(0.2)
    await database.close()
