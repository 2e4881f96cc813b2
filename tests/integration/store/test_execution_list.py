"""Lists of executions: several alternatives are one list in one order, and each filter is read along its index."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from runtime.model.execution import (
    NEWEST,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionOrderField,
    ExecutionState,
    ExecutionStatus,
    TriggerKind,
)
from runtime.model.page import PageRequest
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_scan import written_limit
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
    "one workflow": ExecutionFilter(workflow_id=WORKFLOWS[:1]),
    "a state that nothing has": ExecutionFilter(state=(S.COMPENSATING,)),
}


@pytest.mark.parametrize("wanted", CASES.values(), ids=CASES)
async def test_alternatives_are_one_list(room, wanted: ExecutionFilter):
    for number in range(50):
        await room.queue(workflow=WORKFLOWS[number % 5], namespace=NAMESPACES[number // 5 % 5])
    await room.sql.execute(
        "update workflow_executions set status = case when random() < 0.5 then $1::int::smallint else status end,"
        " cancel_requested = random() < 0.3",
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
)
# For these the values say which index is the right one: a rare workflow among many executions, a label that all have.
BOUND = (
    ExecutionFilter(workflow_id=WORKFLOWS[:1]),
    ExecutionFilter(workflow_name=("pay",), state=(S.FAILED,)),
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
