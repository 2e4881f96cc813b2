"""An old day is replaced by what must be kept of it: what stays, what goes, and that no moment in between loses anything."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus
from runtime.scheduler.days import Days
from runtime.store.retention import RetentionStore
from tests.support.counters import miscounted
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

AGE = 40
DAY = datetime.now(UTC).date() - timedelta(days=AGE)
SUFFIX = f"{DAY:%Y%m%d}"
TABLES = ("workflow_executions", "step_executions", "execution_events", "step_logs")
CHILDREN = ("step_executions", "execution_events", "step_logs", "execution_labels")
WORKFLOW = UUID("01930000-0000-7000-8000-00000000cccc")

MAKE = """
with made as (insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, status, created_at, finished_at)
  values ($1, 0, $2, $3, $3, $4::int::smallint, $5::timestamptz, case when $4::int in (0, 1, 3) then null else $5::timestamptz + make_interval(days => $6) end) returning id, created_at),
 step as (insert into step_executions (shard, status, step, execution_id, tenant_id, attempt, generation, item, started_at, finished_at, result)
  select 0, 6, 0, id, $2, 1, 0, -1, created_at, created_at, '{"output": 1, "cost": "0.5 EUR"}' from made),
 event as (insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts) select 0, 1, 1, id, $2, created_at from made),
 line as (insert into step_logs (shard, position, execution_id, tenant_id, step, item, generation, attempt, ts, level, message)
  select 0, 1, id, $2, 0, -1, 0, 1, created_at, 'info', 'x' from made),
 label as (insert into execution_labels (tenant_id, shard, key, value, execution_id) select $2, 0, 'k', 'v', id from made)
insert into idempotency_keys (tenant_id, operation, key, shard, body_digest, result_id, created_at)
  select $2, 'enqueue_execution', id::text, 0, '', id, created_at from made"""


class Old:
    """Executions of an old day, written as they would lie there."""

    def __init__(self, room: EngineRoom) -> None:
        self.room = room
        self.store = RetentionStore(room.database, default_days=30)
        self.days = Days(self.store, room.metrics, room.clock)

    async def made(
        self, status=2, *, tenant=TENANT, workflow=WORKFLOW, ended_after=0, day=DAY
    ) -> UUID:
        """An execution that ended so many days after its start."""
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        one = self.room.entropy.uuid7(int(at.timestamp() * 1000))
        await self.room.sql.execute(MAKE, one, tenant, workflow, status, at, ended_after)
        return one

    async def left(self) -> set[UUID]:
        """The executions of the day that are there; asserts that all of their rows are."""
        found = {r["id"] for r in await self.room.sql.fetch("select id from workflow_executions")}
        for table in CHILDREN:
            rows = await self.room.sql.fetch(f"select execution_id from {table}")
            assert {row["execution_id"] for row in rows} == found, table
        keys = await self.room.sql.fetch("select result_id from idempotency_keys")
        assert {row["result_id"] for row in keys} == found
        assert await miscounted(self.room.sql) == []
        return found

    async def prepared(self):
        """The day, up to the moment before the exchange."""
        (due,) = await self.store.due()
        assert await self.store.watch(due)
        await self.store.copy(due)
        return due


@pytest.fixture
async def old(room: EngineRoom):
    """The day, empty, with a workflow; afterwards as if it had never been."""
    await room.sql.execute("select mc_make_partitions($1, $1)", DAY)
    await room.sql.execute(
        "insert into tenants (id, name) values ($1, 'test') on conflict do nothing", TENANT
    )
    await room.sql.execute(
        "insert into workflows (id, tenant_id, name, created_by) values ($1, $2, 'w', '{}')",
        WORKFLOW, TENANT,
    )  # fmt: skip
    made = Old(room)
    yield made
    made.store.close()
    for table in TABLES:
        name = f"{table}_{SUFFIX}"
        await room.sql.execute(f"drop table if exists {name}, maestro_days.{name}")


async def test_tasks_go_with_their_executions_and_stay_with_those_that_stay(old: Old):
    gone, stays = await old.made(2), await old.made(3)
    for execution in (gone, stays):
        await old.room.sql.execute(
            "with t as (insert into human_tasks (shard, status, id, tenant_id, version, priority, execution_id, step, generation, closed_to, state)"
            " values (0, 0, $1, $2, 1, 0, $1, 0, 0, '{}', '{}')), p as (insert into human_task_people values (0, $1, $2, 'anyone', false))"
            " insert into human_task_events values (0, $1, 1, $2, 'created', now(), '{}', '{}', '{}', null)",
            execution,
            TENANT,
        )

    await old.days.run()

    for table, key in (
        ("human_tasks", "id"),
        ("human_task_events", "task_id"),
        ("human_task_people", "task_id"),
    ):
        assert [r[0] for r in await old.room.sql.fetch(f"select {key} from {table}")] == [stays], (
            table
        )


async def test_a_day_that_has_served_its_time_goes_with_all_that_belongs_to_it(old: Old):
    for status in (2, 4, 5, 6, 7):
        await old.made(status)

    assert await old.days.run() == 5

    assert await old.left() == set()
    assert (
        await old.room.sql.fetchval(f"select to_regclass('workflow_executions_{SUFFIX}')") is None
    )
    assert old.room.metrics.executions_dropped._value.get() == 5
    assert old.room.metrics.bytes_freed._value.get() > 0


@pytest.mark.parametrize("status", [0, 3], ids=["queued", "waiting"])
async def test_what_has_not_ended_stays_where_it_was(old: Old, status: int):
    ended, lives = await old.made(), await old.made(status)
    before = await old.room.row(lives)

    assert await old.days.run() == 1

    assert await old.left() == {lives} != {ended}
    assert await old.room.row(lives) == before


async def test_what_ended_late_is_kept_from_its_end(old: Old):
    await old.made(ended_after=AGE - 31)
    late = await old.made(ended_after=AGE - 29)

    await old.days.run()

    assert await old.left() == {late}


async def test_a_tenant_says_how_long_and_a_workflow_says_it_more_closely(old: Old):
    other = UUID(int=7)
    await old.room.sql.execute(
        "update tenants set settings = '{\"retention_days\": 90}' where id = $1", TENANT
    )
    await old.room.sql.execute(
        "insert into workflows (id, tenant_id, name, created_by, retention_days) values ($1, $2, 'x', '{}', 10)",
        other, TENANT,
    )  # fmt: skip
    kept, _ = await old.made(), await old.made(workflow=other)

    assert await old.days.run() == 1

    assert await old.left() == {kept}


@pytest.mark.parametrize("scope", ["execution", "workflow"])
async def test_what_is_held_stays_until_it_is_let_go(old: Old, scope: str):
    held, _ = await old.made(), await old.made(workflow=UUID(int=8))
    await hold(old, scope, held if scope == "execution" else WORKFLOW)

    await old.days.run()
    assert await old.left() == {held}

    await old.room.sql.execute("delete from legal_holds")
    await old.days.run()
    assert await old.left() == set()


async def test_a_hold_on_what_is_gone_is_refused(old: Old):
    gone = await old.made()
    await old.days.run()

    with pytest.raises(asyncpg.PostgresError, match="there is no execution"):
        await hold(old, "execution", gone)


@pytest.mark.parametrize("settings", ['{"retention_days": 0}', '{"retention_days": "ten"}'])
async def test_a_setting_that_means_nothing_is_refused(old: Old, settings: str):
    with pytest.raises(asyncpg.CheckViolationError):
        await old.room.sql.execute("update tenants set settings = $1::jsonb", settings)


async def test_a_young_day_and_a_day_that_was_looked_at_are_left_alone(old: Old):
    await old.made(3)

    assert [due.day for due in await old.store.due()] == [DAY]
    await old.days.run()

    assert await old.store.due() == []


async def test_the_day_is_the_same_table_as_before_to_everybody_else(old: Old):
    await old.made(3)
    await old.made()
    before = await shape(old)

    await old.days.run()

    assert await shape(old) == before


@pytest.mark.parametrize("steps_before_the_crash", range(6))
async def test_killed_between_any_two_statements_it_is_begun_again(
    old: Old, steps_before_the_crash: int
):
    ended, lives = await old.made(), await old.made(3)
    (due,) = await old.store.due()
    steps = (
        lambda: old.store.watch(due),
        lambda: old.store.copy(due),
        lambda: old.store.catch_up(due),
        lambda: old.store.exchange(due),
        lambda: old.store.sweep(due, None, 1),
    )
    for step in steps[:steps_before_the_crash]:
        await step()
    await old.room.sql.execute("update workflow_executions set priority = 9 where id = $1", lives)

    await old.days.run()

    assert await old.left() == {lives} != {ended}
    assert (await old.room.row(lives))["priority"] == 9
    assert await old.room.sql.fetchval("select state from retention_days") == 3


@pytest.mark.parametrize("caught_up", [False, True])
async def test_what_changed_after_the_copy_is_copied_again(old: Old, caught_up: bool):
    lives, retried, ends = await old.made(3), await old.made(4), await old.made(3)
    due = await old.prepared()

    await old.room.retry(retried)
    await old.room.sql.execute("update workflow_executions set inbox = 3 where id = $1", lives)
    await old.room.sql.execute(
        "update workflow_executions set status = 2, finished_at = created_at where id = $1", ends
    )
    if caught_up:
        assert await old.store.catch_up(due) == 3
    assert await old.store.exchange(due)
    await old.days.run()

    assert {r["id"] for r in await old.room.sql.fetch("select id from workflow_executions")} == {
        lives,
        retried,
    }
    assert (await old.room.row(lives))["inbox"] == 3
    assert (await old.room.row(retried))["generation"] == 1
    assert await old.room.sql.fetchval(
        "select count(*) from execution_events where execution_id = $1 and kind = 11", retried
    ) == 1  # fmt: skip


async def test_a_hold_between_copy_and_exchange_counts(old: Old):
    held, _ = await old.made(), await old.made()
    due = await old.prepared()

    await hold(old, "execution", held)

    assert not await old.store.exchange(due)
    await old.days.run()
    assert await old.left() == {held}


async def test_a_reader_in_the_way_is_not_waited_for_and_nothing_has_changed(old: Old):
    one = await old.made()
    due = await old.prepared()
    async with old.room.sql.transaction():
        await old.room.sql.fetch("select id from workflow_executions")
        with pytest.raises(Unavailable):
            await old.store.exchange(due)
    assert await old.left() == {one}

    assert await old.store.exchange(due)


async def test_a_day_that_is_being_vacuumed_keeps_no_other_day(old: Old, database_url: str):
    later = DAY + timedelta(days=1)
    await old.room.sql.execute("select mc_make_partitions($1, $1)", later)
    one, _ = await old.made(), await old.made(day=later)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            # The lock of a vacuum, for which one has to wait.
            await other.execute(
                f"lock table maestro.step_executions_{SUFFIX} in share update exclusive mode"
            )
            with pytest.raises(Unavailable):
                await old.days.run()
            assert await old.left() == {one}
    finally:
        await other.close()

    assert await old.days.run() == 1
    assert await old.left() == set()


async def test_a_worker_checkpoints_an_old_execution_through_the_exchange(old: Old):
    CALLS.clear()
    version = await old.room.publish(
        [
            {"id": "a", "uses": "probe.gate@1", "with": {"marker": "first"}},
            {"id": "b", "uses": "probe.gate@1", "with": {"marker": "second"}, "depends_on": ["a"]},
        ]
    )
    running = await old.made(0, workflow=version)
    await old.room.sql.execute("delete from step_executions; delete from execution_labels")
    for _ in range(50):
        await old.made(workflow=version)
    old.room.worker()
    old.room.queue.add(0, [(running, 1)])
    await asyncio.wait_for(CALLS.begun["first"].wait(), 10)

    due = await old.prepared()
    CALLS.gates["first"].set()
    await asyncio.wait_for(CALLS.begun["second"].wait(), 10)
    exchange = asyncio.create_task(old.store.exchange(due))
    CALLS.gates["second"].set()

    assert await exchange
    assert await old.room.finished(running) is ExecutionStatus.COMPLETED
    assert len(await old.room.steps(running)) == 2
    assert (await old.room.events(running))[-1] == "execution_completed"


async def test_a_worker_runs_a_whole_old_day_while_it_is_exchanged_again_and_again(old: Old):
    steps: list[dict[str, object]] = [
        {"id": "a", "uses": "core.noop@1"},
        {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]},
    ]
    version = await old.room.publish(steps)
    all_of_them = [await old.made(0, workflow=version) for _ in range(150)]
    await old.room.sql.execute("delete from step_executions; delete from execution_labels")
    old.room.worker()
    exchanges = 0
    for number in range(0, 150, 10):
        old.room.queue.add(0, [(one, 1) for one in all_of_them[number : number + 10]])
        await old.made()
        await old.room.sql.execute("update retention_days set state = 0")
        exchanges += await old.days.run()

    assert exchanges == 15
    for one in all_of_them:
        assert await old.room.finished(one) is ExecutionStatus.COMPLETED
        assert len(await old.room.steps(one)) == 2
        assert (await old.room.events(one))[-1] == "execution_completed"


async def hold(old: Old, scope: str, id: UUID) -> None:
    await old.room.sql.execute(
        "insert into legal_holds (tenant_id, scope, id, reason, actor) values ($1, $2, $3, 'case 7', 'ann')",
        TENANT, scope, id,
    )  # fmt: skip


async def shape(old: Old) -> list:
    """Columns, constraints, indexes, options, grants, security and triggers of the day's tables."""
    return [
        await old.room.sql.fetch(
            """select pg_get_expr(c.relpartbound, c.oid) as bounds, c.reloptions, c.relacl::text, c.relrowsecurity, c.relowner,
                 (select array_agg(a.attname || format_type(a.atttypid, a.atttypmod) || a.attnotnull order by a.attnum)
                    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0) as columns,
                 (select array_agg(pg_get_indexdef(i.indexrelid) order by 1) from
                    (select indexrelid from pg_index where indrelid = c.oid order by pg_get_indexdef(indexrelid)) i) as indexes,
                 (select array_agg(k.conname || pg_get_constraintdef(k.oid) order by k.conname)
                    from pg_constraint k where k.conrelid = c.oid and k.contype <> 'n') as constraints,
                 (select count(*) from pg_trigger g where g.tgrelid = c.oid) as triggers
               from pg_class c where c.oid = $1::regclass""",
            f"{table}_{SUFFIX}",
        )
        for table in TABLES
    ]
