"""Variables that do not fit: the answer says where and why, and never quotes the value."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLError, get_variable_values, parse

from subgraph.errors import present
from subgraph.schema.build import Schema, build_schema

SECRET = "hunter2: does not exist in 'hunter2' enum"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return build_schema()


def refusals(schema: Schema, type_: str, value: object) -> list[str]:
    document: Any = parse(f"query($x: {type_}) {{ __typename }}")
    definitions = document.definitions[0].variable_definitions
    found = get_variable_values(schema._schema, definitions, {"x": value})
    assert isinstance(found, list)
    return [present(error, "t").message for error in found]


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        ("Int", SECRET, ": Int cannot represent non-integer value."),
        ("Int", 2**40, ": Int cannot represent non 32-bit signed integer value."),
        ("[ID!]!", [{"a": SECRET}], " at [0]: ID cannot represent value."),
        ("String", [SECRET], ": String cannot represent a non string value."),
        ("EnqueueExecutionInput", SECRET, "'EnqueueExecutionInput' to be an object."),
        ("EnqueueExecutionInput", {"nme": SECRET}, "not to include unknown field 'nme'."),
        ("EnqueueExecutionInput", {"priority": SECRET}, " at .priority: Int cannot"),
        ("EnqueueExecutionInput", {"timeout": SECRET}, ": write 30s, 5m, 2h30m or PT5M."),
        ("CreateWorkflowInput", {"source": SECRET}, "to include required field 'name'."),
        ("ExecutionFilter", {"version": SECRET}, " at .version: Not a SemVer: write major"),
        ("ExecutionFilter", {"created": {"from": SECRET}}, " at .created.from: Not a DateTime"),
        ("PublishWorkflowInput", {"expectedDigest": SECRET}, "Not a Digest: write `sha256:`"),
        ("String!", None, ": Expected value of non-null type 'String!' not to be None."),
    ],
)
def test_a_value_that_does_not_fit_is_explained_and_not_quoted(
    schema: Schema, type_: str, value: object, said: str
) -> None:
    messages = refusals(schema, type_, value)

    assert any(said in message for message in messages), messages
    assert not any("hunter2" in message for message in messages)


@pytest.mark.parametrize("value", ["hunter2", 5, {"hunter2": 1}])
def test_a_word_that_is_none_of_an_enum_is_not_quoted(schema: Schema, value: object) -> None:
    (message,) = refusals(schema, "ExecutionFilter", {"status": [value]})

    assert message.endswith(" at .status[0]: Expected a value of the enum 'ExecutionStatus'.")


def test_what_is_not_known_of_a_refusal_is_not_said() -> None:
    error = GraphQLError("Variable '$x' has invalid value at .a[0]: the token hunter2 is odd")

    assert present(error, "t").message == (
        "Variable '$x' has invalid value at .a[0]: It is not of this type."
    )
