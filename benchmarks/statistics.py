"""Y: statistics of a tenant with 1,000,000 executions of 100 workflows, half of the last day, half over a month.

The numbers of everything, of one workflow and of one namespace, each of the last day, of 7 and of 31 days, and of four
weeks from noon to noon, the worst cut for days that are added up; medians of many, over the service as the graph asks
it. What counts is the slowest of them. Numbers are compared with counts of the rows.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import asyncpg

from benchmarks.line import Effort, Line, at_most, middle
from benchmarks.raw import open_raw
from benchmarks.surroundings import Surroundings, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import ExecutionState
from runtime.model.execution_stats import StatsFilter
from runtime.model.identity import Principal
from runtime.model.values import Duration
from runtime.store.execution_stats import CounterFolds

NAME = "statistics"
_WORKFLOW = """
name: counted
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1}
"""
_CHUNK = 50_000
_DAYS = (1, 7, 31)
_DAY_MS = 86_400_000
# One in twenty failed, one in a thousand is queued; they took from 1 ms to 22 minutes.
_FILL = """
insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, namespace, status, input, meta,
    created_at, started_at, finished_at)
  select (substr(maestro.mc_uuid_floor(at)::text, 1, 13) || '-7' || substr(md5(n::text), 1, 3) || '-a'
           || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid,
         0, $3, case when n % 100 = 0 then $4 else md5((n % 100)::text)::uuid end, $4, 'space-' || n % 4,
         case when n % 1000 = 7 then 0 when n % 20 = 0 then 4 else 2 end, '{}', '{}', at,
         case when n % 1000 <> 7 then at end,
         case when n % 1000 <> 7 then at + make_interval(secs => exp((n::int8 * 7919 % 14000) / 1000.0 - 7)) end
    from (select n, now() - make_interval(secs => n::int8 * case when n % 2 = 0 then 86400 else 2678400 end / $5) as at
            from generate_series($1::int, $2::int) n) x"""


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The slowest of the medians."""
    large, times = effort.of(1_000_000, 5_000), effort.of(100, 10)
    async with open_runtime(around.settings) as runtime:
        who, _ = await publish(runtime, "counted", _WORKFLOW)
        workflow = (await runtime.services.workflows.get_many_by_name(who, ["counted"]))["counted"]
        sql = await open_raw(around.database_url)
        try:
            await _fill(sql, runtime, who, workflow.id, large)
            filters = {
                "all": StatsFilter(),
                "workflow": StatsFilter(workflow_id=(workflow.id,)),
                "namespace": StatsFilter(namespace=("space-1",)),
            }
            found = {
                f"{name}_{days}d": await _ask(runtime, who, one, times, days)
                for name, one in filters.items()
                for days in _DAYS
            }
            found["noon_to_noon"] = await _ask(runtime, who, _weeks(), times, None)
            failed = await sql.fetchval("select count(*) from workflow_executions where status = 4")
        finally:
            await sql.close()
        month = Duration(max(_DAYS) * _DAY_MS)
        stats = await runtime.services.stats.stats(who, StatsFilter(), month)
    if stats.count(ExecutionState.FAILED) != failed:
        raise RuntimeError(f"{stats.count(ExecutionState.FAILED)} counted, {failed} there")
    worst = max(found.values())
    return Line(
        bench=NAME,
        letter="Y",
        unit="ms",
        measured=worst * 1000,
        goals=[at_most("measured", 20.0)],
        facts={"executions": large, **{f"ms_{name}": at * 1000 for name, at in found.items()}},
    )


async def _fill(
    sql: asyncpg.Connection, runtime: Runtime, who: Principal, workflow: object, large: int
) -> None:
    folds = CounterFolds(runtime.database)
    await sql.execute("set synchronous_commit = off")
    await sql.execute("select maestro.mc_make_partitions(current_date - 33, current_date)")
    for begin in range(1, large + 1, _CHUNK):
        end = min(begin + _CHUNK - 1, large)
        await sql.execute(_FILL, begin, end, who.tenant_id, workflow, large)
        while await folds.fold(_CHUNK):
            pass
    # As autovacuum leaves what has been there for a while.
    for each in ("analyze", "vacuum execution_counts", "vacuum execution_day_counts", "checkpoint"):
        await sql.execute(each)


async def _ask(
    runtime: Runtime, who: Principal, wanted: StatsFilter, times: int, days: int | None
) -> float:
    window = None if days is None else Duration(days * _DAY_MS)
    found = []
    for _ in range(times + 5):
        begin = time.perf_counter()
        await runtime.services.stats.stats(who, wanted, window)
        found.append(time.perf_counter() - begin)
    return middle(found[5:])


def _weeks() -> StatsFilter:
    """Four weeks that end yesterday at noon: half a day at either end is read by the hour."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    end = noon - timedelta(days=1)
    return StatsFilter(created_from=end - timedelta(days=28), created_to=end)
