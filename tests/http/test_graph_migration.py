"""`migrationPreview` over the graph: verdicts and findings, refused in words, and nothing of another tenant's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.model.event import EventKind
from tests.http.serving import Served

OLD = """
name: order
version: 1.0.0
steps:
  - {id: approve, type: wait, signal: go}
  - {id: mail, uses: core.noop@1, depends_on: [approve]}
"""
NEW = OLD.replace("1.0.0", "2.0.0").replace("core.noop@1", "core.set@1")
RENAMED = OLD.replace("1.0.0", "3.0.0").replace("approve", "agree")
PREVIEW = """query ($id: ID!, $to: SemVer!) { migrationPreview(workflowId: $id, from: "1.0.0", to: $to) {
  edges { node { executionId verdict execution { status } findings { obstacle stepKey message } } }
  pageInfo { hasNextPage } } }"""
PUBLISH = "mutation ($input: PublishWorkflowInput!) { publishWorkflow(input: $input) { errors { message } } }"
UPDATE = "mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { errors { message } } }"


async def ask(server: Served, workflow: str, to: str) -> Any:
    return (await server.ask(PREVIEW, {"id": workflow, "to": to})).body


async def test_each_execution_says_what_it_would_come_to(server: Served, worker: None) -> None:
    workflow = await server.publish(OLD, "order")
    for source in (NEW, RENAMED):
        await server.ask(UPDATE, {"input": {"workflowId": workflow, "source": source}})
        done = await server.ask(PUBLISH, {"input": {"workflowId": workflow}})
        assert done.body["data"]["publishWorkflow"]["errors"] == []
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="order", version="1.0.0", input={})
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async for told in server.rt.services.executions.watch(who, UUID(one)):
        if told.kind is EventKind.SIGNAL_AWAITED:
            break

    safe, renamed = [await ask(server, workflow, to) for to in ("2.0.0", "3.0.0")]
    absent = await ask(server, workflow, "9.0.0")

    [edge] = safe["data"]["migrationPreview"]["edges"]
    assert (edge["node"]["executionId"], edge["node"]["verdict"]) == (one, "SAFE")
    assert edge["node"]["findings"] == []
    [edge] = renamed["data"]["migrationPreview"]["edges"]
    assert edge["node"]["verdict"] == "NEEDS_MAPPING"
    assert edge["node"]["findings"] == [
        {
            "obstacle": "STEP_MISSING",
            "stepKey": "approve",
            "message": "The step 'approve' has begun, and is not there any more.",
        }
    ]
    assert absent["data"]["migrationPreview"] is None
    [error] = absent["errors"]
    assert (error["extensions"]["code"], error["message"]) == (
        "NOT_FOUND",
        "The workflow has no version 9.0.0.",
    )
