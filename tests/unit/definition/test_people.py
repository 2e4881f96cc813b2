"""What a step may ask people, as far as the document alone tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtime.definition import json_schema
from runtime.definition.finding import known_here
from runtime.definition.people import LONGEST, LONGEST_NAMES
from runtime.engine import people as engine


def approval(more, kind="human_approval"):
    return f"name: x\nsteps:\n  - {{id: s, type: {kind}, {more}}}\n"


def manifest(more):
    spec = f"{{tasks: [{{id: s, type: human_approval, {more}}}]}}"
    return f"apiVersion: composer/v1\nkind: Workflow\nmetadata: {{name: x}}\nspec: {spec}"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (approval("assignees: [ann, bob], quorum: 2, separation_of_duties: true, with: {quorum: 1, separation_of_duties: false}"),
         [("quorum",), ("separation_of_duties",)]),
        (manifest("separationOfDuties: true, with: {separation_of_duties: false}"), [("separation_of_duties",)]),
        (manifest("separation_of_duties: true, with: {separationOfDuties: false}"), [("separationOfDuties",)]),
        (approval("quorum: 1, with: {quorum: one}"), [("quorum",)]),
        ("name: x\nsteps:\n  - {id: s, type: agent_task, agent: a, message: m, with: {agent: b}}", [("agent",)]),
    ],
)  # fmt: skip
def test_what_stands_beside_with_is_not_said_otherwise_inside_of_it(text, places, check):
    twice = [one for one in check(text).problems if one.rule == "duplicate-key"]

    assert [one.path[-2:] for one in twice] == [("with", *place) for place in places]
    assert {one.severity for one in twice} == {"error"}
    assert "stands beside and inside of `with`" in twice[0].message


def test_some_keys_may_stand_beside_with_and_others_inside_of_it(check):
    found = check(approval("assignees: [ann, bob], timeout: 1d, with: {quorum: 2}"))

    assert found.problems == ()
    assert found.plan.steps[0].human.quorum == 2


@pytest.mark.parametrize(
    ("key", "words"),
    [("timeout: 1d", "timeout stands beside `with`"), ("depends_on: [a]", "depends_on stands beside `with`"),
     ("retry: {}", "people are asked once")],
)  # fmt: skip
def test_what_every_step_has_is_told_to_stand_beside_with(key, words, check):
    (found,) = check(approval(f"with: {{{key}}}")).problems

    assert found.rule == "unknown-key"
    assert words in found.message


@pytest.mark.parametrize(
    "more",
    ["assignees: []", "candidate_groups: []", "assignees: [ann], candidate_groups: []", "assignees: [], quorum: 1",
     "with: {assignees: []}", "escalate: [{after: 1h, candidate_groups: []}]", "escalate: [{after: 1h, notify: []}]"],
)  # fmt: skip
def test_a_list_of_nobody_is_refused(more, check):
    (found,) = check(approval(more)).problems

    assert (found.rule, found.message) == ("empty", "nobody is named here")
    assert found.hint == "name somebody, or leave it out"


@pytest.mark.parametrize(
    ("more", "words"),
    [("assignees: ann", "only ann may answer, and separation"),
     ("assignees: [ann, bob], quorum: 2", "all 2 who may answer must agree, and separation"),
     ("assignees: ann, escalate: [{after: 1h, notify: bob}]", "only ann may answer"),
     ("assignees: ann, escalate: [{after: 1h, to: ann}]", "only ann may answer"),
     ("assignees: ann, escalate: [{after: 1h, to: bob}]", None),
     ("assignees: ann, escalate: [{after: 1h, candidate_groups: clerks}]", None),
     ("assignees: ann, escalate: [{after: 1h, outcome: rejected}]", None)],
)  # fmt: skip
def test_a_quorum_that_may_be_out_of_reach_is_warned_of_until_others_are_asked(more, words, check):
    problems = check(approval(f"{more}, separation_of_duties: true")).problems

    assert [(one.rule, one.severity) for one in problems] == (
        [("quorum", "warning")] if words else []
    )
    assert all(one.message.startswith(str(words)) for one in problems)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("on_expiry: fail", ["expiry"]),
        ("on_expiry: {outcome: rejected}", ["expiry"]),
        ("on_expiry: fail, timeout: 1d", []),
        ("on_expiry: fail, timeout: soon", ["bad-duration"]),
        ("escalate: [{after: 1h}]", ["escalation"]),
        ("escalate: [{after: 1h, nofity: ann}]", ["unknown-key"]),
        ("escalate: [{after: 1h, to: 5}]", ["type"]),
        ("assignees: [ann, bob], quorum: 2, separation_of_duties: true", ["quorum"]),
        ("assignees: ann, separation_of_duties: true", ["quorum"]),
        ("assignees: [ann, bob], quorum: 2, separation_of_duties: false", []),
        ("assignees: [ann, bob], separation_of_duties: true", []),
        ("assignees: [ann, bob], candidate_groups: g, quorum: 2, separation_of_duties: true", []),
        ("assignees: ['{{ execution.id }}'], separation_of_duties: true", []),
        ("form: {type: object, properties: {n: {type: integer, default: one}}}", ["bad-default"]),
        ("form: {type: object, properties: {n: {type: object, properties: {m: {type: string, default: 1}}}}}", ["bad-default"]),
        ("form: {type: object, properties: {n: {type: integer, default: 1}}}", []),
        ("timeout: ' 1h '", ["bad-duration"]),
        ("with: {escalate: [{after: 1h, nofity: ann}, {after: 2h}]}", ["unknown-key", "escalation"]),
    ],
)  # fmt: skip
def test_each_fault_is_told_once(more, found, rules):
    assert rules(approval(more)) == found


LONG = [f"{'o' * 190}{index}" for index in range(1_000)]


@pytest.mark.parametrize(
    "document",
    [
        {"steps": [{"id": "s", "type": "human_task", "outcomes": LONG[:100],
                    "escalate": [{"after": "1h", "outcome": "none"}] * 90}]},
        {"params": dict.fromkeys(LONG, "string"),
         "steps": [{"id": "s", "uses": "core.set@1", "with": {"v": ["{{ params.none }}"] * 200}}]},
        {"steps": [{"id": "s", "type": "human_task",
                    "form": {"type": "object", "properties": dict.fromkeys(LONG, True), "additionalProperties": False}},
                   {"id": "t", "uses": "core.set@1", "depends_on": ["s"],
                    "with": {"v": ["{{ steps.s.output.response.none }}"] * 200}}]},
    ],
    ids=["outcomes", "params", "answers"],
)  # fmt: skip
def test_a_hint_does_not_tell_all_the_names_that_a_document_has(document, check):
    found = check(json.dumps({"name": "x", **document})).problems

    hints = [one.hint for one in found if one.hint]
    assert any(one.startswith("known here: ") and one.endswith(", ...") for one in hints)
    assert max(map(len, hints)) < 250


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ([], None),
        (["a"] * 12, "known here: " + ", ".join(["a"] * 12)),
        (["a"] * 13, "known here: " + ", ".join(["a"] * 12) + ", ..."),
        (["a" * 90] * 3, "known here: " + ", ".join(["a" * 90] * 2) + ", ..."),
        (["a" * 1_000_000], "known here: " + "a" * 197 + "..."),
    ],
)
def test_a_hint_tells_the_names_that_fit_into_a_line(names, hint):
    assert known_here(names) == hint


MANY = json.dumps([f"p{index}" for index in range(101)])
CHAIN = json.dumps([{"after": "1h", "to": "ann"}] * 101)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("due: soon", ["human"]),
        ("due: '2026-01-31T12:00:00Z'", []),
        ("due: '{{ params.at }}'", []),
        (f"title: {'t' * 256}", ["text"]),
        (f"title: {'t' * 255}", []),
        (f"title: \"{'t' * 256}{{{{ execution.id }}}}\"", []),
        (f"message: {'t' * 20_001}", ["text"]),
        ("assignees: ['']", ["empty"]),
        ("assignees: ' '", ["empty"]),
        (f"assignees: [ann, {'a' * 256}]", ["text"]),
        (f"assignees: {MANY}", ["range"]),
        (f"candidate_groups: [{'a' * 256}]", ["text"]),
        (f"attachments: [{'a' * 2_000}]", []),
        (f"attachments: [{'a' * 2_001}, '']", ["text", "empty"]),
        ("outcomes: [a, b, a]", ["duplicate-outcome"]),
        ("outcomes: ['']", ["empty"]),
        (f"outcomes: {MANY}", ["range"]),
        (f"outcomes: {MANY}, escalate: [{{after: 1h, outcome: p7}}], on_expiry: {{outcome: p8}}, timeout: 1d", ["range"]),
        ("outcomes: 5, on_expiry: {outcome: p8}, timeout: 1d", ["type"]),
        (f"escalate: {CHAIN}", ["range"]),
        ("escalate: [{after: 1h, to: ''}]", ["empty"]),
        (f"escalate: [{{after: 1h, notify: [ann, {'a' * 256}]}}]", ["text"]),
        ("sla: {due: 5m, warn: 1h}", ["timeout-contradiction"]),
        ("sla: {due: 1h, warn: 1h}", []),
        ("sla: 1h, due: '2026-01-31T12:00:00Z'", ["human"]),
        ("timeout: 1h, escalate: [{after: 1h, to: ann}]", []),
        ("timeout: 1h, escalate: [{after: 2h, to: ann}]", ["timeout-contradiction"]),
        ("escalate: [{after: 1h, to: ann}, {after: 2h, outcome: rejected}]", []),
        ("escalate: [{after: 1h, outcome: rejected}, {after: 2h, to: ann}, {after: 3h, to: ann}]", ["escalation"]),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_or_never_happens_is_told_before(more, found, rules):
    assert rules(approval(more)) == found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("assignees", []), ("candidate_groups", []), ("assignees", ["a"] * 101), ("attachments", ["a"] * 101),
        ("outcomes", ["a", "a"]), ("outcomes", [""]), ("outcomes", json.loads(MANY)), ("escalate", json.loads(CHAIN)),
        ("escalate", [{"after": "1h", "notify": []}]),
    ],
)  # fmt: skip
def test_editors_know_the_same_bounds(key, value, check):
    document = {"name": "x", "steps": [{"id": "s", "type": "human_task", key: value}]}

    assert not Draft202012Validator(json_schema()).is_valid(document)
    assert not check(json.dumps(document)).ok


def test_the_bounds_are_those_by_which_a_task_is_opened():
    assert {"title": engine.LONGEST_TITLE, "message": engine.LONGEST_TEXT} == LONGEST
    assert {
        "assignees": engine.LONGEST_NAME,
        "candidate_groups": engine.LONGEST_NAME,
        "attachments": engine.LONGEST_PLACE,
    } == LONGEST_NAMES
    schema: Any = json_schema()
    (human,) = (
        one["then"]["properties"]
        for one in schema["$defs"]["step"]["allOf"]
        if one["if"]["properties"]["type"]["const"] == "human_task"
    )
    assert human["assignees"]["anyOf"][1]["maxItems"] == engine.MOST_NAMES
    assert "never if absent" in human["timeout"]["description"]
