"""Two executions beside each other: what differs, and the first step from which on they part."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from runtime.model.execution import (
    Execution,
    ExecutionError,
    ExecutionStatus,
    StepExecution,
    StepStatus,
    TriggerKind,
)
from runtime.model.execution_comparison import ExecutionComparison, StepDifference
from runtime.model.execution_comparison import ExecutionDifference as X
from runtime.model.identity import SYSTEM
from runtime.services.comparison import compare, order_of
from tests.support.plans import plan_of

D, S = StepDifference, StepStatus
A = UUID("01930000-0000-7000-8000-00000000000a")
AT = datetime.fromisoformat("2026-01-01T12:00:00Z")
# In the document `late` stands before what it depends on.
PLAN = plan_of({"late": ["first"], "first": [], "other": []})
RUN = Execution(A, A, A, A, ExecutionStatus.COMPLETED, "default", 0, 0, AT, SYSTEM, TriggerKind.API)


def step(key: str, **more: Any) -> StepExecution:
    made = StepExecution(A, A, ["late", "first", "other"].index(key), key, "x@1", S.COMPLETED, 1, 3)
    return replace(made, **{"input_hash": "i", "output_hash": "o", **more})


ALL = [step("late"), step("first"), step("other")]


def compared(*others: StepExecution, **execution: Any) -> ExecutionComparison:
    """With an execution of which these steps are others."""
    by_key = {one.key: one for one in (*ALL, *others)}
    return compare(RUN, ALL, PLAN, replace(RUN, **execution), list(by_key.values()))


def test_an_execution_and_itself_differ_in_nothing():
    found = compared()

    assert (found.differences, found.first_divergence) == ((), None)
    assert [one.key for one in found.steps] == ["first", "late", "other"]
    assert all(one.differences == () for one in found.steps)
    assert found.path_a == found.path_b == ("late", "first", "other")


def test_they_part_where_nothing_before_differs():
    found = compared(step("late", output_hash="p"), step("first", input_hash="j", output_hash="p"))

    assert found.first_divergence is found.steps[0]
    assert found.first_divergence.key == "first"
    assert found.first_divergence.differences == (D.INPUT, D.OUTPUT)


def test_another_number_of_attempts_alone_is_no_divergence():
    found = compared(step("first", attempt=3), step("other", code="y"))

    assert found.steps[0].differences == (D.ATTEMPTS,)
    assert found.first_divergence is not None
    assert (found.first_divergence.key, found.first_divergence.differences) == ("other", (D.CODE,))


def test_what_was_left_out_is_another_path():
    found = compared(step("other", status=S.SKIPPED, output_hash=None))

    assert found.differences == (X.PATH,)
    assert found.path_b == ("late", "first")
    assert found.steps[2].differences == (D.STATUS, D.OUTPUT)


def test_a_step_that_only_one_has_is_named():
    some = [one for one in ALL if one.key != "other"]
    more = replace(step("first"), key="new", index=3)

    found = compare(RUN, ALL, PLAN, RUN, [*some, more])

    lonely = {one.key: (one.a is None, one.b is None) for one in found.steps if one.differences}
    assert lonely == {"other": (False, True), "new": (True, False)}
    assert found.differences == (X.PATH,)


def test_the_executions_themselves_are_compared():
    failed = ExecutionError("X", "no", step_key="late")
    found = compared(
        version_id=UUID(int=1),
        input={"n": 2},
        output={"n": 3},
        error=failed,
        status=ExecutionStatus.FAILED,
    )

    assert found.differences == (X.VERSION, X.INPUT, X.STATUS, X.OUTPUT, X.ERROR)


def test_values_are_compared_as_json_not_as_python_does():
    pairs: list[tuple[Any, Any]] = [(1, True), (1, 1.0), ([0], [False])]
    for one, other in pairs:
        found = compare(
            replace(RUN, input={"x": one}), ALL, PLAN, replace(RUN, input={"x": other}), ALL
        )
        assert found.differences == (X.INPUT,), (one, other)
    same = compare(
        replace(RUN, input={"a": 1, "b": 2}), ALL, PLAN, replace(RUN, input={"b": 2, "a": 1}), ALL
    )
    assert same.differences == ()


def test_ties_go_by_the_order_of_the_document():
    assert order_of(PLAN) == [1, 0, 2]
    assert order_of(plan_of({"c": [], "a": [], "b": ["c"]})) == [0, 1, 2]
