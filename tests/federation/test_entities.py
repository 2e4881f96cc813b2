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


async def test_what_is_not_there_is_null_and_spoils_nothing(server: Served) -> None:
    asked = await references(server)
    missing = [{"__typename": "Execution", "id": "x"}, {"__typename": "Workflow", "name": "nobody"}]

    answer = await server.ask(QUERY, {"representations": [*missing, asked[3]]})

    assert answer.body["data"]["_entities"][:2] == [None, None]
    assert answer.body["data"]["_entities"][2]["id"] == asked[3]["id"]
    assert "errors" not in answer.body


async def test_another_tenants_references_are_null(server: Served) -> None:
    asked = await references(server)

    answer = await server.ask(QUERY, {"representations": asked}, **server.bearer(tenant="other"))

    assert answer.body["data"]["_entities"] == [None] * 5


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"__typename": "Nothing", "id": "x"},
        {"__typename": "PageInfo"},
        {"__typename": "Execution"},
        {"__typename": "Execution", "id": 5},
        {"__typename": "Execution", "id": "x", "more": True},
        "text",
    ],
)
async def test_a_reference_that_is_none_of_ours_does_not_become_a_fault(
    server: Served, reference: object
) -> None:
    answer = await server.ask(QUERY, {"representations": [reference]})

    assert answer.status == 200
    assert "INTERNAL" not in answer.codes
