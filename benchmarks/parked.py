"""I: 100,000 parked executions: what an idle process asks of PostgreSQL, whether it grows, and how fast they wake.

Statements are transactions: API, worker and scheduler in one process send each as its own. Autovacuum, whose
transactions are counted with theirs, rests meanwhile. Waking is measured from the moment at which all are due to
that at which the last has been claimed and has ended; beside it is what bare asyncpg takes for the same rows, of a
fifth as many, in groups of a thousand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID

from benchmarks import raw
from benchmarks.line import Effort, Line, at_least, at_most
from benchmarks.raw import open_raw
from benchmarks.surroundings import (
    Surroundings,
    idle_statements,
    memory_bytes,
    one_process,
    publish,
)
from runtime.model.execution import EnqueueRequest
from runtime.model.identity import Principal
from runtime.worker import signals

NAME = "parked"
_WORKFLOW = """
name: parked
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1}
"""
# As `runAt` leaves them: waiting for a time, nobody's.
_PARK = """
with i as (select n, (substr(maestro.mc_uuid_floor(now())::text, 1, 13) || '-7' || substr(md5(n::text), 1, 3) || '-a'
  || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid as id from generate_series(1, $1::int) n),
t as (select e.* from workflow_executions e where e.tenant_id = $2 order by e.id limit 1),
e as (insert into workflow_executions
    (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, input, meta)
  select i.id, 0, t.tenant_id, t.workflow_id, t.version_id, 3, 0, now() + interval '1 day', t.input, t.meta from i, t)
insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data)
  select 0, 1, 1, i.id, t.tenant_id, now(), '{}' from i, t returning execution_id"""


_VACUUMING = "select exists (select from pg_stat_activity where backend_type = 'autovacuum worker')"


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Statements per second of an idle process, growth, and the rate of waking."""
    count, seconds = effort.of(100_000, 2_000), effort.of(30, 3)
    async with one_process(around) as (runtime, worker):
        who, name = await publish(runtime, "parked", _WORKFLOW)
        await runtime.services.executions.enqueue(who, EnqueueRequest(workflow_name=name))
        await worker.signals.wait(signals.CLOSED, 1)
        before = memory_bytes()
        await _park(around.database_url, who, count)
        async with _without_autovacuum(around.database_url):
            idle = await idle_statements(around.database_url, seconds)
        grown = memory_bytes() - before
        carried = worker.executions
        begin = time.perf_counter() + await _set_alarm(around.database_url, effort.of(20, 3))
        await worker.signals.wait(signals.CLOSED, 1 + count, timeout=600)
        wake_seconds = time.perf_counter() - begin
    limit = await raw.woken_per_second(
        around.database_url, await _park(around.database_url, who, count // 5)
    )
    return Line(
        bench=NAME,
        letter="I",
        unit="statements/s",
        measured=idle,
        goals=[
            at_most("measured", 2.0),
            at_most("carried", 0),
            at_most("grown_mb", 5),
            at_least("woken_per_second", 5_000),
        ],
        facts={
            "parked": count,
            "carried": carried,
            "grown_mb": grown / 2**20,
            "woken_per_second": count / wake_seconds,
            "raw_woken_per_second": limit,
            "woken_ratio": count / wake_seconds / limit,
        },
    )


async def _park(url: str, who: Principal, count: int) -> list[UUID]:
    sql = await open_raw(url)
    try:
        ids = [row["execution_id"] for row in await sql.fetch(_PARK, count, who.tenant_id)]
        await sql.execute("analyze")
        return ids
    finally:
        await sql.close()


@contextlib.asynccontextmanager
async def _without_autovacuum(url: str) -> AsyncIterator[None]:
    """Stop it, let what it has begun end, and start it again."""
    sql = await open_raw(url)
    try:
        await sql.execute("alter system set autovacuum = off")
        await sql.execute("select pg_reload_conf()")
        while await sql.fetchval(_VACUUMING):
            await asyncio.sleep(0.2)
        yield
    finally:
        await sql.execute("alter system reset autovacuum")
        await sql.execute("select pg_reload_conf()")
        await sql.close()


async def _set_alarm(url: str, seconds: float) -> float:
    """Let all be due at one moment, so many seconds from now; how many are left when everybody could know."""
    sql = await open_raw(url)
    try:
        at = await sql.fetchval("select now() + make_interval(secs => $1)", seconds)
        await sql.execute("update workflow_executions set wake_at = $1 where status = 3", at)
        left: float = await sql.fetchval("select extract(epoch from $1 - now())::float8", at)
    finally:
        await sql.close()
    if left <= 0:
        raise RuntimeError(f"it took more than {seconds} s to set the alarm of all")
    return left
