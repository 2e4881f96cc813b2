"""K: the first page of a filtered list when the tenant has 1,000,000 executions, against 10,000.

Each filter that has an index, and what people combine: what failed of one workflow, or of one namespace. The rare
ones are found a hundred times in either, among ever more others. Medians of many pages each; the ratio that counts is
the worst one.

A search and other orders read through a range of creation, here one of 5,000 executions of six days ago: the same
range in either. How many pages of the usual order each of them is worth is among the facts; `@cost` says so.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from benchmarks.line import Effort, Line, at_most, middle
from benchmarks.raw import open_raw
from benchmarks.surroundings import Surroundings, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import (
    NEWEST,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionOrderField,
    ExecutionState,
)
from runtime.model.identity import Principal
from runtime.model.page import PageRequest

NAME = "listing"
_WORKFLOW = """
name: listed
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1}
"""
_CHUNK = 50_000
# One in twenty failed, one in a hundred carries the label; the first 400 are what is rare; half of the small number is
# of six days ago, all others of this day.
_FILL = """
with i as (select n, at, (substr(maestro.mc_uuid_floor(at)::text, 1, 13) || '-7' || substr(md5(n::text), 1, 3) || '-a'
  || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid as id
  from (select n, case when n <= $6 then now() - interval '6 days' else now() end as at
          from generate_series($1::int, $2::int) n) x),
l as (insert into execution_labels (tenant_id, shard, key, value, execution_id)
  select $3, 0, 'team', 'pay', id from i where n % 100 = 0)
insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, namespace, status, input, output, meta,
    created_at, started_at, finished_at)
  select id, 0, $3,
         case when n <= 200 and n % 2 = 0 then '00000000-0000-0000-0000-000000000001'::uuid else $4::uuid end, $4,
         case when n <= 200 and n % 2 = 1 then 'rare' else 'default' end,
         case when n <= 400 and n > 200 then 5 + n % 2 * 2 when n % 20 = 0 then 4 else 2 end,
         '{}', jsonb_build_object('note', format('order %s of %s was %s', n, md5(n::text),
           case when n % 50 = 0 then 'declined' else 'taken' end)),
         $5::jsonb, at, at, at + make_interval(secs => n % 1000) from i"""
_META = '{"workflow": "listed", "version": "1.0.0", "tenant": "bench", "trigger": "api"}'


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The worst ratio of the medians."""
    small, large, pages = effort.of(10_000, 500), effort.of(1_000_000, 5_000), effort.of(200, 20)
    async with open_runtime(around.settings) as runtime:
        who, _ = await publish(runtime, "listed", _WORKFLOW)
        workflow = (await runtime.services.workflows.get_many_by_name(who, ["listed"]))["listed"]
        filters = {
            "failed": ExecutionFilter(state=(ExecutionState.FAILED,)),
            "timed_out_or_cancelled": ExecutionFilter(
                state=(ExecutionState.TIMED_OUT, ExecutionState.CANCELLED)
            ),
            "workflow": ExecutionFilter(workflow_id=(workflow.id,)),
            "workflow_name": ExecutionFilter(workflow_name=("listed",)),
            "rare_workflow": ExecutionFilter(workflow_id=(UUID(int=1),)),
            "rare_namespace": ExecutionFilter(namespace=("rare",)),
            "created": ExecutionFilter(created_from=datetime.now(UTC) - timedelta(hours=1)),
            "failed_in_namespace": ExecutionFilter(
                state=(ExecutionState.FAILED,), namespace=("default",)
            ),
            "failed_of_workflow": ExecutionFilter(
                state=(ExecutionState.FAILED,), workflow_id=(workflow.id,)
            ),
            "labelled": ExecutionFilter(labels=(("team", "pay"),)),
        }
        asked = {name: (wanted, NEWEST) for name, wanted in filters.items()} | _through_a_range()
        sql = await open_raw(around.database_url)
        try:
            await _fill(sql, who, workflow.id, (1, small), small // 2)
            few = await _pages(runtime, who, asked, pages)
            await _fill(sql, who, workflow.id, (small + 1, large), small // 2)
            many = await _pages(runtime, who, asked, pages)
        finally:
            await sql.close()
    ratios = {name: many[name] / few[name] for name in asked}
    worst = max(ratios, key=lambda name: ratios[name])
    return Line(
        bench=NAME,
        letter="K",
        unit="ms",
        measured=many[worst] * 1000,
        raw=few[worst] * 1000,
        ratio=ratios[worst],
        goals=[at_most("ratio", 1.5)],
        facts={
            "small": small,
            "large": large,
            **{f"ratio_{name}": ratio for name, ratio in ratios.items()},
            **{f"pages_{name}": many[name] / many["workflow"] for name in _through_a_range()},
        },
    )


def _through_a_range() -> dict[str, tuple[ExecutionFilter, ExecutionOrder]]:
    """A search that finds one in fifty, one that finds nothing, and the orders that no index has."""
    middle_of_it = datetime.now(UTC) - timedelta(days=6)
    within = ExecutionFilter(
        created_from=middle_of_it - timedelta(hours=3), created_to=middle_of_it + timedelta(hours=3)
    )
    orders = (
        ExecutionOrderField.STARTED_AT,
        ExecutionOrderField.FINISHED_AT,
        ExecutionOrderField.PRIORITY,
    )
    return {
        "search": (replace(within, search="declined"), NEWEST),
        "search_in_vain": (replace(within, search="nowhere to be found"), NEWEST),
        **{f"by_{one.value}": (within, ExecutionOrder(one, descending=True)) for one in orders},
    }


async def _fill(
    sql: asyncpg.Connection, who: Principal, workflow: object, numbers: tuple[int, int], old: int
) -> None:
    first, last = numbers
    await sql.execute("set synchronous_commit = off; set enable_seqscan = on")
    await sql.execute("select maestro.mc_make_partitions(current_date - 7, current_date)")
    for begin in range(first, last + 1, _CHUNK):
        end = min(begin + _CHUNK - 1, last)
        await sql.execute(_FILL, begin, end, who.tenant_id, workflow, _META, old)
    await sql.execute("analyze workflow_executions; analyze execution_labels; checkpoint")


async def _pages(
    runtime: Runtime,
    who: Principal,
    asked: dict[str, tuple[ExecutionFilter, ExecutionOrder]],
    pages: int,
) -> dict[str, float]:
    page, found = PageRequest(size=50), {}
    for name, (wanted, order) in asked.items():
        times = []
        for _ in range((pages if order is NEWEST and not wanted.search else pages // 4) + 5):
            begin = time.perf_counter()
            await runtime.services.executions.list(who, wanted, page, order=order)
            times.append(time.perf_counter() - begin)
        found[name] = middle(times[5:])
    return found
