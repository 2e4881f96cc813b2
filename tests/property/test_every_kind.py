"""Documents with steps of every kind: accepted by both judges, refused only at publishing, each mutation found at its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runtime.connectors.registry import Registry
from runtime.definition import compile_plan, json_schema, validate
from runtime.definition.source import read_source
from runtime.definition.spelling import Spelling, convert
from runtime.model.workflow import DefinitionFormat

CATALOG = Registry.load().catalog()
SCHEMA = Draft202012Validator(json_schema(CATALOG))
JSON = DefinitionFormat.JSON
NOOP = {"uses": "core.noop@1"}
TIMES = st.sampled_from(["1s", "5m", "PT1H"])
SCHEMAS = st.sampled_from(
    [{"type": "object"}, {"type": "object", "properties": {"a": {"type": "string"}}}]
)
COST = st.sampled_from([500, {"tokens": 5}, {"cost": "1.50 EUR", "tokens": 1}])
PEOPLE: dict[str, st.SearchStrategy[Any]] = {
    "title": st.just("T {{ params.x }}"), "message": st.just("Go on?"), "candidate_groups": st.just(["ops"]),
    "form": SCHEMAS, "outcomes": st.just(["yes", "no"]), "quorum": st.integers(1, 3), "separation_of_duties": st.booleans(),
    "delegation": st.booleans(), "priority": st.integers(-2, 2), "sla": st.sampled_from(["1s", {"due": "2s", "warn": "1s"}]),
    "escalate": st.just([{"after": "1m", "to": "boss"}, {"after": "2m", "notify": ["all"]}]), "attachments": st.just(["a.pdf"]),
}  # fmt: skip
KINDS: dict[str, tuple[dict[str, Any], dict[str, st.SearchStrategy[Any]]]] = {
    "task": ({**NOOP}, {"effect": st.sampled_from(["pure", "idempotent"]), "with": st.just({})}),
    "agent_task": (
        {"agent": "writer", "message": "{{ params.x }}"},
        {"tools": st.just(["search"]), "output_schema": SCHEMAS, "budget": COST},
    ),
    "human_approval": ({}, PEOPLE),
    "human_task": ({}, PEOPLE),
    "map": (
        {"for_each": "{{ params.list }}", "task": {"uses": "core.set@1", "with": {"v": "{{ item }}"}}},
        {"max_concurrency": st.integers(1, 9), "failure_policy": st.sampled_from(["fail_fast", "collect"])},
    ),
    "wait": ({"signal": "go"}, {}),
    "workflow": ({"workflow": "other@^1"}, {"input": st.just({"a": "{{ params.x }}"})}),
}  # fmt: skip
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "name": st.just("A name"), "description": st.just("Why."), "when": st.sampled_from([True, "{{ params.x == 'a' }}"]),
    "timeout": TIMES, "labels": st.just({"a": "b"}), "policy": st.just({"purpose": "test"}),
    "on_error": st.sampled_from(["fail", "continue", {"action": "continue", "output": {"v": 1}}]),
}  # fmt: skip
WORK: dict[str, st.SearchStrategy[Any]] = {
    "runs_on": st.just(["gpu"]), "retry": st.just({"max_attempts": 2}), "cache": st.just({"ttl": "1h", "key": "{{ params.x }}"}), "compensate": st.just({**NOOP}),
}  # fmt: skip
# What only a step that makes calls can say: a workflow's own steps do.
OF_CALLS = {"runs_on", "cache"}
# What only a step that can be repeated can say, too.
NOT_OF_PEOPLE = OF_CALLS | {"retry"}
TOP: dict[str, st.SearchStrategy[Any]] = {
    "version": st.just("1.2.3"), "timeout": st.just("P5D"), "concurrency": st.just({"key": "{{ params.x }}", "limit": 1, "on_conflict": "cancel_oldest"}),
    "triggers": st.just([{"type": "schedule", "cron": "0 3 * * sun"}, {"type": "webhook", "path": "p"}]),
    "on_failure": st.just({"workflow": "other"}), "policy": st.just({"purpose": "test", "region": "eu"}), "priority": st.integers(-3, 3),
    "outputs": st.just({"x": "{{ params.x }}"}), "owner": st.just("me"), "display_name": st.just("D"), "retry": st.just({"initial": "1s"}),
}  # fmt: skip


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """A gateway in the middle, steps of every kind around it."""
    steps: list[dict[str, Any]] = []
    for index, kind in enumerate(draw(st.permutations(sorted(KINDS)))):
        needed, optional = KINDS[kind]
        step: dict[str, Any] = {"id": f"s{index}", **copy.deepcopy(needed)}
        if kind != "task" or draw(st.booleans()):
            step["type"] = kind
        never = {"workflow": OF_CALLS, "human_approval": NOT_OF_PEOPLE, "human_task": NOT_OF_PEOPLE}
        work = {key: one for key, one in WORK.items() if key not in never.get(kind, ())}
        if kind == "map":
            work["cache"] = st.just({"ttl": "1h"})
        own = {**optional, **COMMON, **({} if kind == "wait" else work)}
        for key in draw(st.sets(st.sampled_from(sorted(own)), max_size=6)):
            step[key] = draw(own[key])
        if step.keys() >= {"cache", "compensate"}:
            del step[draw(st.sampled_from(["cache", "compensate"]))]
        if index:
            step["depends_on"] = [
                f"s{need}"
                for need in sorted(draw(st.sets(st.integers(0, index - 1), min_size=1, max_size=3)))
            ]
            if draw(st.booleans()):
                step["join"] = draw(st.sampled_from(["all", "any", len(step["depends_on"])]))
        steps.append(step)
    mode = draw(st.sampled_from(["exclusive", "inclusive"]))
    steps.append({"id": "gate", "type": "gateway", "mode": mode, "depends_on": ["s0"],
                  "cases": [{"when": "{{ params.x == 'a' }}", "then": "left"}, {"else": ["right"]}]})  # fmt: skip
    steps += [
        {"id": "left", **NOOP, "depends_on": "gate", "on_error": {"goto": "end"}},
        {"id": "right", **NOOP, "depends_on": ["gate"]},
    ]
    steps.append({"id": "end", **NOOP, "depends_on": ["left", "right"]})
    params = {"x": {"type": "string", "default": "a"}, "list": {"type": "array", "maxItems": 10}}
    found: dict[str, Any] = {"name": "made", "params": params, "steps": steps}
    for key in draw(st.sets(st.sampled_from(sorted(TOP)))):
        found[key] = draw(TOP[key])
    return found


def errors(found: Any) -> list[Any]:
    return [one for one in found.problems if one.severity == "error"]


@settings(max_examples=60, deadline=None)
@given(documents())
def test_every_kind_is_accepted_compiles_and_is_refused_only_at_publishing(document):
    text = json.dumps(document)

    found, publishing = (
        validate(text, JSON, CATALOG),
        validate(text, JSON, CATALOG, publishing=True),
    )

    assert errors(found) == []
    assert [one.message for one in SCHEMA.iter_errors(document)] == []
    assert found.definition is not None
    assert found.digest is not None
    assert compile_plan(found.definition, found.digest) == found.plan
    assert {one.rule for one in errors(publishing)} == {"not-in-this-version"}


@settings(max_examples=40, deadline=None)
@given(documents())
def test_both_spellings_turn_into_each_other_without_loss(document):
    source = read_source(json.dumps(document), JSON)

    manifest = convert(source, Spelling.MANIFEST)
    flat = convert(read_source(manifest, JSON), Spelling.FLAT)

    assert {validate(one, JSON, CATALOG).digest for one in (manifest, flat)} == {
        validate(source.text, JSON, CATALOG).digest
    }
    assert SCHEMA.is_valid(json.loads(manifest))
    again = json.loads(flat)
    assert again == document
    assert json.dumps(again["steps"]) == json.dumps(document["steps"])


def gate(key: str, value: Any) -> Any:
    return lambda document: next(one for one in document["steps"] if one["id"] == "gate").update(
        {key: value}
    )


def last(key: str, value: Any) -> Any:
    return lambda document: document["steps"][-1].update({key: value})


MUTATIONS = [
    (gate("mode", "both"), "choice", ("gate", "mode")),
    (gate("cases", [{"else": "s0"}]), "gateway-target", ("gate", "cases")),
    (gate("cases", [{"else": "nobody"}]), "unknown-step", ("gate", "cases")),
    (last("join", 3), "join", ("end", "join")),
    (last("join", "some"), "choice", ("end", "join")),
    (last("on_error", {"goto": "gate"}), "goto-target", ("end", "on_error")),
    (last("on_error", {"action": "fail", "goto": "gate"}), "on-error", ("end", "on_error")),
    (last("cache", {"ttl": "soon"}), "bad-duration", ("end", "cache")),
    (last("compensate", {"uses": "core.nop@1"}), "unknown-connector", ("end", "compensate")),
    (last("when", "{{ false }}"), "unreachable-step", ("end", "when")),
    (last("with", {"v": "{{ secrets.X }}", "w": "{{ steps.end.output }}"}), "not-upstream", ("end", "with")),
    (last("timeout", "P9D"), "timeout-contradiction", ("end", "timeout")),
    (last("id", "left"), "duplicate-step", ("left", "id")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mutate", "rule", "place"), MUTATIONS, ids=lambda one: one if isinstance(one, str) else ""
)
@settings(max_examples=8, deadline=None)
@given(document=documents())
def test_each_mutation_gives_its_finding_at_its_place(mutate, rule, place, document):
    document["timeout"] = "P5D"
    mutate(document)

    found = validate(json.dumps(document, indent=1), JSON, CATALOG)

    mine = [one for one in found.problems if one.rule == rule and one.step_key == place[0]]
    assert mine
    assert mine[0].path[2] == place[1]
    assert mine[0].line is not None
