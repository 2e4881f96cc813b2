"""Items of maps in the graph: a page, a count, one by its id, its output as a download, and what none of them tells."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from runtime.services.item import ItemService
from tests.http.serving import Served
from tests.support.steps import CALLS

SOURCE = """
name: each
version: 1.0.0
params: {sizes: {type: array, items: {type: integer}}}
steps:
  - id: all
    type: map
    for_each: "{{ params.sizes }}"
    failure_policy: collect
    task: {uses: probe.echo@1, with: {bytes: "{{ item }}", cost: 0.25 EUR}}
  - {id: after, uses: core.noop@1, depends_on: [all]}
"""
ITEMS = """query ($id: ID!, $first: Int = 10, $after: String, $status: [StepStatus!]) { execution(id: $id) {
  cost { amount currency } all: step(key: "all") { ...Map } after: step(key: "after") { ...Map } } }
fragment Map on StepExecution {
  stepKey mapIndex status cost { amount currency } progress { total completed failed running }
  items(first: $first, after: $after, status: $status) {
    totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
    edges { cursor node { id mapIndex stepKey status attempt input output outputRef { uri sizeBytes }
      attempts { status } cost { amount } blockedBy { cause } items(first: 1) { totalCount } progress { total } } } } }"""
ONE = """query ($id: ID!) { node(id: $id) { id ... on StepExecution { stepKey mapIndex status output
  execution { id } } } }"""
THEN = """query ($id: ID!) { execution(id: $id, at: 3) {
  steps { stepKey status progress { total } items(first: 1) { totalCount } } } }"""


async def run(server: Served, sizes: list[int]) -> str:
    CALLS.clear()
    await server.publish(SOURCE, "each")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="each", input={"sizes": sizes})
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async with asyncio.timeout(20):
        async for _ in server.rt.services.executions.watch(who, UUID(one)):
            continue
    return one


async def asked(server: Served, execution: str, **more: Any) -> Any:
    answer = await server.ask(ITEMS, {"id": execution, **more})
    assert answer.codes == []
    return answer.body["data"]["execution"]


async def test_the_items_of_a_map_are_a_connection_of_steps(server: Served, worker: None) -> None:
    execution = await run(server, [3, 40_000, 5])

    found = await asked(server, execution, first=2)
    of_map, after = found["all"], found["after"]

    assert (found["cost"], of_map["cost"]) == ([{"amount": "0.75", "currency": "EUR"}],) * 2
    assert of_map["progress"] == {"total": 3, "completed": 3, "failed": 0, "running": 0}
    assert (after["progress"], after["items"], of_map["mapIndex"]) == (None, None, None)
    items = of_map["items"]
    assert items["totalCount"] == 3
    assert items["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False, "endCursor": "2"}
    first, second = (edge["node"] for edge in items["edges"])
    assert first == {
        "id": f"{execution}.s.0.0",
        "mapIndex": 0,
        "stepKey": "all",
        "status": "COMPLETED",
        "attempt": 1,
        "input": {"bytes": 3, "cost": "0.25 EUR"},
        "output": "xxx",
        "outputRef": None,
        "attempts": [{"status": "COMPLETED"}],
        "cost": [{"amount": "0.25"}],
        "blockedBy": None,
        "items": None,
        "progress": None,
    }
    assert second["output"] == "x" * 40_000
    rest = (await asked(server, execution, first=2, after="2"))["all"]["items"]
    assert [edge["node"]["mapIndex"] for edge in rest["edges"]] == [2]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)
    download = await server.request("GET", second["outputRef"]["uri"], headers=server.bearer())
    assert (download.status, download.body) == (200, "x" * 40_000)


async def test_items_are_chosen_by_status_and_found_by_id(server: Served, worker: None) -> None:
    execution = await run(server, [1, -1, 2])

    found = await asked(server, execution, status=["COMPLETED"])
    none = await asked(server, execution, status=["FAILED", "RUNNING"])
    assert found["all"]["items"]["totalCount"] is None
    assert [one["node"]["mapIndex"] for one in found["all"]["items"]["edges"]] == [0, 1, 2]
    assert none["all"]["items"]["edges"] == []

    one = (await server.ask(ONE, {"id": f"{execution}.s.0.2"})).body["data"]["node"]
    assert one == {
        "id": f"{execution}.s.0.2",
        "stepKey": "all",
        "mapIndex": 2,
        "status": "COMPLETED",
        "output": "xx",
        "execution": {"id": execution},
    }
    for other in (".s.0.3", ".s.1.0", ".s.9.0"):
        assert (await server.ask(ONE, {"id": execution + other})).body["data"]["node"] is None
    stranger = server.bearer(tenant="somebody-else")
    answer = await server.ask(ONE, {"id": f"{execution}.s.0.2"}, **stranger)
    assert answer.body["data"]["node"] is None


async def test_items_by_their_ids_are_read_together(
    server: Served, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of one costs a look at the rows of its map, and while that runs at its events."""
    execution = await run(server, [1, 2, 3])
    find, asked = ItemService.find, list[list[int]]()

    async def noting(self: ItemService, who: Any, view: Any, step: int, items: list[int]) -> Any:
        asked.append(items)
        return await find(self, who, view, step, items)

    monkeypatch.setattr(ItemService, "find", noting)
    nodes = " ".join(f'n{one}: node(id: "{execution}.s.0.{one}") {{ id }}' for one in range(3))

    answer = await server.ask(f"{{ {nodes} }}")

    assert len(answer.body["data"]) == 3
    assert asked == [[0, 1, 2]]


async def test_of_the_past_no_items_are_told(server: Served, worker: None) -> None:
    execution = await run(server, [1])

    answer = await server.ask(THEN, {"id": execution})

    of_map, after = answer.body["data"]["execution"]["steps"]
    assert (of_map["status"], of_map["items"], of_map["progress"]) == ("RUNNING", None, None)
    assert (after["items"], after["progress"]) == (None, None)


async def test_a_download_of_an_item_that_is_not_there_is_refused(
    server: Served, worker: None
) -> None:
    execution = await run(server, [1])
    path = f"/api/executions/{execution}/steps/all/output"

    found = [
        await server.request("GET", path + query, headers=server.bearer())
        for query in ("?item=1", "?item=-1", "?item=x", "?item=0&at=3")
    ]
    assert [(one.status, one.body["reason"]) for one in found] == [
        (404, "ITEM_NOT_FOUND"),
        (400, "ITEM_NOT_FOUND"),
        (400, "ITEM_NOT_FOUND"),
        (400, "NO_PAST"),
    ]


async def test_no_item_has_a_negative_number(server: Served, worker: None) -> None:
    execution = await run(server, [1])
    said = {"executionId": execution, "stepKey": "all", "mapIndex": -1, "decision": "FAIL"}
    answer = await server.ask(
        "mutation ($i: ResolveInDoubtInput!) { resolveInDoubt(input: $i) { errors { message path } } }",
        {"i": said},
    )
    (error,) = answer.body["data"]["resolveInDoubt"]["errors"]
    assert error["path"] == ["input", "mapIndex"]
    assert error["message"].endswith("has no item -1.")
