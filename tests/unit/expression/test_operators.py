"""Operators give what JSON can carry, and nothing that would take a machine's memory."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.expression import ExpressionError, Limits, parse_template


def render(text, **scope):
    return parse_template("{{ " + text + " }}").render(scope)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("7 // 2", 3),
        ("7 % 4", 3),
        ("7 / 2", 3.5),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("-x", -2),
        ("'a' + 'b'", "ab"),
        ("'a' * 3", "aaa"),
        ("[1] + [2]", [1, 2]),
        ("'n' ~ 1 ~ true", "n1true"),
        ("1 < 2 <= 2", True),
        ("3 > 2 > 2", False),
        ("true == 1", False),
        ("[1, 2] == [1, 2]", True),
        ("1 in [1, 2]", True),
        ("'b' not in {'a': 1}", True),
        ("'ell' in 'hello'", True),
        ("'yes' if x == 2 else 'no'", "yes"),
        ("'yes' if x == 3", None),
        ("x and 0 or 'z'", "z"),
        ("'hello'[1:3]", "el"),
        ("(1, 2)", [1, 2]),
        ("range(1, 6, 2)", [1, 3, 5]),
    ],
)
def test_operators(text, value):
    found = render(text, x=2)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "'a' * 10**9", "10**9 * 'a'", "[1] * 10**8", "9**9**9", "(-8) ** 0.5", "2**63", "1e308 * 10",
        "1 / 0", "1 % 0", "'%s' % 1", "'%1000000000s' % 'a'", "'a' + 1", "1 < 'a'", "true + 1", "1 in 5",
        "[1] + 'a'", "{1: 2}", "'abc'['x']", "[1][2]", "[1][1:2:0]", "range(10**9)", "range(1, 2, 0)", "-'a'",
        "none + 1", "x.y", "[][0]",
    ],
)  # fmt: skip
def test_what_has_no_value_or_is_too_much_is_refused(text):
    with pytest.raises(ExpressionError):
        render(text, x=2)


@pytest.mark.parametrize(
    "text",
    [
        "''.__class__", "x.__class__.__mro__", "x['__class__']", "x.keys.__globals__", "cycler.__init__",
        "self", "lipsum.__globals__", "x|attr('__class__')", "x.__init__()", "namespace()", "x.format(y=1)",
    ],
)  # fmt: skip
def test_nothing_leads_out_of_the_data(text):
    with pytest.raises(ExpressionError):
        render(text, x={"a": 1})


@pytest.mark.parametrize(
    "text",
    ["(" * 2000 + "1" + ")" * 2000, "not " * 2000 + "1", "-" * 3000 + "1", "1" + "+1" * 3000,
     "[" * 30 + "]" * 30 + "|first" * 400, "a" + ".b" * 5000, "1 if 1 else " * 500 + "1"],
)  # fmt: skip
def test_deep_expressions_are_refused_and_do_not_overflow(text):
    with pytest.raises(ExpressionError):
        render(text)


def test_the_same_data_many_times_is_paid_for_each_time():
    template = parse_template({"a": ["{{ x }}"] * 200})

    with pytest.raises(ExpressionError, match="elements"):
        template.render({"x": list(range(10_000))}, limits=Limits(nodes=100_000))


@given(
    base=st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-70, 70), exponent=st.integers(0, 70)
)
@example(base=2**34, exponent=1)
@example(base=3_037_000_499, exponent=2)
@example(base=3_037_000_500, exponent=2)
@example(base=2, exponent=62)
@example(base=-2, exponent=63)
def test_a_power_is_what_python_says_or_does_not_fit_into_64_bits(base, exponent):
    exact = base**exponent

    if abs(exact) < 2**63:
        assert render("x ** y", x=base, y=exponent) == exact
    else:
        with pytest.raises(ExpressionError, match="64 bits"):
            render("x ** y", x=base, y=exponent)
