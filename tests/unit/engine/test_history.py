"""The past by events alone. That it equals what the rows said is the simulator's to prove, at every commit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runtime.engine.history import KNOWN, StepAt, fold
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import ExecutionState, ExecutionStatus, StepStatus, WaitKind
from runtime.model.values import Json
from tests.support.plans import EXECUTION, plan_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
CHAIN = plan_of({"a": [], "b": ["a"], "c": ["b"]})
BUSY: Json = {"type": "Busy", "message": "later"}
FATAL: Json = {"type": "Busy", "message": "later", "step": "b"}
S = StepStatus


def log(*told):
    """Events from (kind, data)."""
    return [
        ExecutionEvent(EXECUTION, EXECUTION, number, kind, AT, data)
        for number, (kind, data) in enumerate(told, 1)
    ]


def step(index, attempt=1, **more):
    return {"step": index, "key": "abc"[index], "item": -1, "attempt": attempt, **more}


LIFE = log(
    (EventKind.EXECUTION_QUEUED, {}),
    (EventKind.EXECUTION_STARTED, {"worker": "w1"}),
    (EventKind.STEP_STARTED, step(0)),
    (EventKind.STEP_COMPLETED, step(0)),
    (EventKind.STEP_STARTED, step(1)),
    (EventKind.STEP_RETRYING, step(1, delay_ms=60_000, error=BUSY)),
    (EventKind.EXECUTION_WAITING, {"wait": "retry_backoff"}),
    (EventKind.STEP_STARTED, step(1, 2)),
    (EventKind.STEP_FAILED, step(1, 2, error=BUSY)),
    (EventKind.EXECUTION_FAILED, {"error": FATAL}),
    (EventKind.EXECUTION_RETRIED, {"from_failed_step": True}),
    (EventKind.EXECUTION_STARTED, {"worker": "w2"}),
    (EventKind.STEP_STARTED, step(1)),
    (EventKind.EXECUTION_CANCEL_REQUESTED, {"actor": None, "reason": None}),
    (EventKind.STEP_CANCELLED, step(1, error={"type": "step.cancelled", "message": "stopped"})),
    (EventKind.EXECUTION_CANCELLED, {"actor": None, "reason": None}),
)


@pytest.mark.parametrize(
    ("sequence", "state", "generation", "steps"),
    [
        (1, ExecutionState.QUEUED, 0, [S.READY, S.PENDING, S.PENDING]),
        (2, ExecutionState.RUNNING, 0, [S.READY, S.PENDING, S.PENDING]),
        (3, ExecutionState.RUNNING, 0, [S.RUNNING, S.PENDING, S.PENDING]),
        (4, ExecutionState.RUNNING, 0, [S.COMPLETED, S.READY, S.PENDING]),
        (6, ExecutionState.RUNNING, 0, [S.COMPLETED, S.RETRYING, S.PENDING]),
        (7, ExecutionState.WAITING, 0, [S.COMPLETED, S.RETRYING, S.PENDING]),
        (8, ExecutionState.RUNNING, 0, [S.COMPLETED, S.RUNNING, S.PENDING]),
        (10, ExecutionState.FAILED, 0, [S.COMPLETED, S.FAILED, S.PENDING]),
        (11, ExecutionState.QUEUED, 1, [S.COMPLETED, S.READY, S.PENDING]),
        (14, ExecutionState.CANCELLING, 1, [S.COMPLETED, S.RUNNING, S.PENDING]),
        (16, ExecutionState.CANCELLED, 1, [S.COMPLETED, S.CANCELLED, S.PENDING]),
    ],
)
def test_at_a_sequence_it_was(sequence, state, generation, steps):
    at = fold(LIFE, sequence)

    assert (at.sequence, at.state, at.generation) == (sequence, state, generation)
    assert at.step_statuses(CHAIN) == steps


def test_without_a_sequence_it_is_as_the_last_event_left_it():
    assert fold(LIFE) == fold(LIFE, 16) == fold(LIFE, 1_000)


def test_why_it_waited_and_failed():
    assert fold(LIFE, 7).wait is WaitKind.RETRY_BACKOFF
    assert fold(LIFE, 8).wait is None
    assert fold(LIFE, 10).error == FATAL
    assert fold(LIFE, 11).error is None
    assert fold(LIFE, 9).steps[1, -1] == StepAt(S.FAILED, 2, 2, BUSY)


def test_one_that_may_not_start_yet_waits_for_its_time():
    at = fold(log((EventKind.EXECUTION_QUEUED, {"wake_at": "2026-02-01T00:00:00+00:00"})))

    assert (at.status, at.wait) == (ExecutionStatus.WAITING, WaitKind.TIMER)


def test_a_retry_from_the_first_step_forgets_what_was_done():
    again = log(
        *((e.kind, e.data) for e in LIFE[:10]),
        (EventKind.EXECUTION_RETRIED, {"from_failed_step": False}),
    )

    assert fold(again).step_statuses(CHAIN) == [S.READY, S.PENDING, S.PENDING]


@pytest.mark.parametrize(
    ("announced", "worker", "status"),
    [
        (False, "w2", S.RUNNING),
        (True, "w2", S.RUNNING),
        (False, None, S.READY),
        (True, None, S.IN_DOUBT),
    ],
)
def test_a_takeover_leaves_what_was_under_way(announced, worker, status):
    told = [
        (EventKind.EXECUTION_QUEUED, {}),
        (EventKind.EXECUTION_STARTED, {"worker": "w1"}),
        (EventKind.STEP_STARTED, step(0)),
        *([(EventKind.STEP_CALL_ANNOUNCED, step(0))] if announced else []),
        (EventKind.EXECUTION_TAKEN_OVER, {"worker": worker}),
    ]

    at = fold(log(*told))

    assert at.step_statuses(CHAIN)[0] is status
    assert at.worker == worker


@pytest.mark.parametrize("queued", [True, False])
def test_what_is_migrated_is_queued_or_stays_where_it_is(queued):
    told = log(
        (EventKind.EXECUTION_QUEUED, {}),
        (EventKind.EXECUTION_STARTED, {"worker": "w1"}),
        (EventKind.SIGNAL_AWAITED, step(0)),
        (EventKind.EXECUTION_WAITING, {"wait": "signal"}),
        (EventKind.EXECUTION_MIGRATED, {"queued": queued}),
    )

    at = fold(told)

    wanted = (
        (ExecutionStatus.QUEUED, None) if queued else (ExecutionStatus.WAITING, WaitKind.SIGNAL)
    )
    assert (at.status, at.wait, at.worker) == (*wanted, None)
    assert at.step_statuses(CHAIN)[0] is S.WAITING


def test_who_tells_of_a_message_first_owns_it_unless_it_is_over():
    taken = log(
        (EventKind.EXECUTION_QUEUED, {}),
        (EventKind.EXECUTION_STARTED, {"worker": "w1"}),
        (EventKind.EXECUTION_TAKEN_OVER, {"worker": None}),
        (EventKind.MESSAGE_UNREAD, {"n": 1}),
        (EventKind.EXECUTION_FAILED, {"error": FATAL}),
        (EventKind.MESSAGE_UNREAD, {"n": 2}),
    )

    assert [fold(taken, sequence).status for sequence in (3, 4, 6)] == [
        ExecutionStatus.QUEUED,
        ExecutionStatus.RUNNING,
        ExecutionStatus.FAILED,
    ]


def test_a_call_that_was_taken_back_is_in_no_doubt():
    at = fold(
        log(
            (EventKind.EXECUTION_QUEUED, {}),
            (EventKind.STEP_STARTED, step(0)),
            (EventKind.STEP_CALL_ANNOUNCED, step(0)),
            (EventKind.STEP_CALL_WITHDRAWN, step(0)),
            (EventKind.EXECUTION_TAKEN_OVER, {"worker": None}),
            (EventKind.DEAD_LETTERED, {"error": BUSY}),
        )
    )

    assert (at.status, at.error) == (ExecutionStatus.DEAD_LETTERED, BUSY)
    assert at.step_statuses(CHAIN)[0] is S.CANCELLED


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_its_meaning(kind):
    assert kind in KNOWN


def test_items_that_have_ended_are_a_byte_each():
    told = [(EventKind.STEP_STARTED, step(0)), (EventKind.MAP_OPENED, step(0, items=5_000))]
    for item in range(5_000):
        about = {**step(0), "item": item}
        told += [(EventKind.STEP_STARTED, about), (EventKind.STEP_COMPLETED, about)]
    at = fold(log(*told[:-3]))

    assert (len(at.steps), at.steps[0, 4_998].status) == (2, S.RUNNING)
    assert at.items[0].count(S.COMPLETED) == 4_998
    assert at.items[0][4_998:] == b"\0\0"


def test_a_retry_keeps_the_items_that_completed():
    def ended(item, kind):
        return kind, {**step(0), "item": item, "error": BUSY}

    told = [
        (EventKind.MAP_OPENED, step(0, items=3)),
        ended(0, EventKind.STEP_COMPLETED),
        ended(1, EventKind.STEP_FAILED),
        (EventKind.EXECUTION_FAILED, {"error": FATAL}),
        (EventKind.EXECUTION_RETRIED, {}),
    ]
    opened = (EventKind.MAP_OPENED, step(0, items=3))
    assert list(fold(log(*told)).items[0]) == [S.COMPLETED, 0, 0]
    assert list(fold(log(*told, opened)).items[0]) == [S.COMPLETED, 0, 0]
    anew = (EventKind.EXECUTION_RETRIED, {"from_failed_step": False})
    assert list(fold(log(*told[:-1], anew, opened)).items[0]) == [0, 0, 0]
