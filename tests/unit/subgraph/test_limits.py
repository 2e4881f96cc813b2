"""Limits: what is refused and with which numbers, what is not, and that a document is measured once."""

from __future__ import annotations

import pytest
from graphql import GraphQLError, get_introspection_query, parse

from subgraph.document.limits import SAYS, Limits, check_text
from subgraph.document.measure import measure
from subgraph.document.prices import Prices
from subgraph.schema.build import build_schema

SMALL = Limits(
    bytes=2_000,
    tokens=120,
    comments=3,
    nesting=8,
    word=20,
    operations=2,
    fragments=2,
    root_fields=3,
    levels=8,
    depth=3,
    fields=10,
    aliases=2,
    directives=3,
    directives_together=2,
    variables=3,
    introspection=5_000,
)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices(build_schema())


def refusal(text: str, prices: Prices, limits: Limits = SMALL) -> GraphQLError | None:
    try:
        check_text(text, limits)
        measure(parse(text), prices, limits)
    except GraphQLError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "limit", "asked"),
    [
        ("{ a }" + " " * 2_000, "bytes", 2_005),
        ("{ a(x: $" + "é" * 999 + ")}", "bytes", 2_008),
        ("{ a" + " !" * 130 + "}", "tokens", 133),
        ("{ a\n#x\n#x\n#x\n#x\n }", "comments", 4),
        ("{ a(x: [[[[[[[[1]]]]]]]]) }", "nesting", 10),
        ("{ a(x: 123456789012345678901) }", "word", 21),
        ("query A { a } query B { a } query C { a }", "operations", 3),
        ("{ a } fragment A on T {a} fragment B on T {a} fragment C on T {a}", "fragments", 3),
        ("{ a b c d }", "root_fields", 4),
        ("{ ...F } fragment F on Q { a b c d }", "root_fields", 4),
        ("query A { a } query B { a b c d }", "root_fields", 4),
        ("{" + "... {" * 7 + "... { a }" + "}" * 8, "nesting", 9),
        ("{" + "... {" * 6 + "...F" + "}" * 7 + " fragment F on A { ... { a } }", "levels", 9),
        ("{ a { b { c { d } } } }", "depth", 4),
        ("{ a { ...F } } fragment F on A { b { c { d } } }", "depth", 4),
        ("{ a { ... { ... { b { c { d } } } } } }", "depth", 4),
        ("{ a { b c d e f g h i j k } }", "fields", 11),
        ("{ a { ...F ...F } } fragment F on A { b c d e f }", "fields", 11),
        ("query A { ...F } query B { ...F } fragment F on Q { a { b c d e f } }", "fields", 12),
        ("{ a } fragment F on Q { a { b c d e f g h i j } }", "fields", 11),
        ("{ x: a y: b z: c }", "aliases", 3),
        ("{ a } fragment F on A { x: a y: b z: c }", "aliases", 3),
        ("{ a @x b @x c @x ... @x { d } }", "root_fields", 4),
        ("{ a @x b @x ... @x { c @x } }", "directives", 4),
        ("query($a: A @x) @x { ...F @x } fragment F on Q @x { ... @x { c } }", "directives", 5),
        ("{ a @x @x @x }", "directives_together", 3),
        ("query A($a: A, $b: A) { a } query B($a: A, $b: A) { a }", "variables", 4),
    ],
)
def test_what_asks_for_too_much_is_refused_with_the_numbers(
    prices: Prices, text: str, limit: str, asked: int
) -> None:
    error = refusal(text, prices)

    assert error is not None
    most = getattr(SMALL, limit)
    assert error.message == SAYS[limit].format(most)
    assert error.extensions == {
        "code": "QUERY_TOO_COMPLEX",
        "reason": limit.upper(),
        "most": most,
        "asked": asked,
    }


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
def test_what_stays_within_the_limits_passes(prices: Prices, text: str) -> None:
    assert refusal(text, prices) is None


def test_every_limit_has_its_words() -> None:
    assert set(SAYS) == set(Limits.__slots__)


def test_introspection_passes_once(prices: Prices) -> None:
    once = get_introspection_query(descriptions=True, input_value_deprecation=True)
    twice = once.replace("__schema {", "a: __schema { types { ...FullType } } __schema {", 1)

    error = refusal(twice, prices, Limits())

    assert refusal(once, prices, Limits()) is None
    assert error is not None
    assert (error.extensions or {})["reason"] == "INTROSPECTION"


@pytest.mark.parametrize(
    "text",
    [
        "{ a { ...F } } fragment F on A { b { ...F } }",
        "{ a { ...F } } fragment F on A { ...G } fragment G on A { b { ...F } }",
        "{ a } fragment F on A { ...F }",
    ],
)
def test_a_circle_of_fragments_is_refused_before_it_is_walked(prices: Prices, text: str) -> None:
    error = refusal(text, prices)

    assert error is not None
    assert error.message == "Cannot spread fragment 'F' within itself."
    assert (error.extensions or {})["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_doubling_fragments_are_refused_without_being_written_out(prices: Prices) -> None:
    chain = "".join(f"fragment F{n} on A {{ ...F{n + 1} ...F{n + 1} }}\n" for n in range(50))
    text = f"{{ a {{ ...F0 }} }} {chain} fragment F50 on A {{ a }}"

    error = refusal(text, prices, Limits())

    assert error is not None
    assert (error.extensions or {})["asked"] == 2**50 + 1
