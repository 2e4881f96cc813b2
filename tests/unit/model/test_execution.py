"""Statuses as people see them, and the table of legal transitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from runtime.model.execution import (
    STEP_TRANSITIONS,
    TERMINAL,
    TRANSITIONS,
    Execution,
    ExecutionState,
    ExecutionStatus,
    StepStatus,
    TriggerKind,
    WaitKind,
)
from runtime.model.identity import SYSTEM
from runtime.store.execution_row import ExecutionRow


def an_execution(status, **more):
    return Execution(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        workflow_id=UUID(int=3),
        version_id=UUID(int=4),
        status=status,
        namespace="default",
        generation=0,
        priority=0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by=SYSTEM,
        trigger=TriggerKind.API,
        **more,
    )


@pytest.mark.parametrize(
    ("status", "more", "shown"),
    [
        (ExecutionStatus.RUNNING, {}, ExecutionState.RUNNING),
        (ExecutionStatus.RUNNING, {"cancel_requested": True}, ExecutionState.CANCELLING),
        (ExecutionStatus.WAITING, {"wait": WaitKind.PAUSED}, ExecutionState.PAUSED),
        (ExecutionStatus.WAITING, {"wait": WaitKind.TIMER}, ExecutionState.WAITING),
        (ExecutionStatus.CANCELLED, {"cancel_requested": True}, ExecutionState.CANCELLED),
    ],
)
def test_people_see_the_status_refined_by_its_reason(status, more, shown):
    assert an_execution(status, **more).state is shown


def test_what_is_final_goes_on_only_by_being_queued_again():
    assert all(TRANSITIONS[status] == {ExecutionStatus.QUEUED} for status in TERMINAL)


def test_every_status_has_its_transitions():
    assert set(TRANSITIONS) == set(ExecutionStatus)


def test_every_status_of_a_step_says_what_may_follow():
    assert set(STEP_TRANSITIONS) == set(StepStatus)
    assert all(
        status not in after
        for status, after in STEP_TRANSITIONS.items()
        if status < StepStatus.IN_DOUBT
    )


@pytest.mark.parametrize("status", ExecutionStatus)
@pytest.mark.parametrize("wait", [None, WaitKind.TIMER, WaitKind.PAUSED])
@pytest.mark.parametrize("cancelling", [False, True])
@pytest.mark.parametrize("undoing", [False, True])
@pytest.mark.parametrize("generation", [0, 1])
def test_a_row_says_the_state_that_its_execution_has(
    status: ExecutionStatus, wait: WaitKind | None, cancelling: bool, undoing: bool, generation: int
) -> None:
    columns = {
        "status": int(status), "wait": wait, "cancel_requested": cancelling, "compensating": undoing, "generation": generation
    }  # fmt: skip
    made = an_execution(status, wait=wait, cancel_requested=cancelling, compensating=undoing)
    execution = replace(made, generation=generation)
    row = ExecutionRow(columns)

    assert row.state is execution.state
    assert row.ended_at_the_first_go == execution.ended_at_the_first_go
