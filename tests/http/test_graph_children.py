"""Children in the graph: the way down and up, why a parent waits, and nothing of what another tenant has."""

from __future__ import annotations

import asyncio
from uuid import UUID

from tests.http.serving import Served
from tests.support.steps import CALLS

CHILD = """
name: below
version: 1.2.0
params: {word: string}
steps: [{id: gate, uses: probe.gate@1, with: {marker: below, value: "{{ params.word }}"}}]
outputs: {said: "{{ steps.gate.output }}"}
"""
PARENT = """
name: above
version: 1.0.0
steps:
  - {id: call, type: workflow, workflow: "below@^1", input: {word: hello}}
  - {id: after, uses: core.noop@1, depends_on: [call]}
outputs: {got: "{{ steps.call.output.said }}"}
"""
FAMILY = """query ($id: ID!) { execution(id: $id) { status output parent { id } blockedBy { cause }
  waitingFor { kind } steps { stepKey status output input childExecution { id status
    trigger { kind } workflowVersion { version } parent { id status } } blockedBy { cause since summary } } } }"""


async def begun(server: Served) -> str:
    CALLS.clear()
    await server.publish(CHILD, "below")
    await server.publish(PARENT, "above")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="above")
    async with asyncio.timeout(20):
        await CALLS.begun["below"].wait()
    return str(one)


async def test_a_parent_shows_its_child_and_the_child_its_parent(
    server: Served, worker: None
) -> None:
    parent = await begun(server)
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async with asyncio.timeout(20):
        async for event in server.rt.services.executions.watch(who, UUID(parent)):
            if event.kind.word == "execution_waiting":
                break

    found = (await server.ask(FAMILY, {"id": parent})).body["data"]["execution"]

    call, after = found["steps"]
    child = call["childExecution"]
    assert (found["status"], found["waitingFor"], found["parent"]) == (
        "WAITING",
        {"kind": "CHILD_EXECUTION"},
        None,
    )
    assert (found["blockedBy"]["cause"], call["blockedBy"]["cause"]) == ("CHILD", "CHILD")
    assert child["id"] in call["blockedBy"]["summary"]
    assert (call["status"], call["input"]) == ("WAITING", {"word": "hello"})
    assert (child["status"], child["trigger"], child["workflowVersion"]) == (
        "RUNNING",
        {"kind": "PARENT"},
        {"version": "1.2.0"},
    )
    assert child["parent"] == {"id": parent, "status": "WAITING"}
    assert after["childExecution"] is None

    CALLS.gates["below"].set()
    async with asyncio.timeout(20):
        async for _ in server.rt.services.executions.watch(who, UUID(parent)):
            continue

    found = (await server.ask(FAMILY, {"id": parent})).body["data"]["execution"]
    assert (found["status"], found["output"]) == ("COMPLETED", {"got": "hello"})
    assert found["steps"][0]["output"] == {"said": "hello"}
    assert found["steps"][0]["childExecution"]["status"] == "COMPLETED"


async def test_a_child_that_is_kept_no_longer_is_null(server: Served, worker: None) -> None:
    parent = await begun(server)
    CALLS.gates["below"].set()
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async with asyncio.timeout(20):
        async for _ in server.rt.services.executions.watch(who, UUID(parent)):
            continue
    found = (await server.ask(FAMILY, {"id": parent})).body["data"]["execution"]
    child = found["steps"][0]["childExecution"]["id"]
    async with server.rt.database.worker() as connection:
        await connection.execute("delete from workflow_executions where id = $1", UUID(child))

    found = (await server.ask(FAMILY, {"id": parent})).body["data"]["execution"]

    assert (found["steps"][0]["childExecution"], found["output"]) == (None, {"got": "hello"})


async def ask_for(server: Served, mutation: str, id: str) -> list[dict[str, str]]:
    """The errors of a mutation that takes one execution."""
    words = f"mutation ($id: ID!) {{ {mutation}(input: {{executionId: $id}}) {{ errors {{ code message }} }} }}"
    answer = await server.ask(words, {"id": id})
    found: list[dict[str, str]] = answer.body["data"][mutation]["errors"]
    return found


async def test_a_parent_is_retried_when_its_child_has_ended_and_shows_what_it_then_starts(
    server: Served, worker: None
) -> None:
    parent = await begun(server)
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)

    async def ended(id: str) -> None:
        async with asyncio.timeout(20):
            async for _ in server.rt.services.executions.watch(who, UUID(id)):
                continue

    async def shown() -> dict[str, str] | None:
        found = (await server.ask(FAMILY, {"id": parent})).body["data"]["execution"]
        child: dict[str, str] | None = found["steps"][0]["childExecution"]
        return child

    child = await shown()
    assert child is not None
    CALLS.begun["below"].clear()
    assert await ask_for(server, "cancelExecution", child["id"]) == []
    await ended(parent)
    assert await ask_for(server, "retryExecution", child["id"]) == []
    async with asyncio.timeout(20):
        await CALLS.begun["below"].wait()

    [refused] = await ask_for(server, "retryExecution", parent)

    assert (refused["code"], child["id"] in refused["message"]) == ("INVALID_STATE", True)
    CALLS.gates["below"].set()
    await ended(child["id"])
    async with server.rt.database.worker() as connection:
        await connection.execute("update workflow_versions set state = 2 where version = '1.2.0'")
    assert await ask_for(server, "retryExecution", parent) == []
    await ended(parent)
    assert await shown() is None, "the attempt of this generation has started none"


CHILDREN = """query ($id: ID!, $after: String, $at: BigInt) { execution(id: $id, at: $at) { children(first: 2, after: $after) {
  edges { cursor stepKey attempt startedAt node { id status parent { id } } }
  pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
THREE = """
name: family
version: 1.0.0
steps:
  - {id: a, type: workflow, workflow: "quick@^1"}
  - {id: b, type: workflow, workflow: "quick@^1", depends_on: [a]}
  - {id: c, type: workflow, workflow: "quick@^1", depends_on: [b]}
"""


async def test_all_children_come_in_pages_in_the_order_in_which_they_were_started(
    server: Served, worker: None
) -> None:
    await server.publish(
        "name: quick\nversion: 1.0.0\nsteps: [{id: s, uses: core.noop@1}]", "quick"
    )
    await server.publish(THREE, "family")
    async with server.client() as session:
        parent = str(await server.enqueue(session, workflowName="family"))
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async with asyncio.timeout(20):
        async for _ in server.rt.services.executions.watch(who, UUID(parent)):
            continue

    async def page(**more: object) -> tuple[list[dict[str, object]], dict[str, object]]:
        answer = await server.ask(CHILDREN, {"id": parent, **more})
        found = answer.body["data"]["execution"]["children"]
        return found["edges"], found["pageInfo"]

    first, info = await page()
    second, rest = await page(after=info["endCursor"])

    assert [one["stepKey"] for one in first + second] == ["a", "b", "c"]
    assert [one["attempt"] for one in first] == [1, 1]
    assert first[0]["node"]["status"] == "COMPLETED"  # type: ignore[index] # a child
    assert first[0]["node"]["parent"] == {"id": parent}  # type: ignore[index] # a child
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert (rest["hasNextPage"], rest["hasPreviousPage"]) == (False, True)
    then, _ = await page(at=first[0]["cursor"])
    assert [one["stepKey"] for one in then] == ["a"], "as of then"
    async with server.rt.database.worker() as connection:
        gone = UUID(str(first[0]["node"]["id"]))  # type: ignore[index] # a child
        await connection.execute("delete from workflow_executions where id = $1", gone)
    kept, _ = await page()
    assert [one["node"] is None for one in kept] == [True, False]


async def test_children_are_seen_by_who_sees_their_parent_alone(
    server: Served, worker: None
) -> None:
    parent = await begun(server)

    found = await server.ask(CHILDREN, {"id": parent}, **server.bearer(tenant="somebody-else"))

    CALLS.gates["below"].set()
    assert found.body["data"]["execution"] is None
