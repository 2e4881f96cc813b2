"""Compiled input types give what the library gives: defaults, nulls, what is left out, lists, types within themselves."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import pytest
import strawberry
from strawberry.relay import GlobalID
from strawberry.types import get_object_definition
from strawberry.types.arguments import convert_argument

from subgraph.compiled.inputs import converter_of
from subgraph.compiled.plans import Plans
from subgraph.compiled.reasons import Reason


@strawberry.enum
class Colour(enum.Enum):
    RED = "red"


@strawberry.input
class Leaf:
    word: str
    number: int | None = 7
    colour: Colour = Colour.RED
    data: strawberry.scalars.JSON | None = strawberry.UNSET
    words: list[str] = strawberry.field(default_factory=lambda: ["a"])
    other_name: str | None = strawberry.field(name="another", default=None)


@strawberry.input
class Tree:
    leaf: Leaf | None
    leaves: list[Leaf | None] | None = None
    below: list[Annotated[Tree, strawberry.lazy(__name__)]] | None = None


@strawberry.input
class Patch:
    word: strawberry.Maybe[str]


@strawberry.type
class Changing:
    @strawberry.field
    def change(self, leaf: Leaf, data: strawberry.scalars.JSON) -> str:
        given: Any = data
        leaf.word += "!"
        leaf.words.append("b")
        given["seen"] = given.get("seen", 0) + 1
        return f"{leaf} {data}"


@strawberry.type
class Query:
    @strawberry.field
    def three(self) -> list[Changing]:
        return [Changing(), Changing(), Changing()]

    @strawberry.field
    def tree(self, tree: Tree, many: list[Tree] | None = None) -> str:
        return f"{tree} {many}"

    @strawberry.field
    def patch(self, patch: Patch, id: GlobalID | None = None) -> str:
        return f"{patch} {id}"


SCHEMA = strawberry.Schema(Query)
_FIELDS = {field.python_name: field for field in get_object_definition(Query, strict=True).fields}
_LEAF = {"word": "a", "number": 7, "colour": Colour.RED, "words": ["a"]}


def _both(field: str, argument: str, value: Any) -> tuple[Any, Any]:
    type_ = next(one.type for one in _FIELDS[field].arguments if one.python_name == argument)
    registry, config = SCHEMA.schema_converter.scalar_registry, SCHEMA.config
    convert = converter_of(type_, SCHEMA, argument)
    assert convert is not None
    return convert(value, None), convert_argument(value, type_, registry, config)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("tree", {"leaf": None}),
        ("tree", {"leaf": _LEAF}),
        ("tree", {"leaf": {**_LEAF, "number": None, "data": {"x": [1]}, "another": "b"}}),
        ("tree", {"leaf": None, "leaves": [_LEAF, None], "below": [{"leaf": _LEAF, "below": []}]}),
        ("many", [{"leaf": _LEAF}, {"leaf": None}]),
        ("many", None),
    ],
)
def test_what_the_library_gives_is_given(argument: str, value: Any) -> None:
    found, expected = _both("tree", argument, value)

    assert found == expected
    assert type(found) is type(expected)


def test_what_was_left_out_is_unset() -> None:
    found, _ = _both("tree", "tree", {"leaf": {"word": "a"}})
    assert found.leaf.data is strawberry.UNSET
    assert found.leaf.words == ["a"]


def test_a_default_list_is_nobody_elses() -> None:
    shared = ["a"]
    found, _ = _both("tree", "tree", {"leaf": {**_LEAF, "words": shared}})
    found.leaf.words.append("b")
    assert shared == ["a"]


@pytest.mark.parametrize("value", [{"word": "a"}, {}])
def test_what_has_rules_of_its_own_is_left_to_the_library(value: dict[str, str]) -> None:
    found, expected = _both("patch", "patch", value)
    assert found == expected


async def test_a_resolver_that_changes_its_input_changes_nobody_elses() -> None:
    schema, reasons = strawberry.Schema(Query), list[Reason]()
    query = '{ three { change(leaf: {word: "a"}, data: {}) } }'

    expected = await schema.execute(query)
    Plans(schema, fell_back=reasons.append)
    found = await schema.execute(query)

    assert (found.data, found.errors, reasons) == (expected.data, None, [])
