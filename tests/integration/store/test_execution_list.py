"""Lists of executions: several alternatives are one list in one order, and each filter is read along its index."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import (
    NEWEST,
    Execution,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionOrderField,
    ExecutionState,
    ExecutionStatus,
    TriggerKind,
)
from runtime.model.page import Page, PageRequest
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_scan import written_limit
from runtime.store.listing import Composer
from runtime.store.shards import Shards
from tests import make

S = ExecutionState
WORKFLOWS = tuple(UUID(int=number) for number in range(1, 6))
NAMESPACES = ("default", "a", "b", "c", "d")
CASES = {
    "states": ExecutionFilter(state=(S.FAILED, S.QUEUED, S.CANCELLING)),
    "workflows": ExecutionFilter(workflow_id=WORKFLOWS[:2]),
    "namespaces": ExecutionFilter(namespace=("default", "a")),
    "all three": ExecutionFilter(
        state=(S.FAILED, S.QUEUED), workflow_id=WORKFLOWS[:2], namespace=("default", "b")
    ),
    "too many to be read one by one": ExecutionFilter(
        state=(S.FAILED, S.QUEUED), workflow_id=WORKFLOWS, namespace=NAMESPACES[:4]
    ),
    "one state": ExecutionFilter(state=(S.FAILED,)),
    "one state of the default namespace": ExecutionFilter(
        state=(S.FAILED,), namespace=("default",)
    ),
    "one state of another namespace": ExecutionFilter(state=(S.FAILED,), namespace=("a",)),
    "states of one workflow": ExecutionFilter(
        state=(S.FAILED, S.QUEUED, S.CANCELLING), workflow_id=WORKFLOWS[:1]
    ),
    "one workflow": ExecutionFilter(workflow_id=WORKFLOWS[:1]),
    "what is undone": ExecutionFilter(state=(S.COMPENSATING,)),
    "what runs or is cancelled": ExecutionFilter(state=(S.RUNNING, S.QUEUED, S.CANCELLING)),
}


def noted_statements(monkeypatch) -> list[tuple[str, list[Any]]]:
    """The statements that lists ask from now on, with their arguments."""
    asked: list[tuple[str, list[Any]]] = []
    compose = Composer.statement

    def noted(self, shape, build, values):
        asked.append(compose(self, shape, build, values))
        return asked[-1]

    monkeypatch.setattr(Composer, "statement", noted)
    return asked


@pytest.mark.parametrize("wanted", CASES.values(), ids=CASES)
async def test_alternatives_are_one_list(room, wanted: ExecutionFilter):
    for number in range(50):
        await room.queue(workflow=WORKFLOWS[number % 5], namespace=NAMESPACES[number // 5 % 5])
    await room.sql.execute(
        "update workflow_executions set status = case when random() < 0.5 then $1::int::smallint else status end,"
        " cancel_requested = random() < 0.3, compensating = random() < 0.3",
        int(ExecutionStatus.FAILED),
    )
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    everything = await executions.page(
        make.TENANT, ExecutionFilter(), PageRequest(100), shards.databases
    )
    there = [
        one.id
        for one in everything.items
        if (not wanted.state or one.state in wanted.state)
        and (not wanted.workflow_id or one.workflow_id in wanted.workflow_id)
        and (not wanted.namespace or one.namespace in wanted.namespace)
    ]

    seen, cursor = [], None
    while True:
        page = await executions.page(make.TENANT, wanted, PageRequest(7, cursor), shards.databases)
        seen += [one.id for one in page.items]
        if not page.has_next:
            break
        cursor = page.cursors[-1]
    backwards = await executions.page(
        make.TENANT,
        wanted,
        PageRequest(100),
        shards.databases,
        order=ExecutionOrder(descending=False),
    )

    assert seen == there
    assert [one.id for one in backwards.items] == there[::-1]
    assert await executions.count(make.TENANT, wanted, 1000, shards.databases) == (
        len(there),
        False,
    )


NOW = datetime(2026, 11, 30, tzinfo=UTC)
WRITTEN = (
    ExecutionFilter(),
    ExecutionFilter(state=(S.FAILED, S.TIMED_OUT), namespace=("default",)),
    ExecutionFilter(state=(S.FAILED,), created_from=NOW, created_to=NOW),
    ExecutionFilter(workflow_name=("pay",), state=(S.FAILED,), created_from=NOW),
    ExecutionFilter(workflow_id=WORKFLOWS[:1], state=(S.PAUSED, S.FAILED)),
)
# For these the values say which index is the right one: a rare workflow among many executions, a label that all have.
BOUND = (
    ExecutionFilter(workflow_id=WORKFLOWS[:1]),
    ExecutionFilter(workflow_name=("pay",), state=(S.FAILED, S.COMPLETED)),
    ExecutionFilter(workflow_name=("pay", "ship"), state=(S.FAILED,)),
    ExecutionFilter(workflow_id=WORKFLOWS[:1], state=(S.FAILED,), namespace=("eu",)),
    ExecutionFilter(namespace=("eu",), created_to=NOW),
    ExecutionFilter(state=(S.FAILED,), namespace=("eu",)),
    ExecutionFilter(workflow_id=WORKFLOWS[:1], namespace=("eu",)),
    ExecutionFilter(namespace=("eu", "us")),
    ExecutionFilter(workflow_id=WORKFLOWS[:2]),
    ExecutionFilter(labels=(("team", "pay"),)),
    ExecutionFilter(trigger=(TriggerKind.API,)),
    ExecutionFilter(finished_from=NOW),
    ExecutionFilter(search="declined", created_from=NOW),
)


@pytest.mark.parametrize("wanted", WRITTEN)
def test_the_number_stands_in_the_text_where_one_index_serves_all_values(wanted: ExecutionFilter):
    sizes = (0, 1, 7, 50, 51, 1_000)

    limits = [written_limit(wanted, NEWEST, size) for size in sizes]

    assert limits == [1, 2, 11, 51, 101, 1_001]
    by_end = ExecutionOrder(ExecutionOrderField.FINISHED_AT, descending=True)
    assert written_limit(wanted, by_end, 50) is None


@pytest.mark.parametrize("wanted", BOUND)
def test_the_number_is_bound_where_the_values_decide(wanted: ExecutionFilter):
    assert written_limit(wanted, NEWEST, 50) is None


@pytest.mark.parametrize("state", [S.FAILED, S.WAITING])
async def test_one_plan_for_all_workflows_never_walks_past_others_to_find_a_rare_one(
    room, monkeypatch, state
):
    # As far as PostgreSQL knows there is one workflow, and nothing but this status.
    for _ in range(300):
        await room.queue(workflow=WORKFLOWS[0])
    await room.sql.execute(
        "update workflow_executions set status = $1", int(ExecutionStatus[state.name])
    )
    await room.sql.execute("analyze workflow_executions")
    asked = noted_statements(monkeypatch)
    shards = Shards.single(room.database)
    wanted = ExecutionFilter(workflow_id=WORKFLOWS[1:2], state=(state,))

    page = await ExecutionList(shards).page(make.TENANT, wanted, PageRequest(5), shards.databases)

    assert page.items == ()
    ((text, arguments),) = asked
    values = ", ".join(f"'{one}'" for one in arguments)
    async with room.database.tenant(make.TENANT) as connection:
        await connection.execute(f"prepare pinned as {text}")
        await connection.execute("set plan_cache_mode = force_generic_plan")
        rows = await connection.fetch(f"explain (analyze, timing off) execute pinned({values})")
        await connection.execute("deallocate pinned; reset plan_cache_mode")
    plan = "\n".join(row[0] for row in rows)
    used = set(re.findall(r"Index Scan(?: Backward)? using (\w+)", plan))
    definitions = await room.sql.fetch(
        "select indexdef from pg_indexes where indexname = any($1::text[])", list(used)
    )
    assert definitions
    assert all("mc_is_listed_apart" in row[0] for row in definitions), plan
    assert "Removed" not in plan
    assert "Seq Scan" not in plan


LABELLED = ExecutionFilter(labels=(("team", "pay"),))


async def labelled(room, count: int, each: int) -> list[UUID]:
    """So many executions, of which each so-manieth has the label; the ids of these, the newest first."""
    for _ in range(count):
        await room.queue()
    rows = await room.sql.fetch(
        "insert into execution_labels (tenant_id, shard, key, value, execution_id)"
        " select tenant_id, shard, 'team', 'pay', id from (select *, row_number() over (order by id) as n"
        " from workflow_executions) x where n % $1 = 0 returning execution_id",
        each,
    )
    await room.sql.execute("analyze workflow_executions; analyze execution_labels")
    return sorted((row["execution_id"] for row in rows), reverse=True)


async def test_pages_of_what_has_a_label_meet_each_once_from_both_ends(room):
    ids = await labelled(room, 20, 3)
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    oldest = ExecutionOrder(ExecutionOrderField.CREATED_AT, descending=False)

    for order, expected in ((NEWEST, ids), (oldest, ids[::-1])):
        met: list[UUID] = []
        cursor: str | None = None
        page: Page[Execution] = Page((), (), has_next=True)
        while page.has_next:
            page = await executions.page(
                make.TENANT, LABELLED, PageRequest(4, cursor), shards.databases, order=order
            )
            met += [one.id for one in page.items]
            cursor = page.cursors[-1]
        assert met == expected
        back = await executions.page(
            make.TENANT,
            LABELLED,
            PageRequest(4, page.cursors[0], backward=True),
            shards.databases,
            order=order,
        )
        assert [one.id for one in back.items] == expected[:4]


async def test_of_what_has_a_label_nothing_else_is_looked_at(room, monkeypatch):
    await labelled(room, 400, 40)
    asked = noted_statements(monkeypatch)
    shards = Shards.single(room.database)

    page = await ExecutionList(shards).page(make.TENANT, LABELLED, PageRequest(5), shards.databases)

    ((text, arguments),) = asked
    async with room.database.tenant(make.TENANT) as connection:
        plan = await connection.fetch(f"explain (analyze, timing off) {text}", *arguments)
    scans = [row[0] for row in plan if " on workflow_executions_" in row[0]]
    read = [re.search(r"rows=([\d.]+) loops=(\d+)\)$", line) for line in scans]
    assert len(page.items) == 5
    assert sum(float(one[1]) * int(one[2]) for one in read if one) == 6
    assert not any("Removed" in row[0] for row in plan)
