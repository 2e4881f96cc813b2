"""`replayExecution`: an execution's record, proven over the graph; nothing of another tenant's."""

from __future__ import annotations

from tests.http.serving import EVENTS, Served, asking

REPLAY = """query Replay($id: ID!, $execute: Boolean = false) { replayExecution(id: $id, execute: $execute) {
  isEqual events attempts inputs outputs executed leftOut
  divergence { kind stepKey item sequence expected found } } }"""


async def test_an_execution_is_replayed(server: Served, worker: None) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        one = await server.enqueue(session, input={"name": "Ada"})
        async for _ in listener.subscribe(asking(EVENTS, {"id": one})):
            pass

    found = (await server.ask(REPLAY, {"id": one})).body["data"]["replayExecution"]
    again = (await server.ask(REPLAY, {"id": one, "execute": True})).body["data"]["replayExecution"]

    assert found == {
        "isEqual": True, "events": 7, "attempts": 2, "inputs": 2, "outputs": 3,
        "executed": 0, "leftOut": 0, "divergence": None,
    }  # fmt: skip
    assert again == found | {"executed": again["executed"], "leftOut": 2 - again["executed"]}


async def test_a_replay_needs_the_right_to_read_and_running_again_that_to_debug(
    tenant_server: Served,
) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        mine = await tenant_server.enqueue(session)
    reads = tenant_server.bearer(None, scopes=["executions:read"])

    queued = await tenant_server.ask(REPLAY, {"id": mine}, **reads)
    nothing = await tenant_server.ask(REPLAY, {"id": "nothing"})
    foreign = await tenant_server.ask(
        REPLAY, {"id": mine}, **tenant_server.bearer(tenant="somebody-else")
    )
    denied = await tenant_server.ask(
        REPLAY, {"id": mine}, **tenant_server.bearer(None, scopes=["workflows:read"])
    )
    no_debug = await tenant_server.ask(REPLAY, {"id": mine, "execute": True}, **reads)

    assert queued.body["data"]["replayExecution"]["isEqual"] is True
    assert nothing.codes == foreign.codes == ["NOT_FOUND"]
    assert denied.codes == no_debug.codes == ["FORBIDDEN"]
