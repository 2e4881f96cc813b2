"""Variables that are taken at once are what graphql-core makes of them, errors included."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    Undefined,
    get_variable_values,
    parse,
)

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


def _made_up(chance: Random, type_: Any) -> Any:
    """A value of a type, which often does not quite fit."""
    if chance.random() < 0.08:
        return chance.choice(VALUES[1:])
    if isinstance(type_, GraphQLNonNull):
        return _made_up(chance, type_.of_type)
    if chance.random() < 0.15:
        return None
    if isinstance(type_, GraphQLList):
        return [_made_up(chance, type_.of_type) for _ in range(chance.randrange(3))]
    if isinstance(type_, GraphQLInputObjectType):
        more = {"unknown": 1} if chance.random() < 0.05 else {}
        return more | {
            name: _made_up(chance, field.type)
            for name, field in type_.fields.items()
            if chance.random() < (0.97 if isinstance(field.type, GraphQLNonNull) else 0.5)
        }
    if isinstance(type_, GraphQLEnumType):
        return chance.choice(list(type_.values))
    usual = {
        "Int": 7,
        "Boolean": True,
        "Float": 2.5,
        "DateTime": "2026-01-31T12:00:00Z",
        "BigInt": 5,
    }
    usual |= {"Duration": "5m", "SemVer": "1.0.0", "Digest": "sha256:" + "a" * 64}
    return usual.get(type_.name, "x")


def test_input_objects_are_what_the_library_makes_of_them(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [
        each
        for each in schema._schema.type_map.values()
        if isinstance(each, GraphQLInputObjectType)
    ]
    asked = 0

    def noted(*each: Any) -> Any:
        nonlocal asked
        asked += 1
        return get_variable_values(*each)

    monkeypatch.setattr(room, "get_variable_values", noted)
    chance, fitted, count = Random(8), 0, 0

    for type_ in inputs:
        for suffix in ("", "!"):
            definitions = _definitions(f"{type_.name}{suffix}")
            variables = Variables(schema._schema, definitions)
            for _ in range(60):
                given = {"v0": _made_up(chance, type_)}
                expected = get_variable_values(schema._schema, definitions, dict(given))
                assert _told(variables.coerced(given)) == _told(expected), (type_.name, given)
                fitted += not isinstance(expected, list)
                count += 1

    assert len(inputs) > 20
    assert fitted > count / 3
    assert asked < count - fitted / 2


@pytest.mark.parametrize(
    ("types", "given"),
    [
        (["ID!"], {"v0": "a"}),
        (["Int", "String!"], {"v0": 3, "v1": "x"}),
        (["[_Any!]!"], {"v0": [{"__typename": "Execution", "id": "1"}]}),
        (
            ["EnqueueExecutionInput!"],
            {"v0": {"workflowName": "w", "input": {"a": [1]}, "priority": None}},
        ),
        (
            ["ExecutionFilter"],
            {"v0": {"status": ["FAILED"], "labels": [{"key": "a", "value": "b"}]}},
        ),
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
