"""Params: the short form, defaults, and misfits named field by field."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.definition import apply_params
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
