"""Templates: what keeps its type, what becomes text, and what an absent name is called."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.expression import (
    ExpressionError,
    inspect_condition,
    parse_condition,
    parse_template,
    truthy,
)
from runtime.expression.calls import FILTERS

SCOPE = {
    "params": {
        "name": "Bob",
        "count": 3,
        "none": None,
        "tags": ["b", "a"],
        "deep": {"k-1": {"x": 1.5}},
    },
    "steps": {"fetch": {"output": {"rows": [{"n": 1}, {"n": 2}]}, "status": "completed"}},
}


def render(value):
    return parse_template(value).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ params.count }}", 3),
        ("${params.count}", 3),
        ("${ params.tags }", ["b", "a"]),
        ("  {{ params.none }}\n", None),
        ("{{ params['deep']['k-1'].x }}", 1.5),
        ("{{ steps.fetch.output.rows[-1].n }}", 2),
        ("{{ steps.fetch.output.rows[params.count - 2].n }}", 2),
        ("{{ {'a': {'b': params.count}}}}", {"a": {"b": 3}}),
    ],
)
def test_one_expression_keeps_its_type(text, value):
    assert render(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n = {{ params.count }}!", "n = 3!"),
        ("{{ params.name }} and ${params.name}", "Bob and Bob"),
        ("v: {{ params.none }} {{ true }} {{ params.tags }}", 'v: null true ["b","a"]'),
        ("a {{- params.name -}} b", "aBobb"),
        ("{{ '{{' }} ${ '${' } }}", "{{ ${ }}"),
        ("no braces: $x {y} %}", "no braces: $x {y} %}"),
    ],
)
def test_in_other_text_values_are_written_out(text, value):
    assert render(text) == value


def test_values_are_rendered_in_depth_and_the_rest_is_untouched():
    value: Any = {"a": ["{{ params.count }}", {"b": "x"}], "c": 1}

    assert render(value) == {"a": [3, {"b": "x"}], "c": 1}
    assert value == {"a": ["{{ params.count }}", {"b": "x"}], "c": 1}


def test_a_value_without_expressions_is_its_own_result():
    value: Any = {"a": [1, "x"]}

    template = parse_template(value)

    assert template.is_constant
    assert template.render({}) is value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ params.nam }}", "params has no 'nam'; did you mean 'name'?"),
        ("{{ steps.fetsh.output }}", "steps has no 'fetsh'; did you mean 'fetch'?"),
        ("{{ parms.name }}", "there is no 'parms'; did you mean 'params'?"),
        ("{{ steps.fetch.output.rows[7] }}", "has 2 elements"),
        ("{{ params.none.x }}", "params.none is null"),
        ("{{ params.name.x }}", "params.name is a plain value"),
        ("{{ params.tags.x }}", "params.tags is a list"),
    ],
)
def test_what_is_absent_is_named_with_the_nearest_name(text, words):
    with pytest.raises(ExpressionError) as caught:
        render(text)

    assert words in caught.value.message


def test_an_error_says_where_its_string_stands():
    with pytest.raises(ExpressionError) as caught:
        render({"a": [0, "see {{ params.nope }}"]})

    assert (caught.value.path, caught.value.offset) == (("a", 1), 7)


@pytest.mark.parametrize(
    "text",
    [
        "{{ params.name", "{{ }}", "{{ params. }}", "{{ 1 2 }}", "{% if x %}", "{{ 'a }}", "{{ f(1) }}",
        "{{ params.name.nothing() }}", "{{ x|nofilter }}", "{{ x is notest }}", "{{ x|round(1, 2, 3) }}",
        "{{ x|round(preciison=2) }}", "{{ x|upper(*y) }}", "${ a", "{{ self }} {{", "{{ 1e999 }}",
    ],
)  # fmt: skip
def test_broken_expressions_are_refused_when_they_are_read(text):
    with pytest.raises(ExpressionError):
        parse_template(text)


def test_a_key_cannot_be_an_expression():
    with pytest.raises(ExpressionError, match="key"):
        parse_template({"{{ params.name }}": 1})


def test_references_end_where_the_path_is_computed():
    found = parse_template(
        {
            "a": "{{ steps.fetch.output.rows[params.count].n }}",
            "b": "{{ params.x | default(params.y) }}",
        }
    ).references

    assert [(one.path, one.is_guarded, one.at) for one in found] == [
        (("steps", "fetch", "output", "rows"), False, ("a",)),
        (("params", "count"), False, ("a",)),
        (("params", "x"), True, ("b",)),
        (("params", "y"), False, ("b",)),
    ]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("params.count == 3 and params.name in ['Bob']", True),
        ("{{ params.count > 3 }}", False),
        ("${ not params.none }", True),
        ("params.missing is defined", False),
        (True, True),
        (None, True),
        (False, False),
    ],
)
def test_conditions(condition, holds):
    assert truthy(parse_condition(condition).render(SCOPE)) is holds


@pytest.mark.parametrize("condition", ["{{ a }} == 1", "", 3, ["a"], "a ==", "{{ a }}{{ b }}"])
def test_a_condition_is_one_expression(condition):
    with pytest.raises(ExpressionError):
        parse_condition(condition)


def test_a_view_of_the_scope_is_no_value():
    class View(dict):
        pass

    with pytest.raises(ExpressionError, match="is not a value"):
        parse_template("{{ secrets }}").render({"secrets": View(a="hush")})


def test_any_failure_of_a_filter_is_an_expression_error_that_quotes_nothing(monkeypatch):
    def broken(_meter, value):
        raise RuntimeError(value)

    monkeypatch.setitem(FILTERS, "broken", broken)
    with pytest.raises(ExpressionError, match="RuntimeError") as caught:
        parse_template("a {{ 'secret' | broken }}").render({})

    assert "secret" not in str(caught.value)


def test_a_condition_that_is_no_expression_is_refused_in_words_also_when_it_names_tasks():
    with pytest.raises(ExpressionError, match="unexpected char '&'"):
        inspect_condition("${tasks.approval.output&a .outcome == 'approved'}")
