"""Params: the short form, defaults, and misfits named field by field."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.definition import apply_params, document, params
from runtime.definition.effort import FULL
from runtime.model.errors import Invalid


@pytest.fixture
def plan_with(check):
    def make(params):
        found = check(f"name: x\nparams: {params}\nsteps: [{{id: a, uses: core.noop@1}}]")
        assert found.ok, found.problems
        return found.plan

    return make


def test_defaults_are_filled_in_and_the_input_is_left_alone(plan_with):
    plan = plan_with(
        "{id: string, n: {type: integer, default: 3}, o: {type: object, default: {}, properties: {p: {default: [1]}}}}"
    )
    given: Any = {"id": "a", "o": {}}

    assert apply_params(plan, given) == {"id": "a", "n": 3, "o": {"p": [1]}}
    assert given == {"id": "a", "o": {}}


def test_a_default_is_a_new_object_each_time(plan_with):
    plan = plan_with("{l: {type: array, default: []}}")
    first: Any = apply_params(plan, {})
    first["l"].append(1)

    assert apply_params(plan, None) == {"l": []}


def test_every_misfit_is_named(plan_with):
    plan = plan_with(
        "{id: {type: string, minLength: 2}, n: integer, l: {type: array, items: {type: integer}}, o: {type: object, required: [a, b]}}"
    )

    with pytest.raises(Invalid) as caught:
        apply_params(plan, {"id": "x", "l": [1, "2", 3, None], "o": {}, "nn": 1})

    assert sorted((one.path, one.rule) for one in caught.value.problems) == [
        (("input", "id"), "params"),
        (("input", "l", "1"), "params"),
        (("input", "l", "3"), "params"),
        (("input", "n"), "params-required"),
        (("input", "nn"), "params-unknown"),
        (("input", "o", "a"), "params-required"),
        (("input", "o", "b"), "params-required"),
    ]


def test_a_misspelt_param_is_told_the_nearest(plan_with):
    with pytest.raises(Invalid) as caught:
        apply_params(plan_with("{order_id: {type: string, default: a}}"), {"orderid": "x"})

    assert caught.value.problems[0].hint == "did you mean 'order_id'?"


@pytest.mark.parametrize("value", [[], "a", 3, True])
def test_an_input_is_a_mapping(value, plan_with, check):
    bare = check("name: x\nsteps: [{id: a, uses: core.noop@1}]").plan

    for plan in (bare, plan_with("{id: string}")):
        with pytest.raises(Invalid):
            apply_params(plan, value)


def test_without_params_any_mapping_goes_in(check):
    plan = check("name: x\nsteps: [{id: a, uses: core.noop@1}]").plan

    assert apply_params(plan, {"a": 1}) == {"a": 1}
    assert apply_params(plan, None) == {}


@pytest.mark.parametrize(
    "params",
    ["{type: object, properties: {n: {type: integer}}}", "{$ref: '#/$defs/p', $defs: {p: {properties: {n: {type: integer}}}}}",
     "{n: {anyOf: [{type: integer}, {type: 'null'}]}}", "{n: {not: {type: string}}}", "{n: {type: [integer, 'null']}}"],
)  # fmt: skip
def test_the_whole_of_json_schema_is_understood(params, plan_with):
    plan = plan_with(params)

    assert apply_params(plan, {"n": 1}) == {"n": 1}
    with pytest.raises(Invalid):
        apply_params(plan, {"n": "x"})


def test_schemas_that_go_round_in_circles_end(plan_with):
    plan = plan_with("{t: {$ref: '#/properties/t'}}")

    with pytest.raises(Invalid):
        apply_params(plan, {"t": 1})


@pytest.mark.parametrize(
    "params",
    ["{n: {type: intger}}", "{n: {minimum: a}}", "{n: {type: integer, default: x}}", "{n: 5}", "{n: word}",
     "{n: {$ref: 'file:///etc/passwd'}}", "[a]", "{n: {pattern: '('}}"],
)  # fmt: skip
def test_a_broken_params_schema_is_refused_when_it_is_written(params, check):
    assert not check(f"name: x\nparams: {params}\nsteps: [{{id: a, uses: core.noop@1}}]").ok


def test_a_param_may_be_called_type(plan_with):
    assert apply_params(plan_with("{type: string}"), {"type": "a"}) == {"type": "a"}


FAN = ", ".join(
    f"d{i}: {{allOf: [{{$ref: '#/$defs/d{i - 1}'}}, {{$ref: '#/$defs/d{i - 1}'}}]}}"
    for i in range(1, 40)
)
UNUSABLE = [
    "{type: object, properties: {a: {$ref: '#/$defs/d39'}}, $defs: {d0: {type: integer}, " + FAN + "}}",
    "{type: object, properties: {a: {$ref: '#/$defs/nope'}}}",
    "{type: object, properties: {a: {$ref: '#nope'}}}",
    "{type: object, $id: 'http://[::1', properties: {a: {type: string}}}",
    "{type: object, properties: {a: {$id: 'http://x/', type: string}}}",
    "{a: {type: string, pattern: '(?=a)b'}}",
    "{a: {type: string, pattern: '('}}",
]  # fmt: skip


@pytest.mark.parametrize("params", UNUSABLE)
def test_a_schema_that_no_execution_could_be_judged_by_is_refused(params, rules):
    text = f"name: x\nparams: {params}\nsteps: [{{id: a, uses: core.noop@1}}]"

    assert rules(text) == ["params-schema"]


@pytest.mark.parametrize(
    ("params", "given"),
    [
        ("{a: {type: string, pattern: '^(a+)+$'}}", {"a": "a" * 40 + "b"}),
        ("{type: object, patternProperties: {'^(a+)+$': true}, additionalProperties: false}", {"a" * 40 + "b": 1}),
        ("{a: {type: array, uniqueItems: true}}", {"a": [*({"n": i} for i in range(20_000)), {"n": 1}]}),
    ],
)  # fmt: skip
def test_a_hostile_input_is_refused_in_linear_time(params, given, plan_with):
    with pytest.raises(Invalid):
        apply_params(plan_with(params), given)


def test_a_schema_that_branches_with_every_level_is_given_up(plan_with, monkeypatch):
    monkeypatch.setattr(params, "FULL", FULL // 20)
    plan = plan_with(
        "{type: object, properties: {t: {$ref: '#/$defs/t'}}, $defs: {t: {anyOf: "
        "[{type: array, items: {$ref: '#/$defs/t'}}, {type: array, minItems: 1, items: {$ref: '#/$defs/t'}}]}}}"
    )
    deep: Any = 1
    for _ in range(40):
        deep = [deep]

    with pytest.raises(Invalid, match=r"too long|too large"):
        apply_params(plan, {"t": deep})


def test_unique_tells_true_from_one_and_one_from_no_one_point_zero(plan_with):
    plan = plan_with("{l: {type: array, uniqueItems: true}}")

    assert apply_params(plan, {"l": [1, True, "1", [1], [True]]})
    with pytest.raises(Invalid):
        apply_params(plan, {"l": [{"a": 1}, {"a": 1.0}]})


def test_the_defaults_of_a_document_have_one_budget(check, monkeypatch):
    monkeypatch.setattr(document, "FULL", 20_000)
    one = "p%d: {type: array, uniqueItems: true, default: %s}"
    params = ", ".join(one % (i, list(range(900))) for i in range(50))

    found = check(f"name: x\nparams: {{{params}}}\nsteps: [{{id: a, uses: core.noop@1}}]")

    assert [one.rule for one in found.problems] == ["params-schema"]
    assert "takes too long to check" in found.problems[0].message
    assert found.problems[0].path[:1] == ("params",)


@pytest.mark.parametrize("where", ["params: {%s}\n", "form"])
def test_the_patterns_of_a_document_have_one_budget(where, check, monkeypatch):
    monkeypatch.setattr(document, "FULL", 20_000)
    properties = ", ".join(f"p{i}: {{type: string, pattern: 'x{{{900 + i}}}'}}" for i in range(99))
    form = f", type: human_task, form: {{properties: {{{properties}}}}}"
    kind = form if where == "form" else ", uses: core.noop@1"
    top = "" if where == "form" else where % properties

    found = check(f"name: x\n{top}steps: [{{id: a{kind}}}]")

    errors = [(one.rule, one.message) for one in found.problems if one.severity == "error"]
    rule = "json-schema" if where == "form" else "params-schema"
    assert errors == [(rule, "checking this schema takes too long")]


def test_keys_by_pattern_stand_beside_what_is_unevaluated(plan_with):
    plan = plan_with("{type: object, patternProperties: {'^x-': {}}, unevaluatedProperties: false}")

    assert apply_params(plan, {"x-a": 1}) == {"x-a": 1}
    with pytest.raises(Invalid):
        apply_params(plan, {"y": 1})
