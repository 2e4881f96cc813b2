"""The graph, the command line and the library say the same about every invalid fixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.http.serving import Served

FIXTURES = Path(__file__).parents[1] / "golden/definitions/invalid"
QUERY = """query($source: String!, $format: DefinitionFormat) { validateWorkflow(source: $source, format: $format) {
  valid findings { rule severity line column endLine endColumn message hint docs } } }"""


@pytest.fixture
def server(tenant_server: Served) -> Served:
    """These tests only speak to it."""
    return tenant_server


def as_line(one: dict[str, Any]) -> str:
    place = f"{one['line']}:{one['column']}-{one['endLine']}:{one['endColumn']}"
    hint = f" ({one['hint']})" if one["hint"] else ""
    return f"{place} {one['severity'].lower()} {one['rule']}: {one['message']}{hint}"


@pytest.mark.parametrize(
    "path",
    sorted(one for one in FIXTURES.iterdir() if one.suffix != ".findings"),
    ids=lambda one: one.name,
)
async def test_the_graph_finds_what_the_golden_list_says(server: Served, path: Path) -> None:
    asked = {"source": path.read_text(), "format": path.suffix[1:].upper()}

    found = (await server.ask(QUERY, asked)).body["data"]["validateWorkflow"]

    assert found["valid"] is False
    assert [as_line(one) for one in found["findings"]] == path.with_suffix(
        ".findings"
    ).read_text().splitlines()
    assert {one["docs"] for one in found["findings"]} == {
        f"docs/language/findings.md#{one['rule']}" for one in found["findings"]
    }


async def test_who_may_not_read_workflows_is_told_so(server: Served) -> None:
    answer = await server.ask(
        QUERY, {"source": "name: a"}, **server.bearer(None, scopes=["executions:read"])
    )

    assert answer.codes == ["FORBIDDEN"]
    assert "workflows:read" in answer.body["errors"][0]["message"]


async def test_a_field_that_fails_beside_it_is_the_only_error(server: Served) -> None:
    query = """query($source: String!) {
      validateWorkflow(source: $source) { valid } executions { totalCount }
    }"""

    answer = await server.ask(
        query, {"source": "name: a"}, **server.bearer(None, scopes=["workflows:read"])
    )

    assert answer.codes == ["FORBIDDEN"]
    assert answer.body["errors"][0]["path"] == ["executions"]
