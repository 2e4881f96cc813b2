"""What nobody is warned of never happens: whatever is chosen, fails or is late, an output that is surely there is there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import apply_params, validate
from runtime.engine.simulation import Failing, Script
from runtime.model.execution import ExecutionStatus
from runtime.model.plan import StepKind
from runtime.model.values import Duration
from tests.property.test_definition import dump

REGISTRY = Registry.load()
CATALOG = REGISTRY.catalog()
PARAMS = ("p", "q", "r")
WARNED = ("may-be-skipped", "may-be-absent", "unknown-output")
FOUND_NOTHING = ("null", "gives no list", "params has no", "payload has no")
CONDITIONS = st.sampled_from([*(f"params.{name}" for name in PARAMS), "params.o is defined"])
# What can be done with an output that is there: {x} is the whole, {key} what leads to a part of it.
READS = [
    "{x}[{key}]", "{x}[{key}] | default(0)", "{x}[{key} if params.p else {key}]", "{x}[{key} if params.p else {key}] | default(0)", "{x}", "{x} | length",
    "{x} | length | default(0)", "{x} | default([]) | length", "{x} | default([], true) | length", "({x} or []) | length", "{x} | jmespath('k')", "{x} | json",
    "({x} | default([0]))[{key}]", "({x} if params.q else [0]) | length", "(params.q and {x}) | string", "(params.q or {x}) | list", "{key} in {x}", "{x} in [1]",
    "{x}[{key}] if {step}.status == 'completed' else 0", "{x}[{key}] if {step}.status in ['completed'] else 0", "{x}[{key}] if {step}.status in ['completed', 'failed'] else 0",
    "{x} | length if {x} is not none else 0", "{x} | length if {x} is mapping or {x} is list else 0", "{x}[{key}] if {x} == {{'k': 1}} else 0",
    "{x}[{key}] if {x} in [none] else 0", "{x} | length > 0 and {x}[{key}]", "[{x}[{key}] | default(0), {x}[{key}]]", "{x} | int(1)", "0 if {x} is none else {x} | first",
    "({x}[{key}] | default(false)) and {x}[{key}]", "{x}[{key}] if {x}[{key}] | default([]) else 0", "0 if {x}[{key}] | default(true) else {x}[{key}]",
    "0 if {x}[{key}] | default(1, true) else {x}[{key}]", "{x}[{key}] if {x}[{key}] | default(params.q) else 0",
]  # fmt: skip
OPTIONAL = [
    "params.o", "params.o | default(0)", "params.o if params.o is defined else 0", "params.o if 'o' in params else 0", "params.o is defined and params.o",
    "params.o if params.o | default('') else 0", "0 if params.o | default(true) else params.o",
    "params.o if params.o is undefined else 0", "params.o is defined or params.o", "[params.o | default(0), params.o]", "0 if 'o' not in params else params.o",
    "params.o if params.o is defined or params.p else 0", "trigger.payload.o if trigger.payload.o is defined else 0",
]  # fmt: skip


@st.composite
def routed(draw: st.DrawFn) -> dict[str, Any]:
    """Steps that choose, fail on and join, and that read what lies upstream of them."""
    count = draw(st.integers(2, 9))
    needs = [
        sorted(draw(st.sets(st.integers(0, i - 1), min_size=draw(st.integers(0, 1)), max_size=3))) if i else []
        for i in range(count)
    ]  # fmt: skip
    after = [[other for other in range(count) if i in needs[other]] for i in range(count)]
    above: list[set[int]] = []
    steps: list[dict[str, Any]] = []
    for i in range(count):
        above.append({one for need in needs[i] for one in (need, *above[need])})
        step: dict[str, Any] = {"id": f"s{i}", "depends_on": [f"s{one}" for one in needs[i]]}
        if after[i] and draw(st.integers(0, 3)) == 0:
            step |= {
                "type": "gateway",
                "cases": draw(cases(after[i])),
                "mode": draw(st.sampled_from(["exclusive", "inclusive"])),
            }
        elif draw(st.integers(0, 5)) == 0:
            step |= {"type": "wait", "for": "1s"}
        elif above[i] and draw(st.integers(0, 4)) == 0:
            read = steps[draw(st.sampled_from(sorted(above[i])))]
            # A list, and null where the output is.
            step |= {
                "type": "map",
                "for_each": f"{{{{ steps.{read['id']}.output and [1] }}}}",
                "task": {"uses": "core.noop@1"},
            }
        else:
            step |= {"uses": "core.set@1", "with": {"k": 1}}
        if draw(st.integers(0, 4)) == 0:
            step["when"] = draw(CONDITIONS)
        if len(needs[i]) > 1 and draw(st.booleans()):
            step["join"] = draw(st.sampled_from(["any", *range(1, len(needs[i]) + 1)]))
        rule = draw(st.sampled_from(["fail", "continue", "goto", None, None]))
        if rule == "goto" and after[i]:
            step["on_error"] = {"goto": f"s{draw(st.sampled_from(after[i]))}"}
        elif rule in {"fail", "continue"}:
            step["on_error"] = rule
        steps.append(step)
    for i, step in enumerate(steps):
        if above[i] and "with" in step:
            read = steps[draw(st.sampled_from(sorted(above[i])))]
            step["with"]["v"] = draw(reads(read))
    outputs = {step["id"]: draw(reads(step)) for step in steps}
    params = {name: {"type": "boolean", "default": False} for name in PARAMS}
    params["o"] = {"type": "integer", "required": False}
    return {"name": "x", "params": params, "steps": steps, "outputs": outputs}


@st.composite
def cases(draw: st.DrawFn, after: list[int]) -> list[dict[str, Any]]:
    """Of a gateway; about half of the time with an `else`."""
    names = st.lists(st.sampled_from([f"s{one}" for one in after]), min_size=1, max_size=2)
    found: list[dict[str, Any]] = [
        {"when": draw(CONDITIONS), "then": draw(names)} for _ in range(draw(st.integers(1, 2)))
    ]
    return [*found, {"else": draw(names)}] if draw(st.booleans()) else found


@st.composite
def reads(draw: st.DrawFn, step: dict[str, Any]) -> str:
    """An expression that does something with its output; now and then with a param that may be absent."""
    if draw(st.integers(0, 7)) == 0:
        return f"{{{{ {draw(st.sampled_from(OPTIONAL))} }}}}"
    key = {"gateway": "'cases'", "map": "0"}.get(step.get("type", ""), "'k'")
    one = f"steps.{step['id']}"
    read = draw(st.sampled_from([READS[0], *READS]))  # The plain one more often.
    return f"{{{{ {read.format(x=f'{one}.output', key=key, step=one)} }}}}"


def leave_out_what_is_warned_of(document: dict[str, Any]) -> int:
    """Take the reads away of which a warning says that they may find null; gives how many are left."""
    found = validate(dump(document), None, CATALOG)
    for one in found.problems:
        if one.rule not in WARNED:
            continue
        if one.path[0] == "outputs":
            document["outputs"].pop(one.path[1], None)
        elif one.path[2] == "for_each":
            document["steps"][int(one.path[1])]["for_each"] = [1]
        else:
            document["steps"][int(one.path[1])]["with"].pop("v", None)
    return len(document["outputs"]) + sum("v" in step.get("with", {}) for step in document["steps"])


@settings(deadline=None, max_examples=300)
@given(routed(), st.data())
def test_what_is_not_warned_of_is_there(document, data):
    left = leave_out_what_is_warned_of(document)
    plan = validate(dump(document), None, CATALOG).plan
    if plan is None or not left:
        return
    works = [step.key for step in plan.steps if step.kind is StepKind.TASK]
    for _ in range(4):
        fails = data.draw(st.sets(st.sampled_from(works), max_size=3)) if works else set()
        times = {key: Duration(data.draw(st.integers(0, 3)) * 1_000) for key in works}
        given_params: dict[str, Any] = {name: data.draw(st.booleans()) for name in PARAMS}
        given_params |= {"o": 1} if data.draw(st.booleans()) else {}
        script = Script(fails=dict.fromkeys(fails, Failing()), durations=times)

        run = rehearse(
            plan,
            REGISTRY,
            apply_params(plan, given_params),
            script,
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )

        errors = [step.error.message for step in run.steps if step.error is not None]
        if run.status is ExecutionStatus.FAILED and run.error is not None:
            errors.append(run.error.message)
        assert [one for one in errors if any(words in one for words in FOUND_NOTHING)] == []
