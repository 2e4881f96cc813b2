"""Saga compensation over HTTP: what is shown while steps are undone and after, in lists and numbers, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from tests.http.serving import Served
from tests.http.test_downloads import got
from tests.support.steps import CALLS

SAGA = """
name: saga
version: 1.0.0
steps:
  - id: reserve
    uses: core.set@1
    with: {id: r1}
    compensate: {uses: core.set@1, with: {released: "{{ steps.reserve.output.id }}"}}
  - id: charge
    uses: core.set@1
    depends_on: [reserve]
    with: {charge: c1}
    compensate: {uses: probe.gate@1, with: {marker: refund, value: "{{ steps.charge.output.charge }}"}}
  - {id: mail, uses: core.noop@1, depends_on: [charge]}
  - {id: ship, uses: core.fail@1, depends_on: [mail], with: {message: no truck}}
"""
SHOWN = """query ($id: ID!, $at: BigInt) { execution(id: $id, at: $at) { status error { type stepKey } generation
  steps { stepKey status output compensation { id stepKey status attempt input output error { type }
    attempts { status } blockedBy { cause summary } } } } }"""
NODE = "query ($id: ID!) { node(id: $id) { ... on StepExecution { stepKey output execution { id } } } }"
EVENTS = "query ($id: ID!) { execution(id: $id) { events(first: 100) { edges { node { type sequence stepKey data } } } } }"
LISTED = """query { executions(filter: {status: [COMPENSATING]}) { totalCount edges { node { id status } } }
  executionStats { compensating running failed } }"""
REPLAY = """query ($id: ID!) { replayExecution(id: $id, execute: true) {
  isEqual executed divergence { kind stepKey expected found } } }"""
CANCEL = """mutation ($input: CancelExecutionInput!) { cancelExecution(input: $input) {
  execution { status } errors { code message } } }"""
RETRY = """mutation ($input: RetryExecutionInput!) { retryExecution(input: $input) {
  execution { status } errors { code } } }"""


async def begun(server: Served) -> str:
    """An execution whose last step failed, and of which the newest is being undone."""
    CALLS.clear()
    await server.publish(SAGA, "saga")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="saga")
    async with asyncio.timeout(20):
        await CALLS.begun["refund"].wait()
    return str(one)


async def ended(server: Served, one: str) -> None:
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async with asyncio.timeout(20):
        async for _ in server.rt.services.executions.watch(who, UUID(one)):
            continue


async def shown(server: Served, one: str, at: int | None = None) -> Any:
    answer = await server.ask(SHOWN, {"id": one, "at": at})
    return answer.body["data"]["execution"]


async def events(server: Served, one: str) -> list[Any]:
    answer = await server.ask(EVENTS, {"id": one})
    return [edge["node"] for edge in answer.body["data"]["execution"]["events"]["edges"]]


async def test_steps_are_undone_from_the_newest_on_and_all_of_it_is_shown(
    server: Served, worker: None
) -> None:
    one = await begun(server)
    now = await shown(server, one)

    assert (now["status"], now["error"]) == ("COMPENSATING", None)
    reserve, charge, mail, ship = now["steps"]
    assert [step["status"] for step in now["steps"]] == ["COMPLETED"] * 3 + ["FAILED"]
    assert (mail["compensation"], ship["compensation"]) == (None, None)
    assert charge["compensation"]["stepKey"] == "charge:compensate"
    assert (charge["compensation"]["status"], charge["compensation"]["attempt"]) == ("RUNNING", 1)
    assert reserve["compensation"]["status"] == "PENDING"
    assert reserve["compensation"]["blockedBy"]["cause"] == "DEPENDENCY"
    assert "charge:compensate" in reserve["compensation"]["blockedBy"]["summary"]

    found = (await server.ask(LISTED)).body["data"]
    assert [edge["node"]["id"] for edge in found["executions"]["edges"]] == [one]
    assert found["executions"]["totalCount"] == 1
    assert found["executionStats"] == {"compensating": 1, "running": 0, "failed": 0}

    refused = (await server.ask(CANCEL, {"input": {"executionId": one}})).body["data"]
    [error] = refused["cancelExecution"]["errors"]
    assert "being undone" in error["message"]

    CALLS.gates["refund"].set()
    await ended(server, one)
    over = await shown(server, one)
    assert (over["status"], over["error"]["stepKey"]) == ("FAILED", "ship")
    reserve, charge, mail, ship = over["steps"]
    assert [step["status"] for step in over["steps"]] == [
        "COMPENSATED",
        "COMPENSATED",
        "COMPLETED",
        "FAILED",
    ]
    assert reserve["output"] == {"id": "r1"}
    assert reserve["compensation"]["input"] == {"released": "r1"}
    assert reserve["compensation"]["output"] == {"released": "r1"}
    assert charge["compensation"]["input"] == {"marker": "refund", "value": "c1"}
    assert [a["status"] for a in charge["compensation"]["attempts"]] == ["COMPLETED"]
    node = await server.ask(NODE, {"id": reserve["compensation"]["id"]})
    assert node.body["data"]["node"]["stepKey"] == "reserve:compensate"
    found = (await server.ask(LISTED)).body["data"]
    assert found["executions"]["edges"] == []
    assert found["executionStats"] == {"compensating": 0, "running": 0, "failed": 1}

    for step, output in (("reserve", {"id": "r1"}), ("reserve:compensate", {"released": "r1"})):
        status, _, body = await got(server, f"/api/executions/{one}/steps/{step}/output")
        assert (status, json.loads(body)) == (200, output)

    told = await events(server, one)
    undone = [event["stepKey"] for event in told if event["type"] == "STEP_COMPENSATED"]
    assert undone == ["charge", "reserve"]
    assert told[-1]["data"]["compensation"] == {"undone": ["charge", "reserve"], "failed": []}
    [begin] = [event for event in told if event["type"] == "EXECUTION_COMPENSATING"]
    past = await shown(server, one, begin["sequence"])
    assert past["status"] == "COMPENSATING"
    assert [step["status"] for step in past["steps"]] == ["COMPLETED"] * 3 + ["FAILED"]
    assert past["steps"][0]["compensation"]["status"] == "PENDING"


async def test_a_retry_runs_again_what_was_undone_and_what_rests_on_it(
    server: Served, worker: None
) -> None:
    one = await begun(server)
    CALLS.gates["refund"].set()
    await ended(server, one)

    answer = await server.ask(RETRY, {"input": {"executionId": one, "fromFailedStep": True}})
    assert answer.body["data"]["retryExecution"]["errors"] == []
    await ended(server, one)
    told = await events(server, one)
    begins = [event["stepKey"] for event in told if event["type"] == "STEP_STARTED"]
    once = ["reserve", "charge", "mail", "ship", "charge:compensate", "reserve:compensate"]
    assert begins == once * 2
    over = await shown(server, one)
    assert (over["status"], over["generation"]) == ("FAILED", 1)
    assert over["steps"][0]["compensation"]["attempts"] == [{"status": "COMPLETED"}]
    proof = (await server.ask(REPLAY, {"id": one})).body["data"]["replayExecution"]
    assert (proof["isEqual"], proof["divergence"]) == (True, None)
    assert proof["executed"] > 0


WAITS = """
name: waits
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1, compensate: {uses: core.set@1, with: {undone: true}}}
  - {id: b, type: wait, depends_on: [a], signal: never}
"""


async def test_a_cancel_undoes_when_it_is_asked_to(server: Served, worker: None) -> None:
    await server.publish(WAITS, "waits")
    for compensate, status in ((True, "COMPENSATED"), (False, "COMPLETED")):
        async with server.client() as session:
            one = str(await server.enqueue(session, workflowName="waits"))
        who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
        async with asyncio.timeout(20):
            async for event in server.rt.services.executions.watch(who, UUID(one)):
                if event.kind.word == "execution_waiting":
                    break
        asked = {"executionId": one, "reason": "enough", "compensate": compensate}
        answer = await server.ask(CANCEL, {"input": asked})
        assert answer.body["data"]["cancelExecution"]["errors"] == []
        await ended(server, one)
        over = await shown(server, one)
        assert (over["status"], over["steps"][0]["status"]) == ("CANCELLED", status)


BELOW = """
name: below
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1, compensate: {uses: core.noop@1}}
  - {id: b, type: wait, depends_on: [a], signal: never}
"""
DONE = """
name: done
version: 1.0.0
steps: [{id: a, uses: core.set@1, with: {number: 7}}]
outputs: {number: "{{ steps.a.output.number }}"}
"""
ABOVE = """
name: above
version: 1.0.0
steps:
  - id: ended
    type: workflow
    workflow: "done@1"
    compensate: {uses: core.set@1, with: {undone: "{{ steps.ended.output.number }}"}}
  - {id: going, type: workflow, workflow: "below@1", depends_on: [ended]}
  - {id: go, type: wait, signal: go}
  - {id: boom, uses: core.fail@1, depends_on: [go]}
"""
FAMILY = """query ($id: ID!) { execution(id: $id) { status steps { stepKey status
  compensation { output } childExecution { id status steps { stepKey status } } } } }"""


async def test_a_parent_asks_children_that_run_to_undo_and_undoes_those_that_ended_itself(
    server: Served, worker: None
) -> None:
    for text, name in ((BELOW, "below"), (DONE, "done"), (ABOVE, "above")):
        await server.publish(text, name)
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    executions = server.rt.services.executions
    async with server.client() as session:
        one = str(await server.enqueue(session, workflowName="above"))

    async def child() -> str | None:
        found = (await server.ask(FAMILY, {"id": one})).body["data"]["execution"]["steps"][1]
        return found["childExecution"] and str(found["childExecution"]["id"])

    async with asyncio.timeout(20):
        async for event in executions.watch(who, UUID(one)):
            if event.kind.word == "child_started" and event.field("key") == "going":
                break
        below = await child()
        assert below is not None
        async for event in executions.watch(who, UUID(below)):
            if event.kind.word == "execution_waiting":
                break
    await executions.messages.signal(who, UUID(one), "go")
    await ended(server, one)

    found = (await server.ask(FAMILY, {"id": one})).body["data"]["execution"]
    first, going, *_ = found["steps"]
    assert found["status"] == "FAILED"
    assert (first["status"], first["compensation"]) == ("COMPENSATED", {"output": {"undone": 7}})
    assert first["childExecution"]["status"] == "COMPLETED"
    assert going["childExecution"]["status"] == "CANCELLED"
    assert going["childExecution"]["steps"][0]["status"] == "COMPENSATED"
