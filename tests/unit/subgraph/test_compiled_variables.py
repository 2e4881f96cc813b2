"""Variables that are taken at once are what graphql-core makes of them, errors included."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from graphql import Undefined, get_variable_values, parse

from subgraph.compiled import variables as room
from subgraph.compiled.variables import Variables
from subgraph.schema.build import Schema, build_schema

VALUES = [
    Undefined, None, "", "x", "\ud800", 0, 7, -(2**31), 2**31 - 1, 2**31, 2.0, 2.5, float("nan"), True, [], ["x"],
    ["x", None], [["x"]], [7, "x"], {}, {"__typename": "Execution"}, [{"__typename": "Execution", "id": "1"}],
    "1.0.0", "sha256:" + "a" * 64, "2026-01-31T12:00:00Z", "5m", "COMPLETED",
]  # fmt: skip
TYPES = [
    "ID", "ID!", "String", "String!", "Int", "Int!", "Boolean!", "Float", "[ID!]!", "[ID]", "[[String!]]", "JSON", "JSON!",
    "[_Any!]!", "BigInt", "SemVer!", "Digest", "DateTime!", "[Duration!]", "ExecutionStatus", "ExecutionFilter",
    "Nothing", "Int = 3", 'String! = "x"', "[Int!] = [1]",
]  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Schema:
    return build_schema()


def _definitions(*types: str) -> Any:
    named = ", ".join(f"$v{n}: {type_}" for n, type_ in enumerate(types))
    document: Any = parse(f"query({named}) {{ __typename }}")
    return document.definitions[0].variable_definitions


def _told(found: Any) -> Any:
    if isinstance(found, list):
        return [error.message for error in found]
    sources = {name: (each.signature.name, each.value) for name, each in found.sources.items()}
    return repr((list(found.coerced.items()), sources))


@pytest.mark.parametrize("type_", TYPES)
def test_a_value_is_what_the_library_makes_of_it(schema: Schema, type_: str) -> None:
    definitions = _definitions(type_, "ID")
    variables = Variables(schema._schema, definitions)

    for value, other in product(VALUES, ("a", None)):
        given = {
            name: each for name, each in (("v0", value), ("v1", other)) if each is not Undefined
        }
        expected = get_variable_values(schema._schema, definitions, dict(given))
        assert _told(variables.coerced(given)) == _told(expected), given


@pytest.mark.parametrize(
    ("types", "given"),
    [
        (["ID!"], {"v0": "a"}),
        (["Int", "String!"], {"v0": 3, "v1": "x"}),
        (["[_Any!]!"], {"v0": [{"__typename": "Execution", "id": "1"}]}),
        (["DateTime", "[ID!]!"], {"v0": "2026-01-31T12:00:00Z", "v1": ["a", "b"]}),
    ],
)
def test_what_is_usual_is_taken_at_once(
    schema: Schema, monkeypatch: pytest.MonkeyPatch, types: list[str], given: dict[str, Any]
) -> None:
    variables = Variables(schema._schema, _definitions(*types))
    monkeypatch.setattr(
        room, "get_variable_values", lambda *_: pytest.fail("the library was asked")
    )

    variables.coerced(given)
