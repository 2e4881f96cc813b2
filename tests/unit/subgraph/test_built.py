"""An input that builds itself is what Strawberry would have made of the same value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from strawberry.types import get_object_definition
from strawberry.types.arguments import convert_argument

from runtime.model.values import Duration, SemVer
from subgraph.compiled.inputs import converter_of
from subgraph.schema.build import build_schema
from subgraph.types.inputs.execution import EnqueueExecutionInput

EVERYTHING = {
    "workflowId": "w",
    "workflowName": "greet",
    "namespace": "other",
    "version": SemVer(1, 2, 3),
    "input": {"snake_case": [1, {"camelCase": None}]},
    "idempotencyKey": "k",
    "priority": 3,
    "runAt": datetime(2026, 1, 31, tzinfo=UTC),
    "timeout": Duration(90_000),
    "labels": [{"key": "a", "value": "b"}],
    "region": "eu",
}


@pytest.mark.parametrize(
    "value",
    [EVERYTHING, {}, {"workflowName": "greet"}, {"labels": None, "input": None, "region": None}],
)
def test_an_input_builds_itself_as_strawberry_does(
    value: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = build_schema()

    def built() -> object:
        registry = schema.schema_converter.scalar_registry
        return convert_argument(value, EnqueueExecutionInput, registry, schema.config)

    own = built()
    definition = get_object_definition(EnqueueExecutionInput, strict=True)
    assert set(EVERYTHING) == {
        schema.config.name_converter.from_field(f) for f in definition.fields
    }
    monkeypatch.setattr(definition, "from_input", None)

    assert own == built()


@pytest.mark.parametrize("value", [EVERYTHING, {}, {"workflowName": "greet"}, {"labels": None}])
def test_a_plan_makes_the_same_of_it_and_does_not_ask_it(
    value: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = build_schema()
    registry = schema.schema_converter.scalar_registry
    convert = converter_of(EnqueueExecutionInput, schema, "input")
    assert convert is not None
    expected = convert_argument(value, EnqueueExecutionInput, registry, schema.config)

    def own(*_: object) -> object:
        raise AssertionError("it was asked")

    definition = get_object_definition(EnqueueExecutionInput, strict=True)
    monkeypatch.setattr(definition, "from_input", own)

    assert convert(value, None) == expected
