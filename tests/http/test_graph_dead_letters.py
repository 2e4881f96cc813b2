"""Dead letters over the graph: listed, looked at, decided, and refused as data."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.model.execution import EnqueueRequest
from runtime.model.identity import Principal
from runtime.store.execution import ExecutionStore
from tests.http.serving import Served

LIST = """{ deadLetters(first: 5) { totalCount edges { node {
  id status reason deliveries stepKey payload lostWorkers { name } execution { id status } } } } }"""
REDRIVE = """mutation ($input: DeadLetterActionInput!) { redriveDeadLetters(input: $input) {
  affected deadLetters { id status redrivenAt decidedBy { subject } } errors { code message } } }"""
DISCARD = REDRIVE.replace("redriveDeadLetters", "discardDeadLetters")
SOURCE = "name: doomed\nsteps:\n  - id: a\n    uses: core.noop@1\n"


async def accepted(server: Served) -> UUID:
    """An execution that nobody runs; the server has no worker of its own."""
    who: Principal = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    workflows = server.rt.services.workflows
    made = await workflows.create(
        who, name="doomed", source=SOURCE, format=None, display_name=None, description=None,
        labels={}, namespace=None, idempotency_key=None,
    )  # fmt: skip
    assert made.workflow is not None
    await workflows.publish(who, made.workflow.id)
    request = EnqueueRequest(workflow_name="doomed")
    return (await server.rt.services.executions.enqueue(who, request)).execution.id


async def doomed(server: Served) -> str:
    """The id of an execution that has cost three workers."""
    execution, store = await accepted(server), ExecutionStore(server.rt.shards.catalog)
    # Each registers with a lease that has run out already, and the next one buries it.
    for me in (1, 2, 3, 4):
        epoch = await store.register(0, me, f"host:{me}", -1.0)
        await store.bury(0, me)
        await store.takeover(0, me, epoch, 10)
        if me == 1:
            await store.claim(0, me, epoch, [execution])
        await store.claim_alone(0, me, epoch)
    return str(execution)


async def test_a_dead_letter_is_seen_and_redriven(server: Served) -> None:
    execution = await doomed(server)

    page = (await server.ask(LIST, **server.bearer())).body["data"]["deadLetters"]
    (node,) = (edge["node"] for edge in page["edges"])
    meant = {"input": {"ids": [node["id"]], "reason": "mended"}}
    done = (await server.ask(REDRIVE, meant, **server.bearer())).body["data"]["redriveDeadLetters"]

    assert (page["totalCount"], node["id"]) == (1, f"{execution}.d.0")
    assert node["execution"] == {"id": execution, "status": "DEAD_LETTERED"}
    assert [lost["name"] for lost in node["lostWorkers"]] == ["host:1", "host:2", "host:3"]
    assert node["payload"]["events"][-1]["type"] == "DEAD_LETTERED"
    assert (done["affected"], done["errors"]) == (1, [])
    assert done["deadLetters"][0]["status"] == "REDRIVEN"
    assert done["deadLetters"][0]["decidedBy"] == {"subject": "alice"}


async def test_a_decision_the_other_way_round_is_refused_as_data(server: Served) -> None:
    execution = await doomed(server)
    meant = {"input": {"ids": [f"{execution}.d.0"]}}
    await server.ask(DISCARD, meant, **server.bearer())

    answer = await server.ask(REDRIVE, meant, **server.bearer())

    errors = answer.body["data"]["redriveDeadLetters"]["errors"]
    assert [error["code"] for error in errors] == ["INVALID_STATE"]


async def test_an_id_of_something_else_is_not_found(server: Served) -> None:
    meant = {"input": {"ids": ["wf_1"]}}

    answer = await server.ask(DISCARD, meant, **server.bearer())

    errors = answer.body["data"]["discardDeadLetters"]["errors"]
    assert [error["code"] for error in errors] == ["NOT_FOUND"]


async def test_operators_neither_see_nor_decide(server: Served) -> None:
    seen = await server.ask(LIST, **server.bearer("operator"))
    meant: dict[str, Any] = {"input": {"filter": {}}}
    decided = await server.ask(REDRIVE, meant, **server.bearer("operator"))

    assert seen.codes == ["FORBIDDEN"]
    errors = decided.body["data"]["redriveDeadLetters"]["errors"]
    assert [error["code"] for error in errors] == ["FORBIDDEN"]


async def test_a_message_that_nobody_can_decode_is_seen_whole(server: Served) -> None:
    execution, database = await accepted(server), server.rt.shards.catalog
    store, kind, said = ExecutionStore(database), 77, {"what": "new"}
    epoch = await store.register(0, 1, "host:1", 60.0)
    await store.claim(0, 1, epoch, [execution])
    async with database.engine() as connection:
        tenant = await connection.fetchval("select tenant_id from workflow_executions")
        await store.send(0, tenant, execution, kind, said, connection)  # type: ignore[arg-type] # of a later release
    await store.set_aside(
        0, 1, epoch, execution, 1, {"type": "x", "message": "no", "retryable": False}
    )

    page = (await server.ask(LIST, **server.bearer())).body["data"]["deadLetters"]
    (node,) = (edge["node"] for edge in page["edges"])

    assert (node["id"], node["reason"]) == (f"{execution}.d.0.1", "undecodable")
    shown = node["payload"]["message"]
    assert (shown["n"], shown["kind"], shown["data"]) == (1, kind, said)
    assert (node["deliveries"], node["stepKey"], node["lostWorkers"]) == (0, None, [])
