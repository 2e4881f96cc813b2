"""Generated documents: valid ones compile, both spellings agree, each mutation gives its finding at its place."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import apply_params, canonical_bytes, compile_plan, json_schema, validate
from runtime.definition.accept import compile_accept
from runtime.definition.source import read_source
from runtime.engine.simulation import Failing, Script
from runtime.model.execution import ExecutionStatus
from runtime.model.workflow import DefinitionFormat

REGISTRY = Registry.load()
CATALOG = REGISTRY.catalog()
SCHEMA = Draft202012Validator(json_schema(CATALOG))
DURATIONS = st.sampled_from(["1s", "2m30s", "500ms", "PT5M", "1.5h", "P1D"])
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).filter(
    lambda text: "{" not in text and "$" not in text
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
RETRIES = st.fixed_dictionaries(
    {},
    optional={
        "max_attempts": st.integers(1, 9),
        "backoff": st.sampled_from(["fixed", "linear", "exponential"]),
        "initial": st.sampled_from(["10ms", "1s"]),
        "max": st.sampled_from(["1m", "PT1H"]),
        "jitter": st.sampled_from(["full", "none"]),
        "never_on": st.lists(st.sampled_from(["timeout", "throttled"]), max_size=2),
    },
)


class Quoting(yaml.SafeDumper):
    """PyYAML writes YAML 1.1, where `0E0` is text and needs no quotes; in 1.2 it is a number."""


Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def dump(value: Any, **options: Any) -> Any:
    return yaml.dump(value, Dumper=Quoting, **options)


@st.composite
def steps(draw: Any) -> Any:
    """Steps in document order that need not be the order of their dependencies."""
    found = []
    for index in range(draw(st.integers(1, 8))):
        needs = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        step: dict[str, Any] = {"id": f"s-{index}", "uses": "core.set@1"}
        step["with"] = {"value": draw(JSON)}
        if needs:
            step["depends_on"] = [f"s-{need}" for need in sorted(needs)]
            step["with"]["read"] = f"{{{{ steps['s-{min(needs)}'].output }}}}"
        for key, value in (("timeout", DURATIONS), ("retry", RETRIES), ("name", TEXTS)):
            if draw(st.booleans()):
                step[key] = draw(value)
        found.append(step)
    return draw(st.permutations(found))


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "made", "steps": draw(steps())}
    for key, value in (
        ("version", st.sampled_from(["1.0.0", 3, "2.1.0-rc.1"])),
        ("timeout", st.just("P30D")),
        ("labels", st.dictionaries(st.sampled_from(["a", "b"]), TEXTS, max_size=2)),
        ("params", st.just({"x": {"type": "string", "default": "y"}})),
        ("max_parallel_steps", st.integers(1, 9)),
        ("retry", RETRIES),
    ):
        if draw(st.booleans()):
            found[key] = draw(value)
    return found


def camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.title() for part in rest)


def as_manifest(document: dict[str, Any]) -> dict[str, Any]:
    """The same document in the other spelling."""
    about = {key: document[key] for key in ("name", "version", "labels") if key in document}
    spec = {camel(key): value for key, value in document.items() if key not in {*about, "steps"}}
    spec["tasks"] = [{camel(key): value for key, value in one.items()} for one in document["steps"]]
    for holder in (spec, *spec["tasks"]):
        if "retry" in holder:
            holder["retry"] = {camel(key): value for key, value in holder["retry"].items()}
    for task in spec["tasks"]:
        text = json.dumps(task["with"], ensure_ascii=False)
        task["with"] = json.loads(
            text.replace("{{ steps[", "${tasks[").replace(".output }}", ".output}")
        )
    return {"apiVersion": "composer/v1", "kind": "Workflow", "metadata": about, "spec": spec}


@settings(deadline=None)
@given(documents())
def test_valid_documents_are_accepted_by_both_judges_and_compile(document):
    found = validate(dump(document, allow_unicode=True), None, CATALOG)

    assert found.problems == ()
    assert SCHEMA.is_valid(document)
    assert found.plan is not None
    assert found.definition is not None
    assert found.digest is not None
    assert compile_plan(found.definition, found.digest) == found.plan
    assert sum(found.plan.indegree) == sum(map(len, found.plan.successors))


@settings(deadline=None, max_examples=50)
@given(documents(), st.data())
def test_valid_documents_simulate_every_step_after_what_it_needs(document, data):
    plan = validate(dump(document, allow_unicode=True), None, CATALOG).plan
    assert plan is not None
    failing = data.draw(st.none() | st.sampled_from([one.key for one in plan.steps]))
    script = Script(fails={failing: Failing()} if failing else {})

    found = rehearse(
        plan, REGISTRY, apply_params(plan, None), script, now=datetime(2026, 1, 1, tzinfo=UTC)
    )

    ended = ExecutionStatus.FAILED if failing else ExecutionStatus.COMPLETED
    assert (found.status, found.stopped) == (ended, None)
    assert sorted(one.order for one in found.steps) == list(range(1, len(plan.steps) + 1))
    for step in plan.steps:
        if found.steps[step.index].is_taken:
            assert all(
                found.steps[need].order < found.steps[step.index].order for need in step.depends_on
            )


@settings(deadline=None)
@given(documents())
def test_every_spelling_has_the_same_digest(document):
    manifest = as_manifest(document)
    texts = [
        json.dumps(document),
        dump(document),
        json.dumps(manifest, ensure_ascii=False, indent=1),
        dump(manifest, default_flow_style=True, allow_unicode=True),
    ]

    found = [validate(text, None, CATALOG) for text in texts]

    assert [one.problems for one in found] == [()] * 4
    assert len({one.digest for one in found}) == 1


def misspell(step: dict[str, Any]) -> str:
    step["uzes"] = step.pop("uses")
    return "uzes"


def forget(step: dict[str, Any]) -> str:
    step["depends_on"] = [*step.get("depends_on", []), "nobody"]
    return "depends_on"


def blur(step: dict[str, Any]) -> str:
    step["timeout"] = "a while"
    return "timeout"


def garble(step: dict[str, Any]) -> str:
    step["with"] = {"value": "{{ oops( }}"}
    return "with"


def estrange(step: dict[str, Any]) -> str:
    step["with"] = {"value": "{{ steps.nobody.output }}"}
    return "with"


def unplug(step: dict[str, Any]) -> str:
    step["uses"] = "core.sett@1"
    return "uses"


def insist(step: dict[str, Any]) -> str:
    step["retry"] = {"max_attempts": 0}
    return "retry"


MUTATIONS = [
    (misspell, "unknown-key"), (forget, "unknown-dependency"), (blur, "bad-duration"), (garble, "expression"),
    (estrange, "unknown-reference"), (unplug, "unknown-connector"), (insist, "range"),
]  # fmt: skip


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS)
@settings(max_examples=25, deadline=None)
@given(document=documents(), data=st.data())
def test_each_mutation_gives_its_finding_at_its_place(mutate, rule, document, data):
    index = data.draw(st.integers(0, len(document["steps"]) - 1))
    key = mutate(document["steps"][index])
    text = dump(document, allow_unicode=True, width=10_000)

    found = validate(text, None, CATALOG)

    problem = next(one for one in found.problems if one.rule == rule)
    assert problem.path[:3] == ("steps", str(index), key)
    assert problem.step_key == document["steps"][index]["id"]
    assert problem.line is not None
    first, last = lines_of(text, index)
    assert first <= problem.line <= last


def lines_of(text: str, index: int) -> tuple[int, int]:
    """The lines of one step, as another reader sees them."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    steps = next(value for key, value in root.value if key.value == "steps")
    node = steps.value[index]
    return node.start_mark.line + 1, node.end_mark.line + 1


@settings(deadline=None)
@given(documents(), st.data())
def test_turning_one_edge_round_is_a_cycle(document, data):
    waiting = [one for one in document["steps"] if one.get("depends_on")]
    if not waiting:
        return
    step = data.draw(st.sampled_from(waiting))
    need = next(one for one in document["steps"] if one["id"] == step["depends_on"][0])
    need["depends_on"] = [*need.get("depends_on", []), step["id"]]

    found = validate(json.dumps(document), None, CATALOG)

    cycle = next(one for one in found.problems if one.rule == "cycle")
    assert " -> " in cycle.message


@settings(deadline=None)
@given(JSON)
def test_json_and_yaml_read_the_same(value):
    document = {"v": value}

    from_json = read_source(json.dumps(document), DefinitionFormat.JSON)
    from_yaml = read_source(dump(document, allow_unicode=True), DefinitionFormat.YAML)

    assert from_json.value == document
    assert from_yaml.value == document
    assert canonical_bytes(from_json.value) == canonical_bytes(from_yaml.value)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_no_text_makes_the_reader_fail(source):
    found = validate(source, None, CATALOG)

    assert found.ok is False
    assert found.problems


@settings(deadline=None)
@given(st.text("{}[]:,-&*!|>'\"%@` \n\tab0~#?$.", max_size=60), st.sampled_from(DefinitionFormat))
def test_no_punctuation_makes_the_reader_fail(source, format):
    assert validate(source, format, CATALOG).ok is False


SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        {"type": ["array", "null"], "items": {"enum": [1, "a", None, True]}, "maxItems": 2},
        {"anyOf": [{"type": "string", "minLength": 2, "pattern": "a"}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "number", "exclusiveMaximum": 3}}},
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        {"allOf": [{"type": "integer"}, {"not": {"const": 1}}]},
        {"const": {"a": 1}},
        True,
        {"$ref": "#"},
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.sampled_from([1.0, 2.5, "a", "ba", "bb"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS, VALUES)
def test_quick_acceptance_never_accepts_what_the_library_refuses(schema, value):
    if compile_accept(schema)(value):
        assert Draft202012Validator(schema).is_valid(value)
