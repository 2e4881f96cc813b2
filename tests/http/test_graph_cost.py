"""`extensions.cost`: told to those who ask, the same over every transport, and to nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from subgraph.app import create_app
from tests.http.serving import EVENTS, Served, asking, listening, working
from tests.http.test_graph_over_sse import events
from tests.http.test_graph_over_websocket import answers, initialised

QUERY = "query($n: Int) { workflows(first: $n) { totalCount edges { node { id } } } }"
ASKED: dict[str, Any] = {
    "query": QUERY,
    "variables": {"n": 7},
    "extensions": {"cost": True},
}
TOLD = {"estimated": 1 + 5 + 7 * 2, "actual": 1 + 5 + 2}


async def over_post(server: Served, asked: dict[str, Any]) -> Any:
    return (await server.request("POST", "/graphql", json=asked, headers=server.bearer())).body


async def over_get(server: Served, asked: dict[str, Any]) -> Any:
    params = {"query": asked["query"]}
    params |= {name: json.dumps(asked[name]) for name in asked.keys() - {"query"}}
    return (await server.request("GET", "/graphql", params=params, headers=server.bearer())).body


async def over_events(server: Served, asked: dict[str, Any]) -> Any:
    return (await events(server, **asked))[0][1]


async def over_websocket(server: Served, asked: dict[str, Any]) -> Any:
    payload = {"authorization": server.bearer()["Authorization"]}
    async with await initialised(server, payload) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked}))
        return (await answers(socket, "1"))[0]["payload"]


@pytest.mark.parametrize("transport", [over_post, over_get, over_events, over_websocket])
async def test_who_asks_is_told_what_an_operation_costs(server: Served, transport: Any) -> None:
    await server.publish()

    told = await transport(server, ASKED)
    untold = await transport(server, {**ASKED, "extensions": {}})

    assert told["extensions"] == {"cost": TOLD}
    assert set(untold) == {"data"}
    assert untold["data"] == told["data"]


async def test_all_are_told_where_that_is_set(server: Served) -> None:
    api = server.rt.settings.api
    settings = replace(
        server.rt.settings, api=replace(api, graph=replace(api.graph, shows_cost=True))
    )
    async with listening(create_app(replace(server.rt, settings=settings))) as url:
        answer = await over_post(replace(server, url=url), {"query": "{ __typename }"})

    assert answer["extensions"] == {"cost": {"estimated": 0, "actual": 0}}


@pytest.mark.parametrize("executor", ["compiled", "strawberry"])
@pytest.mark.parametrize("is_over", [False, True])
async def test_more_steps_than_a_list_is_taken_to_have_count_when_they_are_there(
    server: Served, executor: str, *, is_over: bool
) -> None:
    steps = "\n".join(f"  - {{id: s{n}, uses: core.noop@1}}" for n in range(120))
    await server.publish(f"name: wide\nversion: 1.0.0\nsteps:\n{steps}\n", "wide")
    async with server.client() as session, server.listener() as listener:
        one = await server.enqueue(session, workflowName="wide", input={})
        if is_over:
            async with working(server.rt):
                async for _ in listener.subscribe(asking(EVENTS, {"id": one})):
                    pass
    api = server.rt.settings.api
    text = "query($id: ID!) { execution(id: $id) { status steps { stepKey } } }"
    dearer = """query($id: ID!) { execution(id: $id) { steps { ...S } } }
      fragment S on StepExecution { input }"""
    chosen = (
        """query($id: ID!) { execution(id: $id) { steps(filter: {keys: ["s3"]}) { stepKey } } }"""
    )
    answers = []
    for most in (120, 121, 720, 721):
        graph = replace(api.graph, max_cost=most)
        settings = replace(server.rt.settings, api=replace(api, graph=graph, executor=executor))
        async with listening(create_app(replace(server.rt, settings=settings))) as url:
            one_server = replace(server, url=url)
            answers.append(await one_server.ask(text if most < 720 else dearer, {"id": one}))
            few = await one_server.ask(chosen, {"id": one})
            assert few.body["data"]["execution"]["steps"] == [{"stepKey": "s3"}]

    for refused, answered, most in zip(answers[::2], answers[1::2], (120, 720), strict=True):
        (error,) = refused.body["errors"]
        assert refused.body["data"] == {"execution": None}
        assert error["path"] == ["execution", "steps"]
        told = {"code": "QUERY_TOO_COMPLEX", "reason": "COST", "most": most, "asked": most + 1}
        assert told.items() <= error["extensions"].items()
        assert "`steps(filter:)`" in error["message"]
        assert "`stepsConnection`" in error["message"]
        assert len(answered.body["data"]["execution"]["steps"]) == 120
