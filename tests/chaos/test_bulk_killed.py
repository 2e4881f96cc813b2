"""An API process is killed in the middle of a bulk operation that it works on; the scheduler's leader goes on with it."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.processes import Mc, eventually
from tests.support.stack import Service, Stack

pytestmark = pytest.mark.chaos

COUNT = 600
BELL = "name: bell\nversion: 1.0.0\nsteps: [{id: bell, type: wait, signal: go}]\n"
ENQUEUE = """mutation ($input: [EnqueueExecutionInput!]!) { enqueueExecutions(input: $input) { createdCount } }"""
ACTION = {"type": "SIGNAL", "signal": "go", "payload": 7}
PREVIEW = """query ($action: BulkActionInput!) { bulkOperationPreview(filter: {}, action: $action) { total token } }"""
START = """mutation ($input: StartBulkOperationInput!) { startBulkOperation(input: $input) {
  bulkOperation { id } errors { message } } }"""


@pytest.fixture
def mc(databases: Any, redis_server: str, tmp_path: Any) -> Any:
    (tmp_path / "home").mkdir(mode=0o700)
    mc = Mc(home=tmp_path / "home", folder=tmp_path)
    mc.environ |= {"MC_DATABASE_URL": databases.clone(), "MC_REDIS_URL": redis_server}
    yield mc
    mc.end_all()


async def test_an_api_killed_in_the_middle_of_a_bulk_operation(mc: Mc):
    api = await mc.start("serve").ready()
    stack = Stack.of_tenant(Service(mc), "default")
    name = await stack.publish(BELL)
    wanted = [{"workflowName": name}] * (COUNT // 2)
    for _ in range(2):
        await stack.ask(ENQUEUE, input=wanted)
    sql = await asyncpg.connect(mc.environ["MC_DATABASE_URL"])
    preview = (await stack.ask(PREVIEW, action=ACTION))["bulkOperationPreview"]
    assert preview["total"] == COUNT

    asked = {"token": preview["token"], "filter": {}, "action": ACTION}
    assert (await stack.ask(START, input=asked))["startBulkOperation"]["errors"] == []
    # Between two parts: some results are committed, and the next executions have been told already.
    await eventually(lambda: _more_told_than_recorded(sql))
    api.kill()
    found = await sql.fetchrow("select state, position from maestro.bulk_operations")
    assert found["state"] == 1
    assert 0 < found["position"] < COUNT

    mc.start("scheduler")
    # What would else take half a minute.
    await sql.execute("update maestro.bulk_operations set lease_until = now()")
    await eventually(lambda: _has_completed(sql))

    counts = await sql.fetchrow("select done, refused, position from maestro.bulk_operations")
    assert tuple(counts) == (COUNT, 0, COUNT)
    told = await sql.fetch(
        "select count(*) as n from maestro.execution_inbox group by execution_id"
    )
    assert [row["n"] for row in told] == [1] * COUNT
    await sql.close()


async def _more_told_than_recorded(sql: Any) -> bool:
    told, recorded = await sql.fetchrow(
        "select (select count(*) from maestro.execution_inbox), (select count(*) from maestro.bulk_results)"
    )
    return bool(recorded and told > recorded)


async def _has_completed(sql: Any) -> bool:
    return bool(await sql.fetchval("select state = 2 from maestro.bulk_operations"))
