"""`retryPreview`: what a retry would do, over the graph; refused where the retry is, and nothing of another tenant's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.http.serving import Served
from tests.support.steps import CALLS

FLOW = """
name: order
version: 1.0.0
steps:
  - {id: reserve, uses: probe.flaky@1, with: {marker: reserve}}
  - {id: note, uses: core.set@1, depends_on: [reserve], with: {n: 1}}
  - {id: charge, uses: probe.flaky@1, depends_on: [note, call], with: {marker: charge, failures: 9, kind: permanent}}
  - {id: call, type: workflow, depends_on: [reserve], workflow: "bad@^1", input: {}, on_error: continue}
  - {id: mail, uses: core.noop@1, depends_on: [charge, call]}
"""
BAD = "name: bad\nversion: 1.0.0\nsteps: [{id: no, uses: core.fail@1, with: {message: no}}]\n"
PREVIEW = """query ($id: ID!, $kept: Boolean = true) { retryPreview(id: $id, fromFailedStep: $kept) {
  generation runs reuses repeats steps { stepKey type action status keptItems
    repeats { calls completed inDoubt effect isUndone childExecution { id parent { id } } } } } }"""
RETRY = """mutation ($input: RetryExecutionInput!) { retryExecution(input: $input) {
  execution { status generation } errors { code message } } }"""


async def ended(server: Served, one: str) -> None:
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async for _ in server.rt.services.executions.watch(who, UUID(one)):
        continue


async def failed(server: Served) -> str:
    CALLS.clear()
    await server.publish(BAD, "bad")
    await server.publish(FLOW, "order")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="order", input={})
    await ended(server, one)
    return one


async def test_a_retry_is_shown_before_it_happens_and_does_that(
    server: Served, worker: None
) -> None:
    one = await failed(server)
    events = "query ($id: ID!) { execution(id: $id) { generation events(first: 100) { edges { node { type stepKey } } } } }"

    before = (await server.ask(events, {"id": one})).body
    found = (await server.ask(PREVIEW, {"id": one})).body["data"]["retryPreview"]
    anew = (await server.ask(PREVIEW, {"id": one, "kept": False})).body["data"]["retryPreview"]
    after = (await server.ask(events, {"id": one})).body

    assert after == before
    assert [found[name] for name in ("generation", "runs", "reuses", "repeats")] == [1, 2, 3, 1]
    reserve, note, charge, call, mail = found["steps"]
    assert [step["action"] for step in found["steps"]] == ["REUSE", "REUSE", "RUN", "REUSE", "RUN"]
    assert (reserve["status"], call["status"], mail["status"]) == ("COMPLETED", "FAILED", None)
    assert (charge["type"], note["repeats"], mail["repeats"]) == ("probe.flaky@1", None, None)
    assert charge["repeats"] == {
        "calls": 1, "completed": 0, "inDoubt": 0, "effect": "IDEMPOTENT", "isUndone": False,
        "childExecution": None,
    }  # fmt: skip
    assert [anew[name] for name in ("generation", "runs", "reuses", "repeats")] == [1, 5, 0, 3]
    again: Any = anew["steps"][3]["repeats"]
    assert (again["calls"], again["effect"], again["childExecution"]["parent"]["id"]) == (
        1,
        None,
        one,
    )
    assert anew["steps"][0]["repeats"]["completed"] == 1

    await server.ask(RETRY, {"input": {"executionId": one}})
    await ended(server, one)
    edges = (await server.ask(events, {"id": one})).body["data"]["execution"]["events"]["edges"]
    types = [edge["node"]["type"] for edge in edges]
    told = edges[types.index("EXECUTION_RETRIED") :]
    begun = {e["node"]["stepKey"] for e in told if e["node"]["type"] == "STEP_STARTED"}
    assert begun == {"charge"}
    assert (len(CALLS.keys["reserve"]), len(CALLS.keys["charge"])) == (1, 2)


async def test_what_could_not_be_retried_has_no_preview(tenant_server: Served) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        queued = await tenant_server.enqueue(session)
    stranger = tenant_server.bearer(tenant="somebody-else")
    unread = tenant_server.bearer(None, scopes=["workflows:read"])

    refused = await tenant_server.ask(PREVIEW, {"id": queued})
    retried = await tenant_server.ask(RETRY, {"input": {"executionId": queued}})
    nothing = await tenant_server.ask(PREVIEW, {"id": "nothing"})
    foreign = await tenant_server.ask(PREVIEW, {"id": queued}, **stranger)
    denied = await tenant_server.ask(PREVIEW, {"id": queued}, **unread)

    [words] = [error["message"] for error in refused.body["errors"]]
    assert words == retried.body["data"]["retryExecution"]["errors"][0]["message"]
    assert "queued" in words
    assert refused.codes == ["INVALID_STATE"]
    assert nothing.codes == foreign.codes == ["NOT_FOUND"]
    assert denied.codes == ["FORBIDDEN"]
