"""The judge of params against schemas and inputs that are made to keep it busy: whatever they are, it ends soon."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from runtime.definition import QUICK, TooCostly, apply_params, budget
from runtime.definition.judge import judge, misfits
from runtime.model.errors import Invalid
from runtime.model.values import Digest
from runtime.services.judges import SECONDS
from tests.support.effort import effort

_NUMBERS = itertools.count()
DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTEGER: Any = {"type": "integer"}
PATTERNS: Any = {f"^x{i}$": {} for i in range(1_000)}
WIDE: Any = {f"k{i}": i for i in range(3_000)}
ROW: Any = {f"k{i}": i for i in range(40)}


@pytest.fixture
def plan_of(check):
    """A plan whose params are judged by a schema, without the way through a document."""
    plan = check("name: x\nsteps: [{id: a, uses: core.noop@1}]").plan

    def make(schema):
        return replace(plan, params_schema=schema, digest=Digest.of(b"%d" % next(_NUMBERS)))

    return make


def of(schema, **more):
    """Judged is the param `v`."""
    return {"properties": {"v": schema}, **more}


def quickly(plan, given):
    """As a server asks where others wait."""
    with budget(QUICK):
        return apply_params(plan, given)


# Each took the library, or our own keywords, seconds to hours.
HOSTILE = {
    "patterns of keys": (of({"patternProperties": PATTERNS}), WIDE),
    "patterns of keys and of no other": (of({"patternProperties": PATTERNS, "additionalProperties": False}), WIDE),
    "long keys": (of({"patternProperties": {f"(a|b)*c{i}$": {} for i in range(500)}}), {"a" * 900_000: 1}),
    "a thousand times unique": (of({"allOf": [{"uniqueItems": True}] * 3_000}), list(range(3_000))),
    "unique and deep": (of({"allOf": [{"uniqueItems": True}] * 100}), [list(range(50_000))]),
    "a thousand long texts": (of({"allOf": [{"pattern": "^(a|b)*$"}] * 2_000}), "a" * 1_000_000),
    "enum of lists": (of({"items": {"enum": [[*range(1_000), i] for i in range(100)]}}), [[*range(1_000), -1]] * 200),
    "const of a large list": (of({"items": {"const": list(range(20_000))}}), [list(range(20_000))] * 50),
    "messages that quote": (of({"anyOf": [{"allOf": [{"maxItems": 1}] * 1_000}]}), list(range(100_000))),
    "messages that quote the schema": (of({"anyOf": [{"items": {"const": list(range(20_000))}}]}), [1] * 50_000),
    "names that depend on each other": (
        of({"allOf": [{"dependentRequired": {f"k{i}": ["k1"] * 90 for i in range(3_000)}}] * 100}), WIDE
    ),
    "properties that are not there": (
        of({"items": {"properties": {f"p{i}": {} for i in range(20_000)}, "required": ["x"]}}), [{"a": 1}] * 20_000
    ),
    "schemas that say nothing": (of({"items": {"allOf": [{}] * 1_000}, "not": {}}), [1] * 5_000),
    "what fits, a thousand times": (of({"items": {"allOf": [INTEGER] * 1_000}}), [1] * 100_000),
    "lists that fit, a thousand times": (of({"allOf": [{"items": INTEGER}] * 4_000}), [1] * 100_000),
    "references by name": (
        of({"items": {"$ref": "#n"}}, **{"$defs": {"n": {"$anchor": "n", "not": {}}, **{f"d{i}": {"type": "null"} for i in range(2_000)}}}),
        [1] * 2_000,
    ),
    "a reference by name in a large schema": (
        of({"$ref": "#n"}, **{"$defs": {"n": {"$anchor": "n", "not": {}}, **{f"d{i}": {"items": {}} for i in range(50_000)}}}), 1
    ),
    "a schema of its own dialect": (of({"$schema": DIALECT, "pattern": "^(a+)+$"}), "a" * 40 + "b"),
    "the whole as a part of itself": (
        of({"properties": {"v": {"$ref": "#"}, "p": {"pattern": "^(a+)+$"}}, "not": {"required": ["q"]}}, **{"$schema": DIALECT}),
        {"v": {"v": {"p": "a" * 40 + "b"}}, "p": "a" * 40 + "b"},
    ),
    "patterns in the input": (of({"not": {"items": {"format": "regex"}}}), [f"(a{{{900 + i}}}){{1}}b{i}" for i in range(99)] * 1_000),
    "unevaluated keys": (
        of({"allOf": [{"properties": WIDE and {k: {} for k in WIDE}}] * 50, "unevaluatedProperties": False}), {**WIDE, **{f"u{i}": 1 for i in range(3_000)}}
    ),
    "unevaluated items": (of({"contains": INTEGER, "unevaluatedItems": {"type": "null"}}), [*range(60_000), "x"]),
    "unevaluated at every level": (
        of({"$ref": "#/$defs/t"}, **{"$defs": {"t": {"anyOf": [
            {"properties": {"t": {"$ref": "#/$defs/t"}}, "unevaluatedProperties": False}] * 3, "unevaluatedProperties": False}}}),
        json.loads('{"t":' * 30 + "1" + "}" * 30),
    ),
    "unknown keys in a wide schema": (of({"properties": {f"{'order_number_' * 4}{i:05}": {} for i in range(20_000)}, "additionalProperties": False}),
                                      {f"{'order_numbre_' * 4}{i:05}": 1 for i in range(20_000)}),
    "a hundred unknown keys": (
        of({"items": {"properties": {f"{'order_number_' * 4}{i:05}": {} for i in range(1_000)}, "additionalProperties": False}}),
        [{f"{'order_numbre_' * 4}{i:05}": 1} for i in range(100)],
    ),
    "a pattern that is too large, again and again": (of({"items": {"format": "regex"}}), ["\\pL{999}\\pN{900}"] * 3_000),
    "patterns that are too large": (of({"allOf": [{"pattern": f"\\pL{{{900 + i}}}\\pN{{900}}"} for i in range(99)]}), "a"),
    "a large pattern on a long text": (of({"pattern": "(a|b)*a(a|b){900}c"}), "".join("ab"[i * i % 7 % 2] for i in range(100_000))),
    "keywords that nobody knows": (of({"items": {f"x{i}": 1 for i in range(10_000)}}), [1] * 3_000),
    "a long reference": (of({"items": {"$ref": "#/$defs/" + "%41" * 33_000}}, **{"$defs": {"A" * 33_000: {}}}), [1] * 3_000),
    "a long text in a list": (of({"allOf": [{"uniqueItems": True}] * 1_000}), [["\x7f" * 900_000]]),
    "itself": (of({"not": {"$ref": "#/properties/v"}}), 1),
    "a union of many under many names": (of({"oneOf": [{"required": [f"k{i}" for i in range(5_000)]}, *[{}] * 1_000]}), 1),
    "many references to a long list": (of({"allOf": [{"$ref": "#/$defs/e"}] * 1_000}, **{"$defs": {"e": {"enum": [f"{i}" for i in range(100_000)]}}}), "1"),
    "many references to many names": (of({"allOf": [{"$ref": "#/$defs/e"}] * 1_000}, **{"$defs": {"e": {"required": [*WIDE] * 10}}}), {}),
    "many references to many names that an object has not": (
        of({"items": {"anyOf": [*[{"$ref": "#/$defs/r"}] * 1_700, {"type": "object"}]}}, **{"$defs": {"r": {"required": [f"k{i}" for i in range(6_000)]}}}),
        [{f"k{i}": 1 for i in range(6_000) if i != missing} for missing in range(12)],
    ),
    "names of hosts in all scripts": (of({"items": {"format": "idn-hostname"}}), ["\u3042.example"] * 3_000),
    "texts with a format": (of({"items": {"format": "uuid"}}), ["0f000000-0000-0000-0000-000000000001"] * 3_000),
    "small patterns that are large": (of({"allOf": [{"pattern": "\\PL" * 60 + f"{i}"} for i in range(37)]}), "x"),
    "small patterns of any case": (of({"allOf": [{"pattern": "(?i:k)" * 30 + f"{i}"} for i in range(37)]}), "x"),
    "missing keys": (of({"items": {"required": [*WIDE, *(f"z{i}" for i in range(200))]}}), [WIDE] * 20),
}  # fmt: skip


@pytest.mark.parametrize("name", ["a/b", "a b", "a~b"])
def test_an_escaped_reference_is_not_taken_for_a_plain_one(name, plan_of):
    """RFC 6901, section 3, and RFC 3986, section 2.1."""
    escaped = name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")
    schema = of({"$ref": f"#/$defs/{escaped}"}, **{"$defs": {name: INTEGER, escaped: {}}})

    assert apply_params(plan_of(schema), {"v": 1}) == {"v": 1}
    with pytest.raises(Invalid):
        apply_params(plan_of(schema), {"v": "x"})
    with pytest.raises(Invalid):
        apply_params(plan_of(of({"items": schema["properties"]["v"]}, **schema)), {"v": ["x"] * 60})


@pytest.mark.parametrize("name", HOSTILE)
def test_quickly_means_within_a_moment(name, plan_of):
    """What enqueueing asks in the loop: that it takes a closer look, elsewhere."""
    schema, value = HOSTILE[name]
    plan = plan_of(schema)

    with effort() as spent, pytest.raises(TooCostly):
        quickly(plan, {"v": value})

    assert spent.seconds < 0.3


def test_what_people_send_is_judged_to_the_end(plan_of):
    """A list of 5,000 rows of 40 fields, one of them wrong: that one is named. Here half of it, in half of the time."""
    schema = of(
        {
            "items": {
                "properties": dict.fromkeys(ROW, INTEGER),
                "required": [*ROW],
                "additionalProperties": False,
            }
        }
    )
    rows = [ROW] * 2_499 + [{**ROW, "k39": "x"}]

    with pytest.raises(TooCostly):
        quickly(plan_of(schema), {"v": rows})
    with effort() as spent, pytest.raises(Invalid) as caught:
        apply_params(plan_of(schema), {"v": rows})

    assert spent.seconds < SECONDS / 2
    assert [one.path for one in caught.value.problems] == [("input", "v", "2499", "k39")]


KINDS: Any = {
    k: {
        "type": "object",
        "properties": {"type": {"const": k}, "id": {"type": "integer"}},
        "required": ["type", "id"],
    }
    for k in "abcde"
}
ONE_OF = [
    ({"oneOf": [*KINDS.values()]}, [{"type": "a", "id": 1}, {"type": "e", "id": 2}], [{"type": "a", "id": "1"}, {"type": "f", "id": 1}, {"id": 1}, 1]),
    ({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b", "title": "b"}]}, [{"type": "b", "id": 1}], [{"type": "c", "id": 1}]),
    ({"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}, [None, {"type": "a", "id": 1}], [{"type": "b", "id": 1}, 1]),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, [], [1, 1.0]),
    ({"oneOf": [KINDS["a"], {**KINDS["b"], "required": ["id"]}]}, [], [{"type": "c", "id": 1}]),
    ({"oneOf": [KINDS["a"], KINDS["a"]]}, [], [{"type": "a", "id": 1}]),
    ({"format": "date"}, ["2026-01-31", 1, None], ["2026-01-32", "x" * 300]),
    ({"format": "uuid"}, ["0b5c3b1a-7e2f-4f0a-8f53-000000000001"], ["0b5c"]),
    ({"format": "x-own"}, ["anything"], []),
    ({"format": "regex"}, [], ["("]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "fit", "misfit"), ONE_OF)
def test_unions_that_are_told_apart_and_formats_are_accepted_quickly(schema, fit, misfit, plan_of):
    """And nothing is accepted that the library would refuse."""
    plan = plan_of(of(schema, **{"$defs": KINDS}))

    for one in fit:
        assert quickly(plan, {"v": one}) == {"v": one}
        assert apply_params(plan, {"v": one}) == {"v": one}
        assert misfits(judge(plan.params_schema), {"v": one}, 1) == []
    for one in misfit:
        with pytest.raises(TooCostly):
            quickly(plan, {"v": one})
        assert misfits(judge(plan.params_schema), {"v": one}, 1)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_what_is_small_is_accepted_quickly(length, plan_of):
    rows = [ROW] * length
    plan = plan_of(of({"items": {"properties": dict.fromkeys(ROW, INTEGER), "required": [*ROW]}}))

    assert quickly(plan, {"v": rows}) == {"v": rows}


def test_one_wrong_element_of_thousands_is_named_soon(plan_of):
    """In a union, and behind a reference: of the others nothing but their acceptance is asked."""
    union = {
        "items": {"oneOf": [{"$ref": f"#/$defs/{one}"} for one in KINDS]},
        "prefixItems": [{"type": "null"}],
    }
    rows: Any = [
        None,
        *({"type": "abcde"[i % 5], "id": i} for i in range(15_000)),
        {"type": "z"},
        {"type": "a"},
    ]

    with effort() as spent, pytest.raises(Invalid) as caught:
        apply_params(plan_of(of(union, **{"$defs": KINDS})), {"v": rows})

    assert spent.seconds < 1.5
    assert {one.path for one in caught.value.problems} == {
        ("input", "v", "15001"),
        ("input", "v", "15002"),
    }


def test_a_large_default_is_paid_for(plan_of):
    plan = plan_of({"properties": {"v": {"default": [[i] for i in range(100_000)]}}})

    with pytest.raises(TooCostly):
        quickly(plan, {})
    filled: Any = apply_params(plan, {})
    assert len(filled["v"]) == 100_000


UNEVALUATED = [
    ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"a": 1}, True),
    ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"b": 1}, False),
    ({"unevaluatedProperties": INTEGER}, {"b": 1}, True),
    ({"unevaluatedProperties": INTEGER}, {"b": "1"}, False),
    ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"a": 1}, True),
    ({"anyOf": [{"properties": {"a": INTEGER}, "required": ["a"]}, {"properties": {"b": {}}}], "unevaluatedProperties": False}, {"a": "x"}, False),
    ({"anyOf": [{"properties": {"a": INTEGER}}, {"properties": {"b": {}}}], "unevaluatedProperties": False}, {"a": 1, "b": 1}, True),
    ({"oneOf": [{"required": ["a"], "properties": {"a": {}}}, {"required": ["b"]}], "unevaluatedProperties": False}, {"a": 1}, True),
    ({"not": {"not": {"properties": {"a": {}}}}, "unevaluatedProperties": False}, {"a": 1}, False),
    ({"if": {"required": ["a"], "properties": {"a": {}}}, "then": {"properties": {"b": {}}}, "unevaluatedProperties": False}, {"a": 1, "b": 1}, True),
    ({"if": {"required": ["a"]}, "else": {"properties": {"b": {}}}, "unevaluatedProperties": False}, {"b": 1}, True),
    ({"if": {"required": ["a"]}, "else": {"properties": {"b": {}}}, "unevaluatedProperties": False}, {"a": 1}, False),
    ({"dependentSchemas": {"a": {"properties": {"a": {}, "b": {}}}}, "unevaluatedProperties": False}, {"a": 1, "b": 1}, True),
    ({"dependentSchemas": {"a": {"properties": {"b": {}}}}, "unevaluatedProperties": False}, {"b": 1}, False),
    ({"$ref": "#/$defs/o", "$defs": {"o": {"properties": {"a": {}}}}, "unevaluatedProperties": False}, {"a": 1}, True),
    ({"allOf": [{"additionalProperties": INTEGER}], "unevaluatedProperties": False}, {"z": 1}, True),
    ({"allOf": [{"unevaluatedProperties": True}], "unevaluatedProperties": False}, {"z": 1}, True),
    ({"patternProperties": {"^a": {}}, "unevaluatedProperties": False}, {"ab": 1}, True),
    ({"patternProperties": {"^a": {}}, "unevaluatedProperties": False}, {"b": 1}, False),
    ({"prefixItems": [{}], "unevaluatedItems": False}, [1], True),
    ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2], False),
    ({"prefixItems": [{}], "items": INTEGER, "unevaluatedItems": False}, [1, 2], True),
    ({"contains": INTEGER, "unevaluatedItems": {"type": "string"}}, [1, "a"], True),
    ({"contains": INTEGER, "unevaluatedItems": {"type": "string"}}, [1, None], False),
    ({"allOf": [{"prefixItems": [{}, {}]}], "unevaluatedItems": False}, [1, 2], True),
    ({"allOf": [{"unevaluatedItems": INTEGER}], "unevaluatedItems": False}, [1, 2], True),
    ({"unevaluatedItems": False}, {"a": 1}, True),
    ({"unevaluatedProperties": False}, [1], True),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "fits"), UNEVALUATED)
def test_what_is_unevaluated_is_what_the_standard_says(schema, value, fits):
    assert (misfits(judge(schema), value, 1) == []) is fits


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"const": {"a": [1]}}, {"a": [1.0]}, True), ({"const": 1}, True, False), ({"const": [0]}, [False], False),
        ({"const": "1"}, 1, False), ({"enum": [None, [], {}]}, {}, True), ({"enum": [[1]]}, [1, 2], False),
        ({"enum": [{"a": 1}]}, {"b": 1}, False), ({"uniqueItems": True}, [[1], [1.0]], False),
        ({"uniqueItems": True}, ["[1]", [1], {"a": "b"}, "{'a':'b'}"], True), ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ({"uniqueItems": True}, [[True], [1], ["True"], [None], ["None"]], True), ({"uniqueItems": True}, [0, False, -0.0], False),
        ({"not": {"const": 1}}, 1, False), ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, False),
        ({"dependentRequired": {"a": ["b"]}}, {"c": 1}, True), ({"$ref": "#n", "$defs": {"x": {"$anchor": "n", "type": "null"}}}, None, True),
        ({"$ref": "#n", "$defs": {"x": {"$anchor": "n", "type": "null"}}}, 1, False),
    ],
)  # fmt: skip
def test_values_are_compared_as_the_standard_says(schema, value, fits):
    assert (misfits(judge(schema), value, 1) == []) is fits
