"""What keeps an execution from going on with another version: each obstacle, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.migration import obstacles_to
from runtime.engine.program import Program
from runtime.engine.state import RunInfo
from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import EventKind as E
from runtime.model.execution import StepStatus as S
from runtime.model.execution_migration import MigrationFinding, MigrationPreview, MigrationVerdict
from runtime.model.execution_migration import MigrationObstacle as O
from runtime.model.values import Digest
from tests.support.plans import EXECUTION

NOOP: dict[str, Any] = {"uses": "core.noop@1"}
A: dict[str, Any] = {"id": "a", "uses": "core.set@1", "with": {"n": 1}}
B: dict[str, Any] = {"id": "b", **NOOP, "depends_on": ["a"]}
C: dict[str, Any] = {"id": "c", **NOOP, "depends_on": ["b"]}
GATE: dict[str, Any] = {
    "id": "gate", "type": "gateway", "mode": "exclusive", "depends_on": ["a"],
    "cases": [{"when": "{{ true }}", "then": ["b"]}, {"else": True, "then": ["c"]}],
}  # fmt: skip
BEGUN = Mark(E.EXECUTION_STARTED, {"worker": "w"})


def program(*steps: dict[str, Any], **top: Any) -> Program:
    definition: dict[str, Any] = {"name": "x", "steps": list(steps), **top}
    return Program.of(compile_plan(definition, Digest.of(json.dumps(definition).encode())))


def row(step: int, status: S = S.COMPLETED, **result: Any) -> StepRecord:
    return StepRecord(step, -1, 0, 1, status, False, 0.0, {"output": {}, **result})


def obstacles(
    old: Program, new: Program, *rows: StepRecord, marks: Any = (BEGUN,), begun: Any = ()
) -> tuple[MigrationFinding, ...]:
    history = ExecutionHistory(tuple(rows), marks=tuple(marks))
    return obstacles_to(old, new, RunInfo(EXECUTION, None), history, begun)


def told(*args: Any, **more: Any) -> list[tuple[O, str | None]]:
    return [(one.obstacle, one.step_key) for one in obstacles(*args, **more)]


OLD = program(A, B, C)
OTHERS: list[tuple[str, Program, O]] = [
    ("gone", program({**A, "id": "z"}, {**B, "depends_on": ["z"]}, C), O.STEP_MISSING),
    ("moved", program({"id": "new", **NOOP}, A, B, C), O.STEP_MOVED),
    ("kind", program({"id": "a", "type": "wait", "for": "1h"}, B, C), O.STEP_KIND),
    ("call", program({**A, "uses": "core.noop@1"}, B, C), O.STEP_CALL),
    ("major", program({**A, "uses": "core.set@2"}, B, C), O.STEP_CALL),
    ("effect", program({**A, "effect": "at_most_once"}, B, C), O.STEP_CALL),
    ("input", program({**A, "with": {"n": 2}}, B, C), O.STEP_INPUT),
    ("condition", program({**A, "when": "{{ true }}"}, B, C), O.STEP_CONDITION),
    ("needs", program({**A, "depends_on": ["n"]}, B, C, {"id": "n", **NOOP}), O.STEP_DEPENDENCIES),
    ("route", program({**A, "on_error": "continue"}, B, C), O.STEP_ROUTES),
    (
        "concurrency",
        program(A, B, C, concurrency={"key": "{{ params.x }}", "limit": 1}),
        O.CONCURRENCY,
    ),
]


@pytest.mark.parametrize(
    ("other", "obstacle"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS]
)
def test_what_has_ended_and_is_another_one_there_stands_in_the_way(other: Program, obstacle: O):
    found = told(OLD, other, row(0))

    assert found == [(obstacle, None if obstacle is O.CONCURRENCY else "a")]


def test_what_has_not_begun_may_differ_in_everything():
    other = program(
        A,
        {"id": "x", "type": "wait", "signal": "s", "depends_on": ["a"]},
        {"id": "b", "uses": "core.set@1", "with": {"m": 1}, "depends_on": ["x"]},
        outputs={"m": "{{ steps.b.output.m }}"},
        timeout="1h",
        max_parallel_steps=1,
    )

    assert obstacles(OLD, other, row(0)) == ()


def test_how_a_begun_step_is_tried_placed_named_and_undone_may_differ():
    changed = {
        **A, "name": "An a", "retry": {"max_attempts": 5}, "timeout": "5s", "runs_on": ["gpu"],
        "compensate": {**NOOP},
    }  # fmt: skip

    assert obstacles(OLD, program(changed, B, C), row(0)) == ()


def test_what_only_events_tell_of_has_begun():
    other = program(A, {**B, "with": {"n": 2}}, C)

    assert obstacles(OLD, other, row(0)) == ()
    assert told(OLD, other, row(0), begun={0, 1}) == [(O.STEP_INPUT, "b")]


def test_cases_of_a_gateway_lead_where_they_led():
    free = [{**one, "depends_on": ["gate"]} for one in (B, C)]
    swapped = [{**GATE["cases"][0], "then": ["c"]}, {**GATE["cases"][1], "then": ["b"]}]
    old = program(A, GATE, *free)
    other = program(A, {**GATE, "cases": swapped}, *free)
    moved = program(A, GATE, free[1], free[0])

    chosen = row(0), row(1, output={"cases": [0], "then": ["b"]})
    assert told(old, other, *chosen) == [(O.STEP_ROUTES, "gate")]
    assert obstacles(old, other, row(0)) == ()
    assert obstacles(old, moved, *chosen) == ()


@pytest.mark.parametrize("read", ["{{ execution.version }}", "{{ steps | length }}"])
def test_what_read_the_version_would_be_shown_otherwise(read: str):
    one = {**A, "with": {"n": read}}

    assert told(program(one, B), program(one, B, C), row(0)) == [(O.STEP_READS_VERSION, "a")]
    assert obstacles(program(A, B), program(A, {**B, "with": {"n": read}}), row(0)) == ()


@pytest.mark.parametrize(
    "kind", [E.EXECUTION_CANCEL_REQUESTED, E.EXECUTION_DEADLINE_REACHED], ids=str
)
def test_what_ends_already_stays(kind: E):
    marks = BEGUN, Mark(kind, {"actor": None, "reason": None})

    assert told(OLD, OLD, row(0), marks=marks) == [(O.ENDING, None)]


def test_of_several_obstacles_one_that_no_name_helps_decides():
    missing = MigrationFinding(O.STEP_MISSING, "gone", "a")
    moved = MigrationFinding(O.STEP_MOVED, "moved", "b")

    assert MigrationPreview(EXECUTION).verdict is MigrationVerdict.SAFE
    assert MigrationPreview(EXECUTION, (missing,)).verdict is MigrationVerdict.NEEDS_MAPPING
    assert MigrationPreview(EXECUTION, (missing, moved)).verdict is MigrationVerdict.IMPOSSIBLE


def test_an_execution_that_has_not_begun_is_free():
    assert obstacles(OLD, program({"id": "z", **NOOP}), marks=()) == ()
