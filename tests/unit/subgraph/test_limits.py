"""Limits: what is refused, what is not, and that measuring stays linear."""

from __future__ import annotations

import pytest
from graphql import GraphQLError, get_introspection_query, parse

from subgraph.limits import Limits, check_document, check_text
from tests.support.effort import effort

SMALL = Limits(
    characters=2_000,
    tokens=500,
    nesting=8,
    depth=3,
    aliases=2,
    root_fields=3,
    fields=10,
    fragments=2,
)


def refusal(text: str, limits: Limits = SMALL) -> str | None:
    try:
        check_text(text, limits)
        check_document(parse(text), limits)
    except GraphQLError as error:
        return f"{(error.extensions or {}).get('code')}: {error.message}"
    return None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{ a }" + " " * 2_000, "longer than 2000"),
        ("{ a(x: [[[[[[[[1]]]]]]]]) }", "Brackets"),
        ("{ a { b { c { d } } } }", "deeper than 3"),
        ("{ x: a y: b z: c }", "2 aliases"),
        ("{ a b c d }", "3 root fields"),
        ("{ a { b c d e f g h i j k } }", "10 fields"),
        ("{ a } fragment A on T {a} fragment B on T {a} fragment C on T {a}", "2 fragments"),
        ("{ ...F } fragment F on Q { a b c d }", "3 root fields"),
        ("{ a { ...F } } fragment F on A { b { c { d } } }", "deeper than 3"),
        ("{ a } fragment F on A { x: a y: b z: c }", "2 aliases"),
        ("{ a { ... { ... { b { c { d } } } } } }", "deeper than 3"),
        ("query A { a } query B { a b c d }", "3 root fields"),
        ("{ a { ...F ...F } } fragment F on A { b c d e f }", "10 fields"),
    ],
)
def test_what_asks_for_too_much_is_refused_by_name(text: str, word: str) -> None:
    message = refusal(text) or ""

    assert message.startswith("QUERY_TOO_COMPLEX: ")
    assert word in message


@pytest.mark.parametrize(
    "text",
    [
        "{ a { b { c } } }",
        "{ x: a y: b c }",
        "{ a { b c d e f g h i j } }",
        '{ a(x: "{{{{{{{{{{{{{{{{{{{{") }',
        '{ a(x: """{{{{{{{{{{{{ " {{{{""") }',
        "{ a # {{{{{{{{{{{{{{{{\n }",
        '{ a(x: "\\"{{{{{{{{{{{{") }',
    ],
)
def test_what_stays_within_the_limits_passes(text: str) -> None:
    assert refusal(text) is None


def test_introspection_passes() -> None:
    assert refusal(get_introspection_query(descriptions=True), Limits()) is None


def test_a_circle_of_fragments_is_left_to_validation() -> None:
    assert refusal("{ a { ...F } } fragment F on A { b { ...F } }") is None


def test_doubling_fragments_are_refused_without_being_written_out() -> None:
    chain = "".join(
        f"fragment F{n} on A {{ a {{ ...F{n + 1} ...F{n + 1} }} }}\n" for n in range(150)
    )
    text = f"{{ a {{ ...F0 }} }} {chain} fragment F150 on A {{ a }}"

    with effort() as spent:
        message = refusal(text, Limits(depth=1_000))

    assert message == "QUERY_TOO_COMPLEX: An operation selects more than 1000 fields."
    assert spent.seconds < 1
