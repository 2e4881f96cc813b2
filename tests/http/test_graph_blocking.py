"""`blockedBy` in the graph: one cause for each step that is not running, for its tenant only, by both executors alike."""

from __future__ import annotations

from tests.http.serving import EVENTS, Served, asking

WHY = """query Why($id: ID!) { execution(id: $id) { status
  blockedBy { cause stepKey since }
  steps { stepKey status blockedBy {
    cause stepKey summary whatFrees since until steps signal attempt target actor { subject } reason workerId position
  } } } }"""


async def test_what_waits_says_for_what_and_since_when(tenant_server: Served) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        execution_id = await tenant_server.enqueue(session)

    found = (await tenant_server.ask(WHY, {"id": execution_id})).body["data"]["execution"]
    first, second = (step["blockedBy"] for step in found["steps"])

    assert found["status"] == "QUEUED"
    assert found["blockedBy"] == {"cause": "WORKER", "stepKey": "hello", "since": first["since"]}
    assert first["cause"] == "WORKER"
    assert first["whatFrees"] == "A worker: start one."
    assert (second["cause"], second["steps"], second["until"]) == ("DEPENDENCY", ["hello"], None)
    assert second["summary"] == "It waits for hello."


async def test_of_an_execution_that_is_not_ones_own_nothing_is_told(tenant_server: Served) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        execution_id = await tenant_server.enqueue(session)

    stranger = tenant_server.bearer(tenant="somebody-else")
    found = await tenant_server.ask(WHY, {"id": execution_id}, **stranger)
    unread = await tenant_server.ask(
        WHY, {"id": execution_id}, **tenant_server.bearer(None, scopes=["workflows:read"])
    )

    assert found.body["data"] == {"execution": None}
    assert unread.codes == ["FORBIDDEN"]


async def test_what_has_ended_waits_for_nothing(server: Served, worker: None) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        async for _ in listener.subscribe(asking(EVENTS, {"id": execution_id})):
            pass

    found = (await server.ask(WHY, {"id": execution_id})).body["data"]["execution"]

    assert found["blockedBy"] is None
    assert [step["blockedBy"] for step in found["steps"]] == [None, None]
