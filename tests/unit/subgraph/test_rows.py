"""Rows: pages inside pages multiply, whatever spelling their sizes come in."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse

from subgraph.rows import rows_of, sizes_of
from subgraph.schema.build import build_schema

SIZES = {"things": 20, "parts": 5, "events": 100, "nodes": 20, "_entities": 1}


def rows(text: str, **variables: Any) -> int:
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return rows_of(document, operation, SIZES, variables)


@pytest.mark.parametrize(
    ("text", "variables", "count"),
    [
        ("{ thing { id } }", {}, 0),
        ("{ things { edges { node { id } } } }", {}, 20),
        ("{ things(first: 3) { edges { node { parts { id } } } } }", {}, 3 * (1 + 5)),
        ("query($n: Int) { things(first: $n) { id } }", {"n": 7}, 7),
        ("query($n: Int) { things(first: $n) { id } }", {"n": "many"}, 20),
        ("query($n: Int) { things(first: $n) { id } }", {}, 20),
        ("query($n: Int = 9) { things(first: $n) { id } }", {}, 9),
        ("{ things(last: 4) { things(first: 100) { id } } }", {}, 4 * 101),
        ("{ things { ...F } } fragment F on T { parts { id } }", {}, 20 * 6),
        ("{ things { ... { parts { id } } } }", {}, 20 * 6),
        ("{ a: things { id } b: things { id } }", {}, 40),
        ('{ nodes(ids: ["a", "b"]) { parts { id } } }', {}, 2 * 6),
        ("query($r: X) { _entities(representations: $r) { parts { id } } }", {"r": [1] * 9}, 9 * 6),
        ("{ events(types: [A]) { id } }", {}, 100),
    ],
)
def test_pages_inside_pages_multiply(text: str, variables: dict[str, Any], count: int) -> None:
    assert rows(text, **variables) == count


def test_sizes_are_those_that_gateways_are_told() -> None:
    sizes = sizes_of(build_schema())

    assert sizes["executions"] == sizes["workflows"] == 20
    assert sizes["steps"] == 50
    assert sizes["events"] == sizes["stepsConnection"] == 100
    assert sizes["logs"] == 200
    assert sizes["_entities"] == 1
