"""Diffs of generated definitions tell everything and nothing else; what is called compatible is."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runtime.definition import canonical_bytes, diff_definitions
from runtime.definition.diff import field_changes
from runtime.definition.narrowing import narrowings

NAMES = st.sampled_from(["a", "b", "it's", "c d"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "it's", "0", "true"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
STEPS = st.lists(
    st.builds(
        lambda key, value: {"id": key, "uses": "core.set@1", "with": {"v": value}},
        st.sampled_from("abcdef"),
        VALUES,
    ),
    unique_by=lambda step: step["id"],
    max_size=6,
)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "null"])
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=2, unique=True),
        "enum": st.lists(LEAVES, min_size=1, max_size=3),
        "minimum": st.integers(-1, 1),
        "maximum": st.integers(-1, 1),
        "maxLength": st.integers(0, 2),
        "minLength": st.integers(0, 2),
    },
)
SCHEMAS = st.recursive(
    PLAIN,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array"]),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "minItems": st.integers(0, 2),
        },
    ),
    max_leaves=5,
)


@given(STEPS, STEPS)
@settings(max_examples=80, deadline=None)
def test_every_step_is_told_of_once(before: list[Any], after: list[Any]) -> None:
    found = diff_definitions({"steps": before}, {"steps": after}, {})

    old, new = {one["id"]: one for one in before}, {one["id"]: one for one in after}
    assert set(found.added) == new.keys() - old.keys()
    assert set(found.removed) == old.keys() - new.keys()
    assert {one.key for one in found.changed} == {
        key for key in old.keys() & new.keys() if canonical_bytes(old[key]) != canonical_bytes(new[key])
    }  # fmt: skip
    assert all(one.changes for one in found.changed)
    assert {one.key for one in found.hashes} == old.keys() | new.keys()


@given(STEPS, STEPS)
@settings(max_examples=80, deadline=None)
def test_moving_what_is_said_to_move_gives_the_new_order(
    before: list[Any], after: list[Any]
) -> None:
    moved = {one.key for one in diff_definitions({"steps": before}, {"steps": after}, {}).moved}

    old, new = [one["id"] for one in before], [one["id"] for one in after]
    assert [key for key in old if key in new and key not in moved] == [
        key for key in new if key in old and key not in moved
    ]


@given(VALUES, VALUES)
@settings(max_examples=120, deadline=None)
def test_fields_differ_when_values_do_and_each_by_its_own_path(before: Any, after: Any) -> None:
    found = list(field_changes({"v": before}, {"v": after}))

    assert bool(found) is (canonical_bytes(before) != canonical_bytes(after))
    assert len({one.path for one in found}) == len(found)


@given(SCHEMAS, SCHEMAS, VALUES)
@settings(max_examples=120, deadline=None)
def test_what_no_rule_names_is_taken_by_the_new_schema_too(
    before: Any, after: Any, value: Any
) -> None:
    assume(not list(narrowings(before, after)))

    if Draft202012Validator(before).is_valid(value):
        assert Draft202012Validator(after).is_valid(value)
