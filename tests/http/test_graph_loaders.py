"""No list costs a statement per row: what hangs on many rows is read for all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tests.http.serving import GREET, Served

DEEP = """query($first: Int) { executions(first: $first) { edges { node {
  id workflow { name currentVersion { version } draft { digest } } workflowVersion { digest }
  steps { stepKey execution { id } } step(key: "hello") { status } } } } }"""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many statements PostgreSQL was sent since the fixture was asked last."""
    sent: list[str] = []
    original = asyncpg.Connection._execute

    async def counted(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        sent.append(query)
        return await original(self, query, *arguments, **more)

    monkeypatch.setattr(asyncpg.Connection, "_execute", counted)

    def count() -> int:
        found = len(sent)
        sent.clear()
        return found

    return count


async def test_ten_executions_cost_the_statements_of_one(
    server: Served, statements: Callable[[], int]
) -> None:
    for name in ("greet", "meet", "treat"):
        await server.publish(GREET.replace("name: greet", f"name: {name}", 1), name)
    async with server.client() as session:
        for n in range(12):
            await server.enqueue(session, workflowName=("greet", "meet", "treat")[n % 3])
    await server.ask(DEEP, {"first": 12})

    counts = []
    for first in (1, 12):
        statements()
        answer = await server.ask(DEEP, {"first": first})
        counts.append(statements())
        assert len(answer.body["data"]["executions"]["edges"]) == first
        assert "errors" not in answer.body

    assert counts[0] == counts[1]
    assert counts[0] <= 12


async def test_twenty_references_of_a_gateway_are_one_batch(
    server: Served, statements: Callable[[], int]
) -> None:
    await server.publish()
    async with server.client() as session:
        ids = [await server.enqueue(session) for _ in range(20)]
    query = """query($representations: [_Any!]!) { _entities(representations: $representations) {
      ... on Execution { id status workflow { name } } } }"""
    references = [{"__typename": "Execution", "id": key} for key in ids]
    await server.ask(query, {"representations": references[:1]})

    statements()
    answer = await server.ask(query, {"representations": references})

    assert statements() <= 4
    assert [entity["id"] for entity in answer.body["data"]["_entities"]] == ids
