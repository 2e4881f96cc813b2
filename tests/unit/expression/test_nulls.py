"""The lists of what null does are those that trying gives."""

from __future__ import annotations

from itertools import product

import pytest

from runtime.expression import ExpressionError, parse_template
from runtime.expression.calls import FILTERS, FUNCTIONS, TESTS
from runtime.expression.compile import compile_expression
from runtime.expression.error import Undefined
from runtime.expression.nulls import (
    FAILING_ALONE,
    FAILING_FILTERS,
    FAILING_TESTS,
    FALSE_TESTS,
    PASSING_FILTERS,
)

LITERALS = ("'a'", "1", "true", "none", "[1]", "{'a': 1}", "'sha256'", "'none'", "'upper'")
PICKERS = ("map", "select", "reject", "selectattr", "rejectattr")
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in")  # fmt: skip


def outcome(expression):
    """What it comes to, or that it fails; None if it can't even be read."""
    try:
        template = parse_template("{{ " + expression + " }}")
    except ExpressionError:
        return None
    try:
        return repr(template.render({"null": None}))
    except ExpressionError as error:
        return "undefined" if isinstance(error, Undefined) else "failed"


def outcomes(written, literals=LITERALS):
    """All that it comes to, with up to two arguments."""
    tried = [
        outcome(f"{written}({', '.join(given)})" if given else written)
        for count in range(3)
        for given in product(literals, repeat=count)
    ]
    return {one for one in tried if one is not None}


@pytest.mark.parametrize("name", [*FILTERS, *PICKERS])
def test_every_filter_was_tried(name):
    found = outcomes(f"null | {name}", [one for one in LITERALS if one != "none"])
    alone = outcome(f"null | {name}")

    assert (found == {"failed"}) is (name in FAILING_FILTERS)
    assert ("None" in found) is (name in PASSING_FILTERS)
    assert (alone == "failed" and found != {"failed"}) is (name in FAILING_ALONE)


def test_no_filter_is_named_that_does_not_exist():
    assert {*FILTERS, *PICKERS} >= FAILING_FILTERS | PASSING_FILTERS
    assert set(TESTS) >= FAILING_TESTS | FALSE_TESTS
    assert set(FUNCTIONS) == {"range"}


@pytest.mark.parametrize("name", [one for one in TESTS if one.isidentifier()])
def test_every_test_was_tried(name):
    found = outcomes(f"null is {name}")

    assert (found == {"failed"}) is (name in FAILING_TESTS)
    assert (found == {"False"}) is (name in FALSE_TESTS)


OTHERS = ("1", "'a'", "[1]", "{'a': 1}", "true")


@pytest.mark.parametrize("sign", OPERATORS)
def test_every_operator_was_tried(sign):
    """That of which nothing is asked does not fail with everything, and the other way round."""
    on_left = {outcome(f"null {sign} {one}") == "failed" for one in OTHERS}
    on_right = {outcome(f"{one} {sign} null") == "failed" for one in OTHERS}

    assert (on_left == {True}) is needs(f"null {sign} other")["null"]
    assert (on_right == {True}) is needs(f"other {sign} null")["null"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("-null", True), ("+null", True), ("not null", False), ("range(null)", True), ("range(1, null)", False), ("range(null, 1)", True), ("{null: 1}", True), ("{'a': null}", False),
        ("[null]", False), ("other[null]", True), ("null[other]", True), ("null[1:2]", True), ("other[null:]", False), ("null.strip()", True),
        ("null.upper()", True), ("null.default(1)", False), ("other is in null", True), ("other is divisibleby null", True), ("other is lt null", True),
        ("other is contains null", False), ("null | int", True), ("null | float", True), ("null | int(1)", False), ("null | int(default=1)", False), ("null if other else 1", False), ("1 if null else 1", False), ("null and other", False),
    ],
)  # fmt: skip
def test_what_needs_a_value_fails_without_one(expression, expected):
    failing = {
        outcome(expression.replace("other", one)) in {"failed", "undefined"} for one in OTHERS
    }

    assert needs(expression)["null"] is expected
    assert (failing == {True}) is expected


def needs(expression):
    return {str(one.path[0]): one.needs_value for one in compile_expression(expression).references}
