"""L: what is due among 100,000 open human tasks, each of which waits for a time: one look of whoever serves them.

Beside it the first page of the lists that people ask for: mine, of a group, and what is late. Medians of many each.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import asyncpg
import orjson

from benchmarks.line import Effort, Line, at_most, middle
from benchmarks.raw import open_raw
from benchmarks.surroundings import Surroundings
from runtime.bootstrap import open_runtime
from runtime.clock import SystemClock
from runtime.model.human_task import HumanTaskFilter, NewHumanTask, state_of
from runtime.model.identity import Principal
from runtime.model.page import PageRequest
from runtime.scheduler.human_task import BATCH
from runtime.store.human_task import HumanTaskStore

NAME = "human-tasks"
# One in ten is late; one in ten is somebody's, one in a hundred mine; the others wait for one of ten groups.
_FILL = """
insert into human_tasks (shard, status, id, tenant_id, version, priority, assignee, closed_to, due_at, next_at, state)
  select 0, case when n % 10 = 0 then 1 else 0 end,
         ('01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $2, 1, 0,
         case when n % 100 = 0 then 'bench' when n % 10 = 0 then 'other' end, '{}',
         now() + make_interval(hours => case when n % 10 = 1 then -1 else 24 end),
         now() + make_interval(hours => 24), $3
    from generate_series(1, $1::int) n"""
_PEOPLE = """
insert into human_task_people (shard, task_id, tenant_id, who, is_held)
  select 0, t.id, t.tenant_id,
         case when t.assignee is null then 'group:g' || right(t.id::text, 1) else 'user:' || t.assignee end, false
    from human_tasks t"""


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The median of a look, with everything that is looked at in memory."""
    count, times = effort.of(100_000, 2_000), effort.of(200, 20)
    async with open_runtime(around.settings) as runtime:
        token = runtime.dev_token(tenant="bench", subject="bench", roles=["admin"])
        who = await runtime.authenticator.principal(f"Bearer {token}")
        sql = await open_raw(around.database_url)
        try:
            await _fill(sql, who, count)
        finally:
            await sql.close()
        store, tasks, page = (
            HumanTaskStore(runtime.shards),
            runtime.services.human_tasks,
            PageRequest(50),
        )
        look = await _median(lambda: store.upcoming(0, BATCH), times)
        lists = {
            "mine": HumanTaskFilter(mine=True),
            "group": HumanTaskFilter(group="g1"),
            "overdue": HumanTaskFilter(overdue=True),
            "all": HumanTaskFilter(),
        }
        found = {
            name: await _median(partial(tasks.list, who, wanted, page), times)
            for name, wanted in lists.items()
        }
    return Line(
        bench=NAME,
        letter="L",
        unit="ms",
        measured=look * 1000,
        goals=[at_most("measured", 5.0)],
        facts={"tasks": count, **{f"ms_{name}": at * 1000 for name, at in found.items()}},
    )


async def _fill(sql: asyncpg.Connection, who: Principal, count: int) -> None:
    await sql.execute("set synchronous_commit = off; set enable_seqscan = on")
    await sql.execute(_FILL, count, who.tenant_id, _state(who))
    await sql.execute(_PEOPLE)
    for each in (
        "vacuum (analyze) human_tasks",
        "vacuum (analyze) human_task_people",
        "checkpoint",
    ):
        await sql.execute(each)


def _state(who: Principal) -> str:
    at = SystemClock().now()
    task = NewHumanTask("Pay?").begun(UUID(int=1), who.tenant_id, who.actor, at)
    return orjson.dumps(state_of(task)).decode()


async def _median(ask: Callable[[], Awaitable[object]], times: int) -> float:
    found = []
    for _ in range(times + 5):
        begin = time.perf_counter()
        await ask()
        found.append(time.perf_counter() - begin)
    return middle(found[5:])
