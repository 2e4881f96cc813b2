"""Entities: gateways resolve references of every key, in one batch, and nothing of other tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.serving import Served, serving

QUERY = """query($representations: [_Any!]!) { _entities(representations: $representations) {
  __typename
  ... on Workflow { id name }
  ... on WorkflowVersion { id version }
  ... on Execution { id status }
  ... on StepExecution { id stepKey }
} }"""


@pytest.fixture
async def server(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Served]:
    async with serving(database_url, redis_url, home) as made:
        yield made


async def references(server: Served) -> list[dict[str, str]]:
    workflow_id = await server.publish()
    found = await server.ask('{ workflow(name: "greet") { currentVersion { id } } }')
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    return [
        {"__typename": "Workflow", "id": workflow_id},
        {"__typename": "Workflow", "name": "greet"},
        {
            "__typename": "WorkflowVersion",
            "id": found.body["data"]["workflow"]["currentVersion"]["id"],
        },
        {"__typename": "Execution", "id": execution_id},
        {"__typename": "StepExecution", "id": f"{execution_id}.s.1"},
    ]


async def test_references_of_every_key_are_resolved_in_their_order(server: Served) -> None:
    asked = await references(server)

    answer = await server.ask(QUERY, {"representations": asked})

    found = answer.body["data"]["_entities"]
    assert [entity["__typename"] for entity in found] == [each["__typename"] for each in asked]
    assert found[0] == found[1] == {**asked[0], "name": "greet"}
    assert found[2]["version"] == "1.0.0"
    assert found[3]["status"] == "QUEUED"
    assert found[4] == {"__typename": "StepExecution", "id": asked[4]["id"], "stepKey": "shout"}


async def test_what_is_not_there_is_null_with_a_code_and_spoils_nothing(server: Served) -> None:
    asked = await references(server)
    missing = [{"__typename": "Execution", "id": "x"}, {"__typename": "Workflow", "name": "nobody"}]

    answer = await server.ask(QUERY, {"representations": [missing[0], asked[3], missing[1]]})

    first, found, last = answer.body["data"]["_entities"]
    assert (first, found["id"], last) == (None, asked[3]["id"], None)
    assert answer.codes == ["NOT_FOUND"] * 2
    assert [error["path"] for error in answer.body["errors"]] == [
        ["_entities", 0],
        ["_entities", 2],
    ]
    assert {error["extensions"]["reason"] for error in answer.body["errors"]} == {
        "ENTITY_NOT_FOUND"
    }


async def test_another_tenants_references_are_as_if_they_were_not_there(server: Served) -> None:
    asked = await references(server)

    answer = await server.ask(QUERY, {"representations": asked}, **server.bearer(tenant="other"))

    assert answer.body["data"]["_entities"] == [None] * 5
    assert answer.codes == ["NOT_FOUND"] * 5


async def test_what_else_a_reference_carries_is_ignored_and_it_is_left_as_it_is(
    server: Served,
) -> None:
    asked = [
        {**each, "name": "greet", "owner": {"id": "ada"}, "info": 1}
        for each in await references(server)
    ]
    twice = QUERY.replace("_entities(", "once: _entities(").removesuffix("}")
    twice += "again: _entities(representations: $representations) { __typename } }"

    answer = await server.ask(twice, {"representations": asked})

    assert "errors" not in answer.body
    names = [each["__typename"] for each in asked]
    assert [each["__typename"] for each in answer.body["data"]["once"]] == names
    assert [each["__typename"] for each in answer.body["data"]["again"]] == names


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"__typename": "Nothing", "id": "x"},
        {"__typename": "PageInfo"},
        {"__typename": "Execution"},
        {"__typename": "Execution", "id": 5},
        {"__typename": ["Execution"], "id": "x"},
        "text",
    ],
)
async def test_a_reference_that_is_none_of_ours_is_refused_at_its_place(
    server: Served, reference: object
) -> None:
    workflow_id = await server.publish()
    known = {"__typename": "Workflow", "id": workflow_id}

    answer = await server.ask(QUERY, {"representations": [known, reference]})

    assert answer.status == 200
    assert [each and each["id"] for each in answer.body["data"]["_entities"]] == [workflow_id, None]
    (refusal,) = answer.body["errors"]
    assert refusal["path"] == ["_entities", 1]
    assert refusal["extensions"]["code"] == "BAD_USER_INPUT"
    assert refusal["extensions"]["reason"] == "REPRESENTATION"
