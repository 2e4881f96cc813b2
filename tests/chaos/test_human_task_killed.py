"""The scheduler's leader is killed while times of tasks are due: what was left is done by the next one, and nothing twice.

And several API processes are told to complete the same tasks at once: each is completed once, and all others are told by whom.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import pytest

from tests.support.processes import Mc, eventually, free_port
from tests.support.stack import Service, Stack

pytestmark = pytest.mark.chaos

COUNT = 80
KILLS = 3
CREATE = "mutation ($input: CreateHumanTaskInput!) { createHumanTask(input: $input) { humanTask { id } errors { message } } }"
COMPLETE = """mutation ($input: CompleteHumanTaskInput!) { completeHumanTask(input: $input) {
  humanTask { endedBy { subject } } errors { code message } } }"""
ENTRIES = "select array_agg(kind order by seq) as kinds, array_agg(seq order by seq) as numbers from maestro.human_task_events group by task_id"


@pytest.fixture
def mc(databases: Any, redis_server: str, tmp_path: Any) -> Any:
    (tmp_path / "home").mkdir(mode=0o700)
    mc = Mc(home=tmp_path / "home", folder=tmp_path)
    mc.environ |= {"MC_DATABASE_URL": databases.clone(), "MC_REDIS_URL": redis_server}
    yield mc
    mc.end_all()


async def test_a_leader_killed_again_and_again_while_times_are_due(mc: Mc):
    await mc.start("serve").ready()
    stack = Stack.of_tenant(Service(mc), "default")
    late = "2099-01-01T00:0{}:00Z"
    said = {
        "title": "Pay?", "warnAt": late.format(1), "dueAt": late.format(2), "expiresAt": late.format(5),
        "escalations": [{"at": late.format(3), "to": "cy"}, {"at": late.format(4), "candidateGroups": ["bosses"]}],
    }  # fmt: skip
    for _ in range(COUNT):
        assert (await stack.ask(CREATE, input=said))["createHumanTask"]["errors"] == []
    sql = await asyncpg.connect(mc.environ["MC_DATABASE_URL"])
    # All of it is due by now, as if nothing had run for seventy years.
    await sql.execute(
        "update maestro.human_tasks set next_at = '2026-01-01', state = (replace(state::text, '2099-01-01T', '2026-01-01T'))::jsonb"
    )
    total, kills = 6 * COUNT, 0
    while kills < KILLS:
        leader, seen = mc.start("scheduler"), await _count(sql)
        await eventually(partial(_more, sql, seen))
        leader.kill()
        kills += 1
        assert await _count(sql) < total, "it was killed too late to leave anything"
    mc.start("scheduler")
    await eventually(partial(_more, sql, total - 1))

    for row in await sql.fetch(ENTRIES):
        assert row["kinds"] == ["created", "sla_warned", "sla_breached", "escalated", "escalated", "expired"]  # fmt: skip
        assert row["numbers"] == [1, 2, 3, 4, 5, 6]
    await sql.close()


async def test_two_processes_complete_the_same_tasks_at_once(mc: Mc):
    doors = (mc, replace(mc, port=free_port()))  # the same folder and list of processes
    for door in doors:
        await door.start("serve").ready()
    stacks = [Stack.of_tenant(Service(door), "default") for door in doors]
    made = [await stacks[0].ask(CREATE, input={"title": "Pay?"}) for _ in range(20)]
    tasks = [one["createHumanTask"]["humanTask"]["id"] for one in made]

    for task in tasks:
        asked = {"humanTaskId": task, "outcome": "approved"}
        found = await asyncio.gather(*(stack.ask(COMPLETE, input=asked) for stack in stacks))
        payloads = [one["completeHumanTask"] for one in found]
        (won,) = [one for one in payloads if one["humanTask"]]
        (lost,) = [one for one in payloads if not one["humanTask"]]
        assert lost["errors"][0]["code"] == "INVALID_STATE"
        assert f"by {won['humanTask']['endedBy']['subject']}, at" in lost["errors"][0]["message"]
    sql = await asyncpg.connect(mc.environ["MC_DATABASE_URL"])
    assert [row["kinds"] for row in await sql.fetch(ENTRIES)] == [["created", "completed"]] * 20
    await sql.close()


async def _count(sql: Any) -> int:
    return int(await sql.fetchval("select count(*) from maestro.human_task_events"))


async def _more(sql: Any, seen: int) -> bool:
    return await _count(sql) > seen
