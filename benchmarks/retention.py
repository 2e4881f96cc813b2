"""R: how long it takes to drop a day of executions, what that gives back to the disk, and how long others wait for it.

A day 40 days ago is filled with a million 3-step executions (three step rows, nine events, a log line, a label each);
one in a thousand has not ended and is kept. Meanwhile a reader looks up an execution of that day again and again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from benchmarks import raw
from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings
from runtime.clock import SystemClock
from runtime.scheduler.days import DEFAULT_DAYS, Days
from runtime.store.pool import Database
from runtime.store.retention import RetentionStore
from runtime.telemetry.metrics import Metrics

NAME = "retention"
AGE_DAYS = 40
ONE_STAYS_IN = 1000
_CHUNK = 20_000
TABLES = ("workflow_executions", "step_executions", "execution_events", "step_logs")

_TENANT = UUID(int=1)

# Ids as version 7 makes them: the instant, then noise.
IDS = """
create temporary table fresh as select n, at, (substr(maestro.mc_uuid_floor(at)::text, 1, 13) || '-7'
  || substr(md5(n::text), 1, 3) || '-a' || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid as id
  from (select i as n, $1::timestamptz + make_interval(secs => i * 0.05) as at
          from generate_series($2::int, $3::int) i) i"""
ROWS = (
    """insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, status, input, output,
         created_at, finished_at)
       select id, 0, $1, $1, $1, case when n % $2 = 0 then 3 else 2 end, '{}', '{"ok": true}', at,
         case when n % $2 <> 0 then at end from fresh""",
    """insert into step_executions (shard, status, step, execution_id, tenant_id, attempt, generation, item,
         started_at, finished_at, result)
       select 0, 6, s, id, $1, 1, 0, -1, at, at, '{"output": {"ok": true}, "in": "sha256:0", "out": "sha256:0"}'
         from fresh, generate_series(0, 2) s where $2 > 0""",
    """insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data)
       select 0, 21, s, id, $1, at, '{"step": 0, "key": "a", "item": -1, "attempt": 1}'
         from fresh, generate_series(1, 9) s where $2 > 0""",
    """insert into step_logs (shard, position, execution_id, tenant_id, step, item, generation, attempt, ts,
         level, message)
       select 0, 1, id, $1, 0, -1, 0, 1, at, 'info', 'a line of a step' from fresh where $2 > 0""",
    """insert into execution_labels (tenant_id, shard, key, value, execution_id)
       select $1, 0, 'order', n::text, id from fresh where $2 > 0""",
)


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Seconds, bytes, and the longest wait of a reader beside it."""
    executions = effort.of(1_000_000, 5_000)
    sql = await raw.open_raw(around.database_url)
    database = await Database.open(around.database_url)
    store = RetentionStore(database, default_days=DEFAULT_DAYS)
    try:
        await _fill(sql, executions)
        before = await _size(sql)
        waits: list[float] = []
        reader = asyncio.create_task(_read(around.database_url, waits))
        begin = time.perf_counter()
        dropped = await Days(store, Metrics(), SystemClock()).run()
        seconds = time.perf_counter() - begin
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
        after = await _size(sql)
    finally:
        await database.close()
        await sql.close()
    return Line(
        bench=NAME,
        letter="R",
        unit="s",
        measured=seconds,
        goals=[at_most("measured", 10.0), at_most("longest_read_ms", 1_000.0)],
        facts={
            "executions": executions,
            "dropped": dropped,
            "kept": executions - dropped,
            "bytes_before": before,
            "bytes_given_back": before - after,
            "longest_read_ms": max(waits) * 1000,
            "reads": len(waits),
        },
    )


async def _fill(sql: asyncpg.Connection, executions: int) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day -= timedelta(days=AGE_DAYS)
    await sql.execute("select mc_make_partitions($1, $1)", day.date())
    await sql.execute("set synchronous_commit = off; set enable_seqscan = on")
    for first in range(1, executions + 1, _CHUNK):
        await sql.execute("drop table if exists fresh")
        await sql.execute(IDS, day, first, min(first + _CHUNK - 1, executions))
        for statement in ROWS:
            await sql.execute(statement, _TENANT, ONE_STAYS_IN)
    # As a day of that age is: what was written has been vacuumed, and no autovacuum goes through it.
    names = ", ".join(f"{table}_{day:%Y%m%d}" for table in TABLES)
    await sql.execute(f"vacuum (analyze) {names}")
    await sql.execute("checkpoint")


async def _read(url: str, waits: list[float]) -> None:
    """As a page of executions does: without a day, so that it meets every day's lock."""
    sql = await raw.open_raw(url)
    try:
        while True:
            begin = time.perf_counter()
            await sql.fetch(
                "select id from workflow_executions where tenant_id = $1 order by id desc limit 50",
                _TENANT,
            )
            waits.append(time.perf_counter() - begin)
            await asyncio.sleep(0.002)
    finally:
        sql.terminate()


async def _size(sql: asyncpg.Connection) -> int:
    size: int = await sql.fetchval("select pg_database_size(current_database())")
    return size
