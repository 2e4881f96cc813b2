"""Validation: bounded in errors and comparisons, and places are those of the library."""

from __future__ import annotations

import pytest
from graphql import Source

from subgraph.document.documents import Documents
from subgraph.document.limits import Limits
from subgraph.document.validation import MOST_ERRORS, Text
from subgraph.schema.build import Schema, build_schema


@pytest.fixture(scope="module")
def schema() -> Schema:
    return build_schema()


def test_places_are_those_of_the_library() -> None:
    body = "{\r\n a\r b\n\n  c # d\r\n}"

    for position in range(len(body)):
        if body[position] not in "\r\n":
            assert Text(body).get_location(position) == Source(body).get_location(position)


def test_few_errors_are_told(schema: Schema) -> None:
    errors = Documents(schema).prepare("{ " + " ".join(f"x{n}" for n in range(40)) + " }").errors

    assert len(errors) == MOST_ERRORS + 1
    assert {(error.extensions or {})["code"] for error in errors} == {"GRAPHQL_VALIDATION_FAILED"}


def test_endless_comparisons_are_refused_and_nothing_else_is_said(schema: Schema) -> None:
    text = '{ nothing workflow(name: "x") { ' + "draft { id } " * 40 + "} }"

    (error,) = Documents(schema, Limits(overlaps=500)).prepare(text).errors

    assert error.extensions == {
        "code": "QUERY_TOO_COMPLEX",
        "reason": "OVERLAPS",
        "most": 500,
        "asked": 501,
    }
    assert Documents(schema).prepare(text.replace("nothing", "__typename")).errors == ()


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Query") { name } }',
        "{ _service { sdl } }",
        "{ ...F } fragment F on Query { __schema { queryType { name } } }",
    ],
)
def test_the_schema_can_be_kept_back(schema: Schema, text: str) -> None:
    (error,) = Documents(schema, shows_schema=False).prepare(text).errors

    assert (error.extensions or {})["reason"] == "INTROSPECTION_OFF"
    assert Documents(schema).prepare(text).errors == ()


def test_where_the_schema_is_kept_back_errors_suggest_nothing(schema: Schema) -> None:
    (told,) = Documents(schema).prepare("{ workflow { nam } }").errors
    (kept,) = Documents(schema, shows_schema=False).prepare("{ workflow { nam } }").errors

    assert "name" in told.message
    assert "name" not in kept.message
    assert Documents(schema, shows_schema=False).prepare("{ __typename }").errors == ()
