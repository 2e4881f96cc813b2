"""An API process is killed while it moves executions to another version; each is moved once, and ends as that version says."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.chaos.test_bulk_killed import COUNT, ENQUEUE, PREVIEW, START, mc
from tests.support.processes import Mc, eventually
from tests.support.stack import Service, Stack

__all__ = ["mc"]

pytestmark = pytest.mark.chaos

OLD = "name: bell\nversion: 1.0.0\nsteps: [{id: bell, type: wait, signal: go}]\n"
NEW = "name: bell\nversion: 2.0.0\nsteps: [{id: set, uses: core.set@1, with: {n: 1}}]\n"
FIND = "query ($name: String!) { workflow(name: $name) { id } }"
UPDATE = "mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { errors { message } } }"
PUBLISH = "mutation ($input: PublishWorkflowInput!) { publishWorkflow(input: $input) { errors { message } } }"
ACTION = {"type": "MIGRATE", "toVersion": "2.0.0"}


async def test_an_api_killed_while_it_moves_executions_to_another_version(mc: Mc):
    api = await mc.start("serve").ready()
    stack = Stack.of_tenant(Service(mc), "default")
    name = await stack.publish(OLD)
    for _ in range(2):
        await stack.ask(ENQUEUE, input=[{"workflowName": name}] * (COUNT // 2))
    workflow = (await stack.ask(FIND, name=name))["workflow"]["id"]
    source = NEW.replace("name: bell", f"name: {name}")
    for document, given in ((UPDATE, {"source": source}), (PUBLISH, {})):
        [payload] = (await stack.ask(document, input={"workflowId": workflow, **given})).values()
        assert payload["errors"] == []
    sql = await asyncpg.connect(mc.environ["MC_DATABASE_URL"])
    preview = (await stack.ask(PREVIEW, action=ACTION))["bulkOperationPreview"]

    asked = {"token": preview["token"], "filter": {}, "action": ACTION}
    assert (await stack.ask(START, input=asked))["startBulkOperation"]["errors"] == []
    # Between two parts: some results are committed, and the next executions have been moved already.
    await eventually(lambda: _more_moved_than_recorded(sql))
    api.kill()
    found = await sql.fetchrow("select state, position from maestro.bulk_operations")
    assert (found["state"], 0 < found["position"] < COUNT) == (1, True)

    mc.start("scheduler")
    # What would else take half a minute.
    await sql.execute("update maestro.bulk_operations set lease_until = now()")
    await eventually(
        lambda: sql.fetchval("select state = 2 from maestro.bulk_operations"), seconds=60
    )

    counts = await sql.fetchrow("select done, refused from maestro.bulk_operations")
    assert tuple(counts) == (COUNT, 0)
    moved = await sql.fetch(
        "select count(*) as n from maestro.execution_events where kind = 18 group by execution_id"
    )
    assert [row["n"] for row in moved] == [1] * COUNT
    versions = await sql.fetchval(
        "select count(*) from maestro.workflow_executions e join maestro.workflow_versions v on v.id = e.version_id"
        " where v.version = '2.0.0' and e.meta ->> 'version' = '2.0.0'"
    )
    assert versions == COUNT
    mc.start("worker")
    completed = "select count(*) from maestro.workflow_executions where status = 2"
    await eventually(lambda: _is(sql, completed, COUNT), seconds=60)
    steps = "select count(*) from maestro.step_executions where step = 0 and status = 6"
    assert await sql.fetchval(steps) == COUNT
    await sql.close()


async def _is(sql: Any, statement: str, count: int) -> bool:
    return bool(await sql.fetchval(statement) == count)


async def _more_moved_than_recorded(sql: Any) -> bool:
    moved, recorded = await sql.fetchrow(
        "select (select count(*) from maestro.execution_events where kind = 18),"
        " (select count(*) from maestro.bulk_results)"
    )
    return bool(recorded and moved > recorded)
