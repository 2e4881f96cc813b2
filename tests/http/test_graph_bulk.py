"""Bulk operations over the graph: previewed, started by their token, followed, refused as data."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.http.serving import Served

SOURCE = "name: many\nsteps:\n  - {id: bell, type: wait, signal: go}\n"
PREVIEW = """query ($filter: ExecutionFilter!, $action: BulkActionInput!) {
  bulkOperationPreview(filter: $filter, action: $action) {
    total token expiresAt shares { status count effect detail } sample { id status } } }"""
START = """mutation ($input: StartBulkOperationInput!) { startBulkOperation(input: $input) {
  bulkOperation { id status total } errors { code message path ... on OperationError { reason } } } }"""
STOP = START.replace("StartBulk", "StopBulk").replace("startBulk", "stopBulk")
LOOK = """query ($id: ID!) { bulkOperation(id: $id) {
  id action details filter status total done refused reason createdBy { subject } createdAt startedAt finishedAt
  results { edges { cursor node { position outcome code message executionId execution { id } } } pageInfo { hasNextPage } }
  few: results(first: 1, onlyRefused: true) { edges { node { executionId } } } } }"""
LIST = """{ bulkOperations(first: 5) { edges { node { id status } } pageInfo { hasNextPage } } }"""
CANCEL = {"type": "CANCEL"}


async def data(server: Served, query: str, role: str = "admin", **variables: Any) -> Any:
    answer = await server.ask(query, variables, **server.bearer(role))
    assert "errors" not in answer.body, answer.body
    return next(iter(answer.body["data"].values()))


async def started(server: Served, count: int) -> list[str]:
    await server.publish(SOURCE, "many")
    async with server.client() as session:
        return [await server.enqueue(session, workflowName="many") for _ in range(count)]


async def ended(server: Served, id: str) -> Any:
    async with asyncio.timeout(20):
        while (found := await data(server, LOOK, id=id))["status"] == "RUNNING":
            await asyncio.sleep(0.02)
    return found


async def test_the_whole_way_of_an_operation(tenant_server: Served) -> None:
    server = tenant_server
    ids = await started(server, 3)
    wanted = {"workflowName": ["many"]}

    seen = await data(server, PREVIEW, filter=wanted, action=CANCEL)
    assert seen["total"] == 3
    assert {share["effect"] for share in seen["shares"]} == {"APPLIES"}
    assert [one["id"] for one in seen["sample"]] == sorted(ids, reverse=True)

    asked = {"token": seen["token"], "filter": wanted, "action": CANCEL, "reason": "wrong"}
    done = await data(server, START, input=asked)
    assert done["errors"] == []
    found = await ended(server, done["bulkOperation"]["id"])

    assert (found["status"], found["done"], found["refused"]) == ("COMPLETED", 3, 0)
    assert (found["action"], found["details"]) == ("CANCEL", {"compensate": False})
    assert (found["filter"], found["reason"]) == ({"workflow_name": ["many"]}, "wrong")
    nodes = [edge["node"] for edge in found["results"]["edges"]]
    assert [(one["position"], one["execution"]["id"]) for one in nodes] == [
        (number, key) for number, key in enumerate(sorted(ids), 1)
    ]
    assert found["few"]["edges"] == []
    listed = await data(server, LIST)
    assert [edge["node"]["id"] for edge in listed["edges"]] == [found["id"]]
    again = await data(server, STOP, input={"bulkOperationId": found["id"]})
    assert (again["bulkOperation"]["status"], again["errors"]) == ("COMPLETED", [])
    whole = await server.ask(
        "query($id: ID!) { node(id: $id) { __typename id } }", {"id": found["id"]}
    )
    assert whole.body["data"]["node"] == {"__typename": "BulkOperation", "id": found["id"]}


async def test_refusals_are_data_and_nothing_is_done(tenant_server: Served) -> None:
    server = tenant_server
    (key,) = await started(server, 1)
    seen = await data(server, PREVIEW, filter={}, action=CANCEL)
    own = {"token": seen["token"], "filter": {}, "action": CANCEL}
    asked: list[tuple[dict[str, Any], str, str]] = [
        ({**own, "filter": {"status": ["RUNNING"]}}, "BAD_USER_INPUT", "BULK_TOKEN"),
        ({**own, "action": {"type": "RETRY"}}, "BAD_USER_INPUT", "BULK_TOKEN"),
        ({**own, "token": f"blk_{key}"}, "NOT_FOUND", "BULK_PREVIEW_GONE"),
        ({**own, "token": "nonsense"}, "NOT_FOUND", "BULK_PREVIEW_GONE"),
        ({**own, "reason": "x" * 2_001}, "BAD_USER_INPUT", "REASON_TOO_LONG"),
        ({**own, "action": {"type": "SIGNAL"}}, "BAD_USER_INPUT", "SIGNAL_NAME"),
    ]

    for given, code, reason in asked:
        found = await data(server, START, input=given)
        (error,) = found["errors"]
        assert (error["code"], error["reason"], found["bulkOperation"]) == (code, reason, None)
    viewer = await data(server, START, "viewer", input=own)
    assert [error["code"] for error in viewer["errors"]] == ["FORBIDDEN"]
    denied = await server.ask(PREVIEW, {"filter": {}, "action": CANCEL}, **server.bearer("viewer"))
    assert denied.body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    missing = await data(server, STOP, input={"bulkOperationId": f"blk_{key}"})
    assert [error["code"] for error in missing["errors"]] == ["NOT_FOUND"]
    assert await data(server, LOOK, id=seen["token"]) is None
    assert (await data(server, LIST))["edges"] == []
    shown = await server.ask("query($id: ID!) { execution(id: $id) { status } }", {"id": key})
    assert shown.body["data"]["execution"]["status"] not in {"CANCELLING", "CANCELLED"}
