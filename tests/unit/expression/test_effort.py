"""What an expression may take: each of these took minutes, or all memory, before it was paid for."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.expression import ExpressionError, parse_template
from runtime.expression.calls import FILTERS, TESTS
from runtime.expression.error import LimitReached

LONG = "('a' * 8000000)"
MANY = f"([{LONG}] * 100000)"
ROWS: list[dict[str, Any]] = [{f"column_{i}": i for i in range(12)}] * 20_000
CANARY = "sk-live-" + "Zq7Xw9Kd3Vb5" * 9


def rendered(expression: str, **scope: Any) -> Any:
    return parse_template("{{ " + expression + " }}").render(scope)


@pytest.mark.parametrize(
    "expression",
    [
        f"{MANY} | map('startswith', 'a' * 7000000)",
        f"{MANY} | map('endswith', 'a' * 7000000)",
        f"{MANY} | select('startingwith', 'a' * 7000000)",
        f"{MANY} | select('endingwith', 'a' * 7000000)",
        f"{MANY} | sort",
        f"{MANY} | unique",
        "(['a' * 3000000, 'aa' * 1500000] * 100000) | max",
        "(['a' * 3000000, 'aa' * 1500000] * 100000) | min",
        "([{'a': 'x' * 8000000}] * 100000) | map('dictsort', false, 'value')",
        "[[[[0] * 1000] * 1000] * 1000] * 1000 < [[[[0] * 1000] * 1000] * 1000] * 1000",
        "'\n' * 8000000 | indent(0)",
        "('\n' * 8000000) | indent(0)",
        "('a,' * 4000000) | split(',')",
        "('a ' * 4000000) | split",
    ],
)
def test_what_would_take_too_long_or_too_much_stops_before_it_does(expression: str):
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises((LimitReached, ExpressionError)):
            rendered(expression)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert time.process_time() - began < 2
    assert peak < 150 * 1024 * 1024


def test_a_trim_looks_for_few_characters_in_each_of_many():
    with pytest.raises(ExpressionError, match="at most 100 characters to take away"):
        rendered("('a' * 1000000) | trim('b' * 1000000 ~ 'a')")


@pytest.mark.parametrize(
    "expression",
    [
        "rows | map(attribute='colum_x', default=0) | length",
        "rows | selectattr('colum_x') | length",
        "rows | rejectattr('colum_x', 'defined') | length",
    ],
)
def test_a_name_that_is_absent_and_provided_for_costs_no_search_for_a_similar_one(
    monkeypatch: pytest.MonkeyPatch, expression: str
):
    looked: list[str] = []
    monkeypatch.setattr(
        "runtime.expression.error.get_close_matches", lambda name, *_, **__: looked.append(name)
    )

    assert rendered(expression, rows=ROWS) in {0, len(ROWS)}
    assert looked == []


def test_names_that_nobody_typed_are_not_compared():
    signs = [chr(0x4E00 + i) for i in range(300)]
    keys = {"".join(signs[(i * step) % 300] for i in range(4_000)): 1 for step in range(1, 200)}
    began = time.process_time()
    with pytest.raises(ExpressionError, match="there is no a text of 4,000 characters"):
        rendered("keys[name]", keys=keys, name="".join(reversed(signs)) * 13 + "一" * 100)

    assert time.process_time() - began < 1


def _calls() -> Iterator[str]:
    for name in FILTERS:
        yield from (f"x | {name}", f"x | {name}(x)", f"x | {name}(1, x)", f"[x] | map('{name}')")
        yield from (
            f"'a' | {name}(x)",
            f"[x] | {name}(x)",
            f"{{x: x}} | {name}(x)",
            f"1 | {name}(x)",
        )
    for name in (one for one in TESTS if one.isalpha()):
        yield from (
            f"x is {name}",
            f"x is {name}(x)",
            f"1 is {name}(x)",
            f"[x] | select('{name}', 1)",
        )
    yield from (f"x {sign} 1" for sign in ("+", "-", "*", "/", "**", "<", "in"))
    yield from (
        "{}[x]",
        "[1][x]",
        "{'a': 1}.a[x]",
        "1 | jmespath(x)",
        "x | jmespath('abs(@)')",
        "x | parse_date('%d')",
    )
    yield from (
        "x | map('y')",
        "[1] | map(x)",
        "[1] | select(x)",
        "rows | sum(attribute=x)",
        "[x, 1] | sum",
    )


@pytest.mark.parametrize("secret", [CANARY, CANARY[:40]], ids=["long", "short"])
def test_no_message_holds_a_part_of_a_value(secret: str):
    """All of it is what the mask of secrets finds; a part of it nobody would."""
    for expression in _calls():
        # Braces that touch would be an expression's end.
        text = expression.replace("{x: x}", "rows[0]")
        message = _said(text, {"x": secret, "rows": [{"a": secret}]})
        rest = message.replace(repr(secret), "").replace(secret, "")
        assert not any(secret[i : i + 8] in rest for i in range(len(secret) - 8)), text
        assert len(message) < 500


def _said(expression: str, scope: dict[str, Any]) -> str:
    try:
        rendered(expression, **scope)
    except ExpressionError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("[1] | select('odd', value=2)", "the filter select has no argument 'value'"),
        ("[1] | map('int', value=2)", "the filter map has no argument 'value'"),
        ("'a' | replace('a', 'b', old='c')", "the filter replace is given 'old' twice"),
        ("'a' | replace('a', count=1)", "the filter replace needs 'new'"),
        ("range(stop=3)", "the function range takes 1 to 3 arguments"),
        ("[1] | map([1])", "the name of a filter is a text"),
        ("{'a': 1} | dictsort(by=[1])", "dictsort sorts by key or by value"),
        ("1 | round(0, [1])", "the method of round is common, ceil or floor"),
        ("[1] < ['a']", "< can't order what is in these lists"),
        ("10.0 ** 400", "this expression has no value: Numerical result out of range"),
        ("'a' | jmespath('abs(@)')", "jmespath: abs() needs number, not string"),
    ],
)
def test_arguments_that_do_not_fit_are_said_in_our_words(expression: str, said: str):
    with pytest.raises(ExpressionError) as caught:
        rendered(expression)

    assert caught.value.message == said


def calls_of_compiling(expression: str) -> int:
    """How many functions are called, which is a measure that no other process disturbs."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        parse_template("{{ " + expression + " }}")
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.interpreted  # What is compiled is not seen by a profile.
@pytest.mark.parametrize(
    ("sign", "term"),
    [
        (" and ", "steps.a{n}.status == 'completed'"),
        (" or ", "steps.a{n}.output.x is none"),
        (" and ", "not steps.a{n}.output.x[params.k]"),
    ],
)
def test_what_compiling_takes_grows_with_the_terms_and_not_with_their_square(
    sign: str, term: str
) -> None:
    def taken(terms: int) -> int:
        return calls_of_compiling(sign.join(term.format(n=n) for n in range(terms)))

    taken(10)  # What is only done once.

    assert taken(40) < 5 * taken(10)
