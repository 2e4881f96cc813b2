"""`compareExecutions`: two executions of a tenant beside each other; nothing of another tenant's."""

from __future__ import annotations

from tests.http.serving import EVENTS, Served, asking

COMPARE = """query Compare($a: ID!, $b: ID!, $all: Boolean = false) { compareExecutions(a: $a, b: $b) {
  differences pathA pathB a { id status } b { id output }
  firstDivergence { stepKey differences }
  steps(all: $all) { stepKey differences a { status duration output } b { status input } } } }"""


async def test_two_executions_show_where_they_part(server: Served, worker: None) -> None:
    await server.publish()
    ids = []
    async with server.client() as session, server.listener() as listener:
        for name in ("Ada", "Ada", "Bob"):
            ids.append(await server.enqueue(session, input={"name": name}))
            async for _ in listener.subscribe(asking(EVENTS, {"id": ids[-1]})):
                pass

    same = (await server.ask(COMPARE, {"a": ids[0], "b": ids[1], "all": True})).body["data"]
    other = (await server.ask(COMPARE, {"a": ids[0], "b": ids[2]})).body["data"]

    found = same["compareExecutions"]
    assert (found["differences"], found["firstDivergence"]) == ([], None)
    assert found["pathA"] == found["pathB"] == ["hello", "shout"]
    assert [step["differences"] for step in found["steps"]] == [[], []]
    found = other["compareExecutions"]
    assert found["differences"] == ["INPUT", "OUTPUT"]
    assert found["firstDivergence"] == {"stepKey": "hello", "differences": ["INPUT", "OUTPUT"]}
    assert found["a"] == {"id": ids[0], "status": "COMPLETED"}
    assert found["b"]["output"] == {"text": "hello Bob!"}
    assert [step["stepKey"] for step in found["steps"]] == ["hello", "shout"]
    assert found["steps"][0]["a"]["duration"] is not None


async def test_what_is_not_there_for_the_caller_is_named_by_its_argument(
    tenant_server: Served,
) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        mine = await tenant_server.enqueue(session)
    stranger = tenant_server.bearer(tenant="somebody-else")

    nowhere = await tenant_server.ask(COMPARE, {"a": mine, "b": "nothing"})
    foreign = await tenant_server.ask(COMPARE, {"a": mine, "b": mine}, **stranger)
    denied = await tenant_server.ask(
        COMPARE,
        {"a": mine, "b": mine},
        **tenant_server.bearer(None, scopes=["workflows:read"]),
    )

    assert nowhere.body["errors"][0]["message"] == "There is no execution `b`."
    assert foreign.body["errors"][0]["message"] == "There is no execution `a`."
    assert nowhere.codes == foreign.codes == ["NOT_FOUND"]
    assert denied.codes == ["FORBIDDEN"]
