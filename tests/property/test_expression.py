"""Generated expressions: whatever is written, evaluation ends, within its budget, in JSON or in words."""

from __future__ import annotations

import json
import tracemalloc

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.expression import ExpressionError, Limits, inspect_template, parse_template
from runtime.expression.budget import Meter, weigh
from runtime.expression.calls import FILTERS

SCOPE = {"params": {"s": "text", "n": 7, "l": [3, 1, 2], "o": {"a": {"b": 1}}, "z": None}}
LIMITS = Limits(nodes=2_000, bytes=20_000)
ATOMS = st.sampled_from(
    ["1", "2.5", "'ab'", "none", "true", "[1, 2]", "{'a': 1}", "10 ** 9", "params.s", "params.n", "params.l",
     "params.o", "params.o.a.b", "params.z", "params.nope", "range(50)", "'a' * 900"]
)  # fmt: skip
BINARY = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"])
NAMES = st.sampled_from(
    [*FILTERS, "default(1)", "map('string')", "select", "replace('a', 'aaaa')", "join(params.s)"]
)


def grow(inner):
    return st.one_of(
        st.builds("({} {} {})".format, inner, BINARY, inner),
        st.builds("({} | {})".format, inner, NAMES),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{'k': {}}}".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("(not {})".format, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, grow, max_leaves=12)


@settings(max_examples=500)
@given(EXPRESSIONS)
def test_an_expression_has_a_value_within_its_budget_or_says_why_not(text):
    try:
        value = parse_template("{{ " + text + " }}").render(SCOPE, limits=LIMITS)
    except ExpressionError:
        return
    weigh(value, Meter(LIMITS))
    assert json.loads(json.dumps(value)) == value


@settings(max_examples=200)
@given(EXPRESSIONS)
def test_no_expression_takes_memory_beyond_its_budget(text):
    try:
        template = parse_template("{{ " + text + " }}")
    except ExpressionError:
        return
    tracemalloc.start()
    try:
        template.render(SCOPE, limits=LIMITS)
    except ExpressionError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2_000_000


@settings(max_examples=300)
@given(EXPRESSIONS)
def test_the_canonical_spelling_means_the_same(text):
    spelled = "${" + text + "}"
    try:
        canonical = inspect_template(spelled).canonical
    except ExpressionError:
        return
    assert canonical == "{{ " + text + " }}"
    assert outcome(canonical) == outcome(spelled)


@settings(max_examples=300)
@given(st.text("{}$%'\"()[]|.,~ \\abis01-+\n", max_size=40))
@example("{${0}")
@example("costs $${0} or {${1}, {{ 2 }}{${3}")
def test_no_text_makes_the_reader_fail(text):
    try:
        parse_template(text)
        looked = inspect_template(text)
    except ExpressionError:
        return
    assert inspect_template(looked.canonical).canonical == looked.canonical
    assert outcome(looked.canonical) == outcome(text)


def outcome(text):
    try:
        return parse_template(text).render(SCOPE, limits=LIMITS)
    except ExpressionError as error:
        return error.message
