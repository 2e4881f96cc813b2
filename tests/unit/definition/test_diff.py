"""What differs between two definitions, and what that means for callers."""

from __future__ import annotations

import pytest

from runtime.definition import compile_plan, config_hash, diff_definitions
from runtime.definition.diff import field_changes
from runtime.definition.version import bumped, is_enough, proposed
from runtime.model.values import Digest, SemVer
from runtime.model.workflow_diff import ChangeKind, Compatibility, FieldChange, VersionBump

BASE = """\
name: order
version: 1.0.0
description: Takes an order.
params:
  type: object
  properties:
    id: {type: string, maxLength: 40}
    speed: {enum: [slow, fast], default: slow}
    lines: {type: array, items: {type: object, properties: {sku: {type: string}}}}
  required: [id, speed]
  additionalProperties: false
steps:
  - id: one
    uses: core.set@1
    with: {value: "{{ params.id }}", headers: {x-id: a}}
  - id: two
    uses: core.noop@1
    depends_on: [one]
  - {id: bell, type: wait, signal: go, timeout: 5m}
outputs: {id: "{{ params.id }}", speed: "{{ params.speed | upper }}", n: 1}
"""


@pytest.fixture
def diff(check, catalog):
    """The difference from BASE to what it becomes by replacing texts."""

    def compares(*pairs, base=BASE):
        text = base
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        before, after = check(base), check(text)
        assert before.ok, before.problems
        assert after.ok, after.problems
        return diff_definitions(before.definition, after.definition, catalog)

    return compares


def test_the_number_alone_is_no_difference(diff):
    found = diff(("version: 1.0.0", "version: 2.0.0"))

    assert found.is_empty
    assert (found.unchanged, found.suggested_bump) == (3, VersionBump.PATCH)


def test_steps_are_added_removed_and_changed(diff):
    found = diff(
        ("  - id: two\n", "  - id: three\n"), ("headers: {x-id: a}", "headers: {x-id: b}, n: 1")
    )

    assert (found.added, found.removed) == (("three",), ("two",))
    assert [one.key for one in found.changed] == ["one"]
    assert found.changed[0].changes == (
        FieldChange("with.headers['x-id']", ChangeKind.CHANGED, "a", "b"),
        FieldChange("with.n", ChangeKind.ADDED, None, 1),
    )


def test_hashes_are_those_of_the_plans(check, catalog):
    before, after = check(BASE), check(BASE.replace("id: two", "id: three"))

    found = diff_definitions(before.definition, after.definition, catalog)

    old = {one.key: config_hash(one) for one in before.plan.steps}
    new = {one.key: config_hash(one) for one in compile_plan(after.definition, after.digest).steps}
    assert {one.key: one.before for one in found.hashes if one.before} == old
    assert {one.key: one.after for one in found.hashes if one.after} == new
    assert all(isinstance(one, Digest) for one in old.values())


def test_the_fewest_moves_explain_a_new_order(catalog):
    def of(order):
        return {"steps": [{"id": one, "uses": "core.noop@1"} for one in order]}

    found = diff_definitions(of("abcdef"), of("bcfade"), catalog)

    assert {(one.key, one.before, one.after) for one in found.moved} == {("a", 0, 3), ("f", 5, 2)}
    assert (found.changed, found.suggested_bump) == ((), VersionBump.PATCH)


def test_changes_outside_the_steps_have_paths(diff):
    found = diff(
        ("description: Takes an order.", "timeout: 1h"), ("maxLength: 40", "maxLength: 50")
    )

    assert [(one.path, one.kind.value) for one in found.metadata] == [
        ("description", "removed"),
        ("params.properties.id.maxLength", "changed"),
        ("timeout", "added"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": None}, {}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": [1]}, {"a": [True]}, ["a"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ["a[1].b"]),
        ({"a": [{"b": 1}]}, {"a": []}, ["a"]),
        ({"it's": {"a b": 1}}, {"it's": {"a b": 2}}, ["['it\\'s']['a b']"]),
        ({"a": 1}, {"a": 1.0}, []),
    ],
)
def test_paths_of_fields(before, after, paths):
    assert [one.path for one in field_changes(before, after)] == paths


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ([("  - id: two\n", "  - id: three\n")], ["step-removed"]),
        ([("signal: go", "signal: come")], ["signal-removed"]),
        ([("required: [id, speed]", "required: [id, speed, lines]")], ["param-required"]),
        ([(", default: slow", "")], ["param-required"]),
        ([("maxLength: 40", "maxLength: 39")], ["param-narrowed"]),
        ([("maxLength: 40", "maxLength: 40, pattern: '^a'")], ["param-narrowed"]),
        ([("enum: [slow, fast]", "enum: [slow]")], ["param-narrowed"]),
        ([("sku: {type: string}", "sku: {type: integer}")], ["param-narrowed"]),
        ([("    id: {type: string", "    id: {type: [string, integer]")], ["output-changed"]),
        ([("    lines: {type: array, items: {type: object, properties: {sku: {type: string}}}}\n", "")],
         ["param-removed"]),
        ([(", n: 1}", "}")], ["output-removed"]),
        ([(", n: 1}", ", n: one}")], ["output-changed"]),
    ],
)  # fmt: skip
def test_what_breaks_callers_is_major(diff, change, rules):
    found = diff(*change)

    assert [one.rule for one in found.effects] == rules
    assert (found.compatibility, found.suggested_bump) == (
        Compatibility.BREAKING,
        VersionBump.MAJOR,
    )


@pytest.mark.parametrize(
    "change",
    [
        ("steps:\n", "steps:\n  - {id: new, uses: core.noop@1}\n"),
        ("    id: {type", "    more: {type: string}\n    id: {type"),
        ("maxLength: 40", "maxLength: 50"),
        ("enum: [slow, fast]", "enum: [slow, fast, faster]"),
        ("default: slow", "default: fast"),
        ("required: [id, speed]", "required: [speed]"),
        (", n: 1}", ", n: 1, m: 2}"),
        ("params:\n", "timeout: 5m\nparams:\n"),
        ("params:\n", "namespace: other\nparams:\n"),
    ],
)
def test_what_adds_is_minor(diff, change):
    found = diff(change)

    assert (found.compatibility, found.suggested_bump) == (
        Compatibility.COMPATIBLE,
        VersionBump.MINOR,
    )


@pytest.mark.parametrize(
    "change",
    [
        ("headers: {x-id: a}", "headers: {x-id: b}"),
        ("description: Takes an order.", "description: Takes it.\nowner: ann\nlabels: {a: b}"),
        ("depends_on: [one]", "timeout: 5s"),
    ],
)
def test_what_only_works_otherwise_is_a_patch(diff, change):
    found = diff(change)

    assert (found.compatibility, found.suggested_bump) == (
        Compatibility.COMPATIBLE,
        VersionBump.PATCH,
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ((", n: 1}", ", n: '{{ steps.one.output.value }}'}"), "output-unknown"),
        (("maxLength: 40", "anyOf: [{maxLength: 40}, {minLength: 2}]"), "param-unknown"),
    ],
)
def test_what_nobody_can_see_is_unknown_and_minor(diff, change, rule):
    found = diff(change)

    assert [one.rule for one in found.effects] == [rule]
    assert (found.compatibility, found.suggested_bump) == (Compatibility.UNKNOWN, VersionBump.MINOR)


def test_an_output_follows_the_connector_that_gives_it(check, catalog):
    text = (
        "name: w\nsteps: [{id: a, uses: http.request@1, with: {url: 'https://a.example'}}]\n"
        "outputs: {code: '{{ steps.a.output.status }}'}\n"
    )
    other = text.replace(
        "uses: http.request@1, with: {url: 'https://a.example'}", "uses: core.set@1"
    )

    found = diff_definitions(check(text).definition, check(other).definition, catalog)

    assert [one.path for one in found.effects] == ["outputs.code"]


def test_params_that_were_never_declared_are_only_missed_when_they_must_be_given(check, catalog):
    text = "name: w\nsteps: [{id: a, uses: core.noop@1}]\n"
    before = check(text).definition

    optional = check(text + "params: {a: {type: string, default: b}}\n").definition
    demanded = check(text + "params: {a: string}\n").definition

    assert diff_definitions(before, optional, catalog).suggested_bump is VersionBump.MINOR
    assert diff_definitions(before, demanded, catalog).suggested_bump is VersionBump.MAJOR
    assert diff_definitions(demanded, before, catalog).effects == ()


@pytest.mark.parametrize(
    ("release", "bump", "number", "least"),
    [
        (None, "major", "1.0.0", "1.0.0"),
        ("1.4.2", "major", "2.0.0", "2.0.0"),
        ("1.4.2", "minor", "1.5.0", "1.5.0"),
        ("1.4.2", "patch", "1.4.3", "1.4.3"),
        ("0.4.2", "major", "1.0.0", "0.5.0"),
        ("0.4.2", "minor", "0.5.0", "0.5.0"),
    ],
)
def test_numbers_after_a_release(release, bump, number, least):
    known = SemVer.parse(release) if release else None

    assert str(bumped(known, VersionBump(bump))) == number
    assert str(proposed(known, VersionBump(bump))) == least


@pytest.mark.parametrize(
    ("release", "number", "enough"),
    [
        ("1.4.2", "2.0.0-rc.1", "major minor patch"),
        ("1.4.2", "1.5.0", "minor patch"),
        ("1.4.2", "1.4.3", "patch"),
        ("0.4.2", "0.4.3", "minor patch"),
        ("0.4.2", "0.5.0", "major minor patch"),
    ],
)
def test_a_number_tells_of_changes_up_to_its_size(release, number, enough):
    found = [
        bump
        for bump in ("major", "minor", "patch")
        if is_enough(SemVer.parse(release), SemVer.parse(number), VersionBump(bump))
    ]

    assert found == enough.split()


SLEEPS = """\
name: w
steps: [{id: a, uses: core.sleep@1, with: {duration: 1s}%s}]
outputs: {seconds: "{{ steps.a.output.seconds }}"}
"""
GOES_ON = ", on_error: {action: continue, output: {seconds: %s}}"


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        ("", GOES_ON % "none", ["output-changed"]),
        ("", GOES_ON % "0", []),
        ("", GOES_ON % '"{{ execution.id }}"', ["output-unknown"]),
        (GOES_ON % "none", "", []),
        (GOES_ON % "0", GOES_ON % "none", ["output-changed"]),
    ],
)
def test_an_output_follows_what_stands_in_the_place_of_one(before, after, rules, check, catalog):
    old, new = check(SLEEPS % before).definition, check(SLEEPS % after).definition

    assert [one.rule for one in diff_definitions(old, new, catalog).effects] == rules


ASKS = """\
name: w
steps:
  - id: ask
    type: human_approval
    outcomes: [approved, rejected, later]
    form: {type: object, properties: {note: {type: string}, sum: {type: integer, default: 1}}, additionalProperties: false}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[approved, rejected, later]", "[yes, no]"),
         [("outcome-removed", "the step 'ask' does not take the answer 'approved', 'rejected', 'later' any more", "steps.ask.outcomes")]),
        (("    outcomes: [approved, rejected, later]\n", ""),
         [("outcome-removed", "the step 'ask' does not take the answer 'later' any more", "steps.ask.outcomes")]),
        (("properties: {note", "required: [note], properties: {note"),
         [("form-narrowed", "in the form of 'ask' the field 'note' must be given now", "steps.ask.form.note")]),
        (("note: {type: string}", "note: {type: integer}"),
         [("form-narrowed", "in the form of 'ask' the field 'note' was string and must be integer now", "steps.ask.form.note")]),
        (("note: {type: string}, ", ""),
         [("form-narrowed", "in the form of 'ask' the field 'note' is not taken any more", "steps.ask.form.note")]),
        (("note: {type: string}", "note: {type: string, anyOf: [{minLength: 1}]}"),
         [("form-unknown", "in the form of 'ask' the field 'note': what `anyOf` lets through can't be compared", "steps.ask.form.note")]),
        (("type: human_approval", "type: human_task"), []),
        (("later]", "later, never]"), []),
        (("note: {type: string}", "note: {type: string}, more: {type: string}"), []),
    ],
)  # fmt: skip
def test_those_who_answer_tasks_are_callers_too(change, said, diff):
    found = diff(change, base=ASKS)

    assert [(one.rule, one.message, one.path) for one in found.effects] == said
    rules = {one.rule for one in found.effects}
    assert found.suggested_bump is (
        VersionBump.PATCH
        if not rules
        else VersionBump.MINOR
        if rules == {"form-unknown"}
        else VersionBump.MAJOR
    )


def test_a_step_that_asks_nobody_any_more_breaks_those_who_answer(check, catalog):
    other = "name: w\nsteps: [{id: ask, uses: core.noop@1}]\n"
    before, after = check(ASKS).definition, check(other).definition

    assert [
        (one.rule, one.message) for one in diff_definitions(before, after, catalog).effects
    ] == [("outcome-removed", "the step 'ask' asks nobody any more")]
    assert diff_definitions(after, before, catalog).effects == ()


def test_a_form_that_comes_is_missed_only_where_it_demands(check, catalog):
    text = "name: w\nsteps: [{id: ask, type: human_task%s}]\n"
    forms = [
        "",
        ", form: {type: object}",
        ", form: {type: object, properties: {a: {}}, required: [a]}",
    ]
    none, open_, demanding = (check(text % one).definition for one in forms)

    assert diff_definitions(none, open_, catalog).effects == ()
    assert [one.rule for one in diff_definitions(none, demanding, catalog).effects] == [
        "form-narrowed"
    ]
    assert diff_definitions(demanding, none, catalog).effects == ()


def test_a_response_may_be_null_where_nobody_need_answer(check, catalog):
    text = (
        "name: w\nsteps: [{id: ask, type: human_task, form: {type: object}, timeout: 1d, on_expiry: %s}]\n"
        'outputs: {told: "{{ steps.ask.output.response }}"}\n'
    )
    before, after = (check(text % one).definition for one in ("fail", "{outcome: rejected}"))

    assert [one.rule for one in diff_definitions(before, after, catalog).effects] == [
        "output-changed"
    ]
    assert diff_definitions(after, before, catalog).effects == ()
