"""Params: the short form, defaults, and misfits named field by field."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtime.deep import deeply
from runtime.definition import QUICK, TooCostly, apply_params, budget
from runtime.definition.judge import FORMATS
from runtime.definition.params import MAX_SCHEMA_BYTES, apply_schema
from runtime.model.errors import Invalid
from tests.support.effort import effort


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


CIRCLES = [
    "{t: {$ref: '#/properties/t'}}",
    "{type: object, $ref: '#'}",
    "{t: {not: {$ref: '#/properties/t'}}}",
    "{t: {anyOf: [{type: string}, {if: true, then: {$ref: '#/properties/t'}}]}}",
    "{t: {dependentSchemas: {a: {$ref: '#/properties/t'}}}}",
    "{type: object, $defs: {a: {$anchor: n, allOf: [{$ref: '#/$defs/b'}]}, b: {oneOf: [{$ref: '#n'}]}}, properties: {t: {$ref: '#n'}}}",
]  # fmt: skip


@pytest.mark.parametrize("params", CIRCLES)
def test_a_schema_that_contains_itself_without_going_deeper_is_refused(params, check):
    found = check(f"name: x\nparams: {params}\nsteps: [{{id: a, uses: core.noop@1}}]")

    assert [(one.rule, one.message) for one in found.problems] == [
        ("params-schema", "this schema contains itself without going any deeper")
    ]


@pytest.mark.parametrize(
    "link", [lambda to: {"$ref": to}, lambda to: {"allOf": [{"not": {"not": {"$ref": to}}}]}]
)
def test_a_row_of_references_that_is_too_long_to_judge_by_is_refused(link, check):
    """Not accepted and then unable to start: what is accepted is judged, whatever fits or does not."""

    def found(links: int) -> Any:
        defs = {f"a{i}": link(f"#/$defs/a{i + 1}") for i in range(links)}
        params = {
            "type": "object",
            "properties": {"v": {"$ref": "#/$defs/a0", "default": 1}},
            "$defs": {**defs, f"a{links}": {"type": "integer"}},
        }
        steps = [{"id": "a", "uses": "core.noop@1"}]
        return check(json.dumps({"name": "x", "params": params, "steps": steps}))

    per_link = 1 if "$ref" in link("") else 4
    longest = 62 // per_link
    accepted, refused = found(longest), found(longest + 2)

    assert accepted.problems == ()
    assert apply_params(accepted.plan, {"v": 5}) == {"v": 5}
    with pytest.raises(Invalid, match=r"not|integer"):
        apply_params(accepted.plan, {"v": "x"})
    assert [(one.rule, one.message, one.hint) for one in refused.problems] == [
        (
            "params-schema",
            "more than 64 schemas in a row judge one value here",
            "refer to the last of them",
        )
    ]


def test_levels_with_a_row_of_references_each_are_judged_where_there_is_room(check):
    """A judge's process, and `mc`, have it; without it nothing but that is said."""
    links, levels = 60, 100
    defs: dict[str, Any] = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(links)}
    tree = {"type": ["object", "integer"], "properties": {"v": {"$ref": "#/$defs/a0"}}}
    params = {"$defs": {**defs, f"a{links}": tree}, **tree, "type": "object"}
    plan = check(
        json.dumps({"name": "x", "params": params, "steps": [{"id": "a", "uses": "core.noop@1"}]})
    ).plan

    def of(leaf: Any) -> Any:
        for _ in range(levels):
            leaf = {"v": leaf}
        return leaf

    assert deeply(lambda: apply_params(plan, of(1))) == of(1)
    with pytest.raises(Invalid, match="'x' is not of type"):
        deeply(lambda: apply_params(plan, of("x")))
    with pytest.raises(Invalid, match="nested too deeply"):
        apply_params(plan, of("x"))


@pytest.mark.parametrize("frames", range(0, 60, 7))
@pytest.mark.parametrize(
    "schema", [{"$ref": "#/properties/t"}, {"not": {"$ref": "#/properties/t"}}]
)
def test_what_was_published_so_before_ends(schema, frames):
    """However deep the stack is already: the library's own end to it is a panic, which is no Exception."""

    def deeper(left: int) -> Any:
        if left:
            return deeper(left - 1)
        return apply_schema(f"{schema}", {"properties": {"t": schema}}, {"t": 1})

    with pytest.raises(Invalid, match="nested too deeply"):
        deeper(frames)


def test_a_tree_may_be_as_deep_as_an_input(plan_with):
    plan = plan_with("{type: object, properties: {t: {$ref: '#/$defs/t'}}, x: 1, $defs: {t: "
                     "{type: object, properties: {t: {$ref: '#/$defs/t'}}}}}")  # fmt: skip

    def tree(levels: int) -> Any:
        return {} if not levels else {"t": tree(levels - 1)}

    assert apply_params(plan, tree(60)) == tree(60)
    with pytest.raises(Invalid, match="nested too deeply"):
        apply_params(plan, tree(250))


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


def test_unique_tells_true_from_one_and_one_from_no_one_point_zero(plan_with):
    plan = plan_with("{l: {type: array, uniqueItems: true}}")

    assert apply_params(plan, {"l": [1, True, "1", [1], [True]]})
    with pytest.raises(Invalid):
        apply_params(plan, {"l": [{"a": 1}, {"a": 1.0}]})


NEEDS_THE_LIBRARY = [
    "params: {type: object, $defs: {n: {type: integer}}, properties: {a: {$ref: '#/$defs/n'}}}\nsteps: [{id: a, uses: core.noop@1}]",
    "params: {a: {type: integer, default: x}}\nsteps: [{id: a, uses: core.noop@1}]",
    "params: {a: {type: string, pattern: '\\pL{900}'}}\nsteps: [{id: a, uses: core.noop@1}]",
    "params: {a: {type: [nope]}}\nsteps: [{id: a, uses: core.noop@1}]",
    "params: {a: {minLength: -1}}\nsteps: [{id: a, uses: core.noop@1}]",
    "steps: [{id: a, type: human_task, assignees: [ann], form: {x-unknown: 1}}]",
    "steps: [{id: a, uses: core.sleep@1, with: {duration: [1]}}]",
]  # fmt: skip


@pytest.mark.parametrize("text", NEEDS_THE_LIBRARY)
def test_where_others_wait_no_document_is_judged_by_the_library(text, check, monkeypatch):
    """Which has no bound: the same document is judged where nobody waits."""
    whole = f"name: x\n{text}"
    check(whole)
    monkeypatch.setattr(Draft202012Validator, "iter_errors", lambda *_, **__: pytest.fail("called"))

    with budget(QUICK), pytest.raises(TooCostly):
        check(whole)


def test_ten_thousand_plain_params_are_no_work_for_the_library(check):
    text = json.dumps({"name": "x", "params": {f"p{i}": "string" for i in range(10_000)},
                       "steps": [{"id": "a", "uses": "core.noop@1"}]})  # fmt: skip

    with effort() as spent:
        assert check(text).plan is not None
    assert spent.seconds < 0.8


def test_keys_by_pattern_stand_beside_what_is_unevaluated(plan_with):
    plan = plan_with("{type: object, patternProperties: {'^x-': {}}, unevaluatedProperties: false}")

    assert apply_params(plan, {"x-a": 1}) == {"x-a": 1}
    with pytest.raises(Invalid):
        apply_params(plan, {"y": 1})


def test_keys_by_pattern_are_not_called_unknown(plan_with):
    plan = plan_with(
        "{type: object, properties: {a: {}}, patternProperties: {'^x-': {}}, additionalProperties: false}"
    )

    with pytest.raises(Invalid) as caught:
        apply_params(plan, {"x-1": 1, "zz": 1, "x-2": 1})

    assert [one.path for one in caught.value.problems] == [("input", "zz")]


@pytest.mark.parametrize(
    ("divisor", "value", "fits"),
    [
        (0.1, 10**400, True), (0.1, 10**400 + 1, True), (10**400, 1.5, False), (3, 10**400, False), (0.1, 0.3, True),
        (0.01, 12.25, True), (0.01, 12.255, False), (1e-300, 1e300, True), (2, 4.0, True), (2, True, True), (2, "x", True),
    ],
)  # fmt: skip
def test_multiples_are_exact_however_large_the_numbers_are(divisor, value, fits):
    try:
        apply_schema(f"{divisor}", {"properties": {"v": {"multipleOf": divisor}}}, {"v": value})
    except Invalid:
        assert not fits
    else:
        assert fits


def test_messages_do_not_quote_a_whole_input():
    schema: Any = {
        "properties": {
            "v": {
                "anyOf": [{"allOf": [{"maxItems": 0}] * 100}] * 2,
                "allOf": [{"maxItems": 0}] * 99,
            }
        }
    }
    tracemalloc.start()
    try:
        with pytest.raises(Invalid) as caught:
            apply_schema("quotes", schema, {"v": ["\x7f" * 100_000]})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(caught.value.problems) == 100
    assert max(len(one.message) for one in caught.value.problems) <= 300
    assert peak < 5_000_000  # One message quotes 400 kB.


BROKEN: list[Any] = [
    {"type": {"x": 1}}, {"type": [["a"]]}, {"type": ["integer", 1]}, {"minimum": "x"}, {"maximum": [1]}, {"minLength": "x"}, {"enum": 5}, {"enum": {"a": 1}},
    {"properties": 5}, {"required": 5}, {"items": 5}, {"anyOf": {"type": "x"}}, {"oneOf": 5}, {"format": 5}, {"pattern": 5}, {"multipleOf": 0}, {"$ref": 5},
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=str)
@pytest.mark.parametrize("default", [1, "a", [1], {"b": 1}], ids=str)
def test_a_broken_schema_beside_a_refused_one_breaks_nothing(broken, default, check):
    """The defaults of a refused schema are still judged, one by one: those whose own schema is whole."""
    params = {
        "a": {**broken, "default": default},
        "b": {"pattern": "(?=a)"},
        "c": {"type": "integer", "default": "x"},
    }
    text = json.dumps(
        {"name": "x", "params": params, "steps": [{"id": "a", "uses": "core.noop@1"}]}
    )

    found = check(text).problems

    assert {one.rule for one in found if one.path[:2] == ("params", "a")} == {"params-schema"}
    assert [(one.rule, one.path) for one in found if one.path[:2] != ("params", "a")] == [
        ("params-schema", ("params", "b", "pattern")),
        ("bad-default", ("params", "c", "default")),
    ]


def test_all_that_is_wrong_with_a_schema_is_told_at_once_each_at_its_place(check):
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "strng"},
            "b": {"type": "string", "pattern": "("},
            "c": {"$ref": "#/$defs/no"},
            "d": {"type": "integer", "default": "x"},
            "e": {"minimum": "low", "enum": 5},
            "f": {"$ref": "#/$defs/g"},
            "h": {"$ref": "other.json"},
            "i": {"$id": "x"},
        },
        "$defs": {"g": {"pattern": "(?=a)"}},
    }
    ask = {"id": "s", "type": "human_task", "form": schema}
    found = check(json.dumps({"name": "x", "params": schema, "steps": [ask]})).problems

    inner = [("$defs", "g", "pattern"), ("a", "type"), ("b", "pattern"), ("c", "$ref"), ("d", "default"), ("e", "enum"),
             ("e", "minimum"), ("f", "$ref"), ("h", "$ref"), ("i", "$id")]  # fmt: skip
    places = sorted(one if one[0] == "$defs" else ("properties", *one) for one in inner)
    for start in (("params",), ("steps", "0", "form")):
        size = len(start)
        told = [one for one in found if one.path[:size] == start]
        assert sorted(one.path[size:] for one in told) == places
    assert (
        next(one.hint for one in found if one.path[-2:] == ("a", "type"))
        == "did you mean 'string'?"
    )


@pytest.mark.parametrize(
    "fault",
    [{"minLength": "x", "pattern": "("}, {"type": "integer", "default": "x"}, {"$ref": "#/no"}],
    ids=str,
)
def test_a_schema_with_a_thousand_faults_tells_twenty_of_them(fault, check):
    schema = {"type": "object", "properties": {f"p{index}": fault for index in range(1_000)}}
    ask = {"id": "s", "type": "human_task", "form": schema}

    found = check(json.dumps({"name": "x", "params": schema, "steps": [ask]})).problems

    assert [sum(one.path[0] == key for one in found) for key in ("params", "steps")] == [20, 20]


SECRET = "hunter2"
WRITE_ONLY: dict[str, tuple[Any, Any]] = {
    "a text": ({"writeOnly": True, "minLength": 20}, SECRET),
    "of another type": ({"writeOnly": True, "type": ["integer", "null"]}, SECRET),
    "one of several": ({"writeOnly": True, "enum": ["a"]}, SECRET),
    "what is expected": ({"writeOnly": True, "const": SECRET}, "a"),
    "what is excluded": ({"writeOnly": True, "not": {"const": SECRET}}, SECRET),
    "by a pattern": ({"writeOnly": True, "pattern": "^a"}, SECRET),
    "a format": ({"writeOnly": True, "format": "date"}, SECRET),
    "below": ({"writeOnly": True, "properties": {"k": {"properties": {"l": {"maxLength": 1}}}}}, {"k": {"l": SECRET}}),
    "in a list below": ({"writeOnly": True, "items": {"maxLength": 1}}, [SECRET]),
    "a list": ({"writeOnly": True, "maxItems": 1}, [SECRET, SECRET]),
    "behind a reference": ({"$ref": "#/$defs/secret", "maxLength": 1}, SECRET),
    "inside a reference": ({"$ref": "#/$defs/secret"}, {"k": SECRET}),
    "beside": ({"allOf": [{"$ref": "#/$defs/secret"}, {"maxLength": 1}]}, SECRET),
    "in a choice": ({"anyOf": [{"writeOnly": True, "maxLength": 1}, {"type": "null"}]}, SECRET),
    "what holds it": ({"properties": {"k": {"writeOnly": True}}, "maxProperties": 0}, {"k": SECRET}),
    "a choice of what holds it": ({"oneOf": [{"properties": {"k": {"writeOnly": True, "maxLength": 1}}}, False]}, {"k": SECRET}),
    "a list that holds it": ({"items": {"writeOnly": True}, "maxItems": 0}, [SECRET]),
    "what may not be there": ({"writeOnly": True, "properties": {"k": False}}, {"k": SECRET}),
    "what is too much": ({"prefixItems": [{"writeOnly": True}], "items": False}, [1, SECRET]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITE_ONLY)
def test_what_is_only_taken_in_is_not_quoted(name):
    schema, value = WRITE_ONLY[name]
    secret = {"writeOnly": True, "properties": {"k": {"maxLength": 1}}}
    whole: Any = {"$defs": {"secret": secret}, "properties": {"v": schema, "n": {"maximum": 1}}}

    with pytest.raises(Invalid) as caught:
        apply_schema(f"write only: {name}", whole, {"v": value, "n": 7})

    told = {one.path[1]: one.message for one in caught.value.problems}
    assert SECRET not in str(caught.value.problems)
    assert told["n"] == "7 is greater than the maximum of 1"
    assert "v" in told


def test_of_what_is_only_taken_in_it_is_told_what_was_expected():
    schema: Any = {"properties": {"v": {"writeOnly": True, "type": ["string", "null"]}}}

    with pytest.raises(Invalid) as caught:
        apply_schema("write only: told", schema, {"v": 7})

    assert caught.value.problems[0].message == (
        "this does not fit `type: string or null`; "
        "the value is not shown, because it is or holds what is write-only"
    )


def test_a_default_that_is_only_taken_in_is_not_quoted(check):
    params = "{v: {type: string, writeOnly: true, minLength: 20, default: hunter2}}"
    found = check(f"name: x\nparams: {params}\nsteps: [{{id: a, uses: core.noop@1}}]").problems

    assert [one.rule for one in found] == ["bad-default"]
    assert SECRET not in found[0].message


def sized(count: int, **more: Any) -> Any:
    """A JSON Schema of so many bytes."""
    schema = {"type": "object", "description": "", **more}
    return schema | {"description": "d" * (count - len(json.dumps(schema, separators=(",", ":"))))}


@pytest.mark.parametrize(
    ("place", "document"),
    [
        (("params",), lambda one: {"params": one, "steps": [{"id": "a", "uses": "core.noop@1"}]}),
        (("steps", "0", "form"),
         lambda one: {"steps": [{"id": "a", "type": "human_task", "assignees": ["ann"], "form": one}]}),
    ],
)  # fmt: skip
def test_a_schema_has_at_most_so_many_bytes(place, document, check, monkeypatch):
    """Of one that has more nothing else is looked at, whatever is wrong with it."""
    fits = check(json.dumps({"name": "x", **document(sized(MAX_SCHEMA_BYTES))}))
    wrong = {"properties": {"a": {"type": "nope", "default": 1}}}
    monkeypatch.setattr(Draft202012Validator, "iter_errors", lambda *_, **__: pytest.fail("called"))
    found = check(json.dumps({"name": "x", **document(sized(MAX_SCHEMA_BYTES + 1, **wrong))}))

    assert fits.ok, fits.problems
    told = [one for one in found.problems if one.rule != "not-in-this-version"]
    assert [(one.rule, one.path, one.message) for one in told] == [
        ("too-large", place,
         "a JSON Schema has at most 262,144 bytes of compact JSON, and this one 262,145"),
    ]  # fmt: skip


def test_what_reads_params_that_are_too_large_is_not_called_unknown(rules):
    params = sized(MAX_SCHEMA_BYTES + 1, properties={"a": {"type": "string"}})
    step = {"id": "a", "uses": "core.set@1", "with": {"v": "{{ params.b }}"}}

    assert rules(json.dumps({"name": "x", "params": params, "steps": [step]})) == ["too-large"]


def told(check, param):
    document = {"name": "a", "params": {"p": param}, "steps": [{"id": "a", "uses": "core.noop@1"}]}
    return [
        (str(one.severity), one.rule, ".".join(one.path), one.hint)
        for one in check(json.dumps(document)).problems
    ]


def test_a_default_inside_of_a_param_is_checked_where_it_is_written(check):
    inner = {"type": "object", "properties": {"a": {"type": "string", "default": 5}}}
    outer = {"type": "object", "properties": {"b": inner, "c": {"type": "integer", "default": 1}}}

    assert told(check, inner) == [("error", "bad-default", "params.p.properties.a.default", None)]
    assert told(check, outer) == [
        ("error", "bad-default", "params.p.properties.b.properties.a.default", None)
    ]


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ({"type": "intger"}, ("error", "params-schema", "params.p.type", "did you mean 'integer'?")),
        ({"required": "yes"}, ("error", "params-schema", "params.p.required", "write required: true")),
        ({"required": "no"}, ("error", "params-schema", "params.p.required", "write required: false")),
        ({"minLenght": 1}, ("warning", "params-schema", "params.p.minLenght", "did you mean 'minLength'?")),
    ],
)  # fmt: skip
def test_a_slip_in_the_short_form_has_a_hint(check, param, expected):
    assert told(check, param) == [expected]


def test_keywords_of_others_are_left_alone(check):
    assert (
        told(check, {"type": "string", "x-shown": True, "deprecated": True, "$comment": "a"}) == []
    )


def test_the_formats_that_are_checked_are_those_of_the_page():
    page = (Path(__file__).parents[3] / "docs/language/workflow.md").read_text("utf-8")
    told = page.split("values of `format` these are checked:")[1].split(";")[0]

    assert re.findall(r"`(.*?)`", told) == sorted(FORMATS.checkers)


@pytest.mark.parametrize("place", ["params", "form"])
def test_a_number_that_no_computer_word_holds_is_a_finding_of_its_own(check, place):
    schema = "{minimum: 100000000000000000000}"
    text = {
        "params": f"name: x\nparams: {{type: object, properties: {{v: {schema}}}}}\nsteps: [{{id: a, uses: core.noop@1}}]",
        "form": f"name: x\nsteps: [{{id: a, type: human_task, assignees: [a], form: {{properties: {{v: {schema}}}}}}}]",
    }[place]

    assert "number-range" in [one.rule for one in check(text).problems]


@pytest.mark.parametrize("value", ["5", "true", "[a]", "{a: b}", "null"])
def test_an_id_that_is_no_text_is_refused(check, value):
    found = check(
        f"name: x\nparams: {{type: object, $id: {value}}}\nsteps: [{{id: a, uses: core.noop@1}}]"
    )

    assert [one.rule for one in found.problems] == ["params-schema"]


@pytest.mark.parametrize("pattern", ["^a", "a{1000}|x"])
def test_half_of_a_surrogate_pair_fits_no_pattern(check, pattern):
    text = f"name: x\nparams: {{s: {{type: string, pattern: '{pattern}'}}}}\nsteps: [{{id: a, uses: core.noop@1}}]"

    with pytest.raises(Invalid):
        apply_params(check(text).plan, {"s": "\ud800"})
