"""What a retry would do, from rows and events alone: kept ends, steps that run again, calls that are repeated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.generation_preview import preview
from runtime.engine.program import Program
from runtime.engine.state import RunInfo
from runtime.model.checkpoint import COMPLETED_ITEMS, ExecutionHistory, Mark, StepRecord
from runtime.model.event import EventKind as E
from runtime.model.execution import StepStatus as S
from runtime.model.generation_preview import GenerationPreview, PreviewAction, StepPreview
from runtime.model.plan import Effect, Plan
from runtime.model.values import Digest
from tests.support.plans import EXECUTION, plan_of

CALLED = {"in": "sha256:00"}
CHAIN = {"a": [], "b": ["a"], "c": ["b"]}


def row(
    step: int,
    status: S = S.COMPLETED,
    *,
    item: int = -1,
    generation: int = 0,
    attempt: int = 1,
    is_open: bool = False,
    result: Any = None,
) -> StepRecord:
    said: Any = CALLED if result is None else result
    return StepRecord(step, item, generation, attempt, status, is_open, 0.0, said)


def foreseen(
    plan: Plan,
    rows: Sequence[StepRecord],
    marks: Sequence[Mark] = (),
    *,
    kept: bool = True,
    effect: Effect | None = Effect.IDEMPOTENT,
    **more: Any,
) -> GenerationPreview:
    generation = sum(mark.kind == E.EXECUTION_RETRIED for mark in marks)
    return preview(
        Program.of(plan),
        RunInfo(EXECUTION, None, generation),
        ExecutionHistory(tuple(rows), marks=tuple(marks)),
        Mark(E.EXECUTION_RETRIED, {"from_failed_step": kept}),
        effect_of=lambda _step: effect,
        **more,
    )


def of_map(items: int, **top: Any) -> Plan:
    each: dict[str, Any] = {
        "id": "each", "type": "map", "for_each": [0] * items, "task": {"uses": "core.noop@1"},
    }  # fmt: skip
    definition: dict[str, Any] = {"name": "x", "steps": [each], **top}
    return compile_plan(definition, Digest.of(json.dumps(definition).encode()))


def test_what_ended_well_is_kept_and_the_rest_runs_again():
    found = foreseen(plan_of(CHAIN), [row(0), row(1, S.FAILED)])

    a, b, c = found.steps
    assert (found.generation, found.runs, found.reuses, found.repeats) == (1, 2, 1, 1)
    assert a == StepPreview("a", "core.noop@1", PreviewAction.REUSE, S.COMPLETED)
    assert (b.action, b.status) == (PreviewAction.RUN, None)
    assert b.repeats is not None
    assert (b.repeats.calls, b.repeats.completed, b.repeats.effect) == (1, 0, Effect.IDEMPOTENT)
    assert c == StepPreview("c", "core.noop@1", PreviewAction.RUN)


def test_from_the_start_everything_runs_again():
    found = foreseen(plan_of(CHAIN), [row(0), row(1, S.FAILED)], kept=False)

    assert (found.runs, found.reuses, found.repeats) == (3, 0, 2)
    assert found.steps[0].repeats is not None
    assert found.steps[0].repeats.completed == 1


def test_attempts_of_all_generations_are_calls():
    marks = [Mark(E.EXECUTION_RETRIED, {"from_failed_step": True})]
    rows = [row(0, S.FAILED), row(0, S.FAILED, generation=1), row(0, S.FAILED, generation=1, attempt=2)]  # fmt: skip

    found = foreseen(plan_of({"a": []}), rows, marks)

    assert found.generation == 2
    assert found.steps[0].repeats is not None
    assert found.steps[0].repeats.calls == 3


@pytest.mark.parametrize(
    ("made", "is_open", "status"),
    [
        ({"error": {"type": "expression"}}, False, S.FAILED),
        ({**CALLED, "cached_from": {"step": 0}}, False, S.FAILED),
        ({"stopped": True}, False, S.CANCELLED),
        ({}, True, S.CANCELLED),
    ],
    ids=["not rendered", "given again", "not made", "withdrawn"],
)
def test_what_made_no_call_repeats_none(made: Any, is_open: bool, status: S):
    rows = [row(0, status, is_open=is_open, result=made)]

    found = foreseen(plan_of({"a": []}), rows)

    assert found.steps[0].repeats is None


def test_what_only_waits_calls_nobody():
    definition: dict[str, Any] = {
        "name": "x",
        "steps": [{"id": "rest", "type": "wait", "for": "1h"}],
    }
    plan = compile_plan(definition, Digest.of(b"x"))

    [step] = foreseen(plan, [row(0, S.CANCELLED)], effect=None).steps

    assert (step.type, step.action, step.repeats) == ("wait", PreviewAction.RUN, None)


def test_a_call_whose_end_nobody_knows_is_in_doubt():
    rows = [row(0, S.RUNNING, is_open=True, result={}), row(1, S.IN_DOUBT)]

    found = foreseen(plan_of({"a": [], "b": []}), rows, announced={0, 1}, effect=None)

    for step in found.steps:
        assert step.repeats is not None
        assert (step.repeats.calls, step.repeats.in_doubt) == (1, 1)
        assert step.repeats.effect is Effect.AT_MOST_ONCE


def test_pure_calls_have_no_effect_that_could_be_repeated():
    rows = [row(0, S.FAILED), row(1, S.FAILED)]

    found = foreseen(plan_of({"a": [], "b": []}), rows, effect=Effect.PURE, announced={1})

    assert found.steps[0].repeats is None
    assert found.steps[1].repeats is not None
    assert found.steps[1].repeats.effect is Effect.AT_MOST_ONCE


def test_an_effect_that_nobody_knows_is_no_reason_to_be_silent():
    found = foreseen(plan_of({"a": []}), [row(0, S.FAILED)], effect=None)

    assert found.steps[0].repeats is not None
    assert found.steps[0].repeats.effect is None


@pytest.mark.parametrize(
    ("kept", "expected"), [(True, (7, 1, 0)), (False, (0, 8, 7))], ids=["kept", "from the start"]
)
def test_items_that_completed_are_kept_with_their_map(kept: bool, expected: tuple[int, int, int]):
    done = StepRecord(0, COMPLETED_ITEMS, 0, 0, S.COMPLETED, False, 0.0, [[0, 5], [7, 9]])
    marks = [Mark(E.MAP_OPENED, {"step": 0, "attempt": 1, "items": 10})]
    rows = [row(0, S.FAILED, item=5), done, row(0, S.FAILED, result={"error": {}})]

    step = foreseen(of_map(10), rows, marks, kept=kept).steps[0]

    assert step.repeats is not None
    assert (step.kept_items, step.repeats.calls, step.repeats.completed) == expected


def test_what_was_undone_and_what_rests_on_it_runs_again():
    plan = plan_of(CHAIN, compensate={"a": {}})
    marks = [Mark(E.STEP_COMPENSATED, {"step": 0, "key": "a", "by": 3, "again": [1]})]

    a, b, _ = foreseen(plan, [row(0), row(1), row(2, S.FAILED), row(3)], marks).steps

    assert a.repeats is not None
    assert b.repeats is not None
    assert (a.action, a.repeats.is_undone, a.repeats.completed) == (PreviewAction.RUN, True, 1)
    assert (b.action, b.repeats.is_undone) == (PreviewAction.RUN, False)


def test_what_could_not_be_undone_is_kept():
    plan = plan_of(CHAIN, compensate={"a": {}})

    found = foreseen(plan, [row(0), row(1, S.FAILED), row(3, S.FAILED)])

    assert found.steps[0].action is PreviewAction.REUSE


def test_a_step_that_started_a_child_would_start_another():
    definition: dict[str, Any] = {
        "name": "x", "steps": [{"id": "call", "type": "workflow", "workflow": "w", "input": {}}],
    }  # fmt: skip
    plan = compile_plan(definition, Digest.of(b"x"))
    child = "01930000-0000-7000-8000-00000000000c"
    said: Any = {"step": 0, "attempt": 1, "child": child, "workflow": "w", "version": "1.0.0"}

    step = foreseen(plan, [row(0, S.FAILED)], [Mark(E.CHILD_STARTED, said)], effect=None).steps[0]

    assert step.type == "workflow"
    assert step.repeats is not None
    assert (step.repeats.calls, step.repeats.completed, str(step.repeats.child_id)) == (1, 0, child)
