"""A full backlog over the graph: a refusal that says when to come again, and the rest of a batch is taken."""

from __future__ import annotations

import asyncpg

from tests.http.serving import Served

ONE = """mutation($x: EnqueueExecutionInput!) { enqueueExecution(input: $x) {
  execution { id } errors { code message path ... on OperationError { reason retryAfter } } } }"""
MANY = """mutation($x: [EnqueueExecutionInput!]!) { enqueueExecutions(input: $x) {
  createdCount results { errors { code ... on OperationError { reason retryAfter } } } } }"""


async def test_a_full_backlog_refuses_and_says_when_to_come_again(tenant_server: Served) -> None:
    await tenant_server.publish()
    connection = await asyncpg.connect(tenant_server.rt.settings.database_url)
    bound = "update maestro.tenants set settings = '{\"max_queued\": 2}' where name = $1"
    await connection.execute(bound, tenant_server.tenant)
    await connection.close()
    one = {"workflowName": "greet", "input": {"name": "Ann"}}

    many = (await tenant_server.ask(MANY, {"x": [one] * 3})).body
    refused = (await tenant_server.ask(ONE, {"x": one})).body

    assert "errors" not in many, many
    assert many["data"]["enqueueExecutions"]["createdCount"] == 2
    full = {"code": "RATE_LIMITED", "reason": "BACKLOG_FULL", "retryAfter": "PT5S"}
    assert [p["errors"] for p in many["data"]["enqueueExecutions"]["results"]] == [[], [], [full]]
    found = refused["data"]["enqueueExecution"]
    assert found["execution"] is None
    assert {name: found["errors"][0][name] for name in full} == full
    assert found["errors"][0]["path"] == ["input"]
