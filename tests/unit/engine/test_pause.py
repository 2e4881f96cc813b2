"""Pause and resume in the core: nothing new starts, nothing that came meanwhile is lost."""

from __future__ import annotations

import pytest

from runtime.engine.advance import advance, proceed
from runtime.engine.command import RunStep, ScheduleRetry
from runtime.engine.event import (
    CancelRequested,
    DeadlineReached,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Started,
    StepFailed,
    StepSucceeded,
    TimerDue,
)
from runtime.engine.replay import rebuild
from runtime.engine.state import Phase
from runtime.model.checkpoint import Mark
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.values import Json
from tests.support.plans import plan_of, state_of
from tests.unit.engine.test_advance import PERMANENT, TRANSIENT, TWICE, finish, kinds, runs
from tests.unit.engine.test_replay import FAILED, row
from tests.unit.engine.test_waiting import data_of, signal, started, wait

ANN: Json = {"subject": "ann"}


def pause(state):
    return advance(state, PauseRequested(ANN, "look"))


def resume(state):
    return advance(state, ResumeRequested(ANN, "go"))


def test_running_steps_end_and_nothing_new_starts_until_it_is_resumed():
    state, _ = started({"a": [], "b": ["a"], "c": []}, {})

    assert data_of(pause(state), EventKind.EXECUTION_PAUSED) == [{"actor": ANN, "reason": "look"}]
    assert runs(advance(state, StepSucceeded(0, 1, 1))) == []
    assert not state.is_idle
    assert runs(advance(state, StepSucceeded(2, 1, 1))) == []
    assert state.is_idle

    commands = resume(state)
    assert kinds(commands)[0] is EventKind.EXECUTION_RESUMED
    assert runs(commands) == [1]


def test_both_are_idempotent():
    state, _ = started({"a": []}, {})

    assert resume(state) == []
    pause(state)
    assert pause(state) == []
    resume(state)
    assert resume(state) == []


def test_a_pause_before_the_start_lets_nothing_start():
    state = state_of(plan_of({"a": []}))
    pause(state)

    assert kinds(advance(state, Started("w"))) == [EventKind.EXECUTION_STARTED]
    assert state.is_idle
    assert runs(resume(state)) == [0]


def test_the_last_step_ends_the_execution_while_it_is_paused():
    state, _ = started({"a": []}, {})
    pause(state)

    assert finish(advance(state, StepSucceeded(0, 1, 1))).status is ExecutionStatus.COMPLETED


def test_a_failure_while_paused_is_repeated_after_the_resume():
    state, _ = started({"a": []}, {}, retry={"a": TWICE})
    pause(state)

    commands = advance(state, StepFailed(0, 1, TRANSIENT))
    assert any(isinstance(c, ScheduleRetry) for c in commands)
    assert advance(state, RetryDue(0, 1)) == []

    assert [(c.step, c.attempt) for c in resume(state) if isinstance(c, RunStep)] == [(0, 2)]


def test_a_failure_for_good_while_paused_ends_it():
    state, _ = started({"a": [], "b": []}, {"b": wait(signal="go")})
    pause(state)

    assert finish(advance(state, StepFailed(0, 1, PERMANENT))).status is ExecutionStatus.FAILED


def test_timers_and_signals_that_came_while_paused_act_at_the_resume_signals_first():
    state, _ = started(
        {"a": [], "b": [], "c": ["a", "b"]},
        {"a": wait(**{"for": "1h"}), "b": wait(signal="go", timeout="1h")},
    )
    pause(state)
    assert advance(state, TimerDue(0, 1)) == []
    assert advance(state, TimerDue(1, 1)) == []
    assert kinds(signal(state, "go", 1, "came")) == [EventKind.SIGNAL_RECEIVED]

    commands = resume(state)

    assert state.outputs == {0: None, 1: "came"}
    assert kinds(commands).count(EventKind.TIMER_FIRED) == 1
    assert runs(commands) == [2]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (CancelRequested(None, None), ExecutionStatus.CANCELLED),
        (DeadlineReached(), ExecutionStatus.TIMED_OUT),
    ],
)
def test_what_is_paused_can_end(event, status):
    state, _ = started({"a": []}, {"a": wait(signal="go")})
    pause(state)

    assert finish(advance(state, event)).status is status
    assert resume(state) == []


def marks(*found):
    return [Mark(kind, {"actor": ANN, "reason": None}) for kind in found]


@pytest.mark.parametrize(
    ("kinds_", "is_paused"),
    [
        ((EventKind.EXECUTION_PAUSED,), True),
        ((EventKind.EXECUTION_PAUSED, EventKind.EXECUTION_RESUMED), False),
        ((EventKind.EXECUTION_PAUSED, EventKind.EXECUTION_RETRIED), False),
    ],
)
def test_another_worker_finds_it_paused(kinds_, is_paused):
    state, _ = started({"a": []}, {})

    found = rebuild(state.program, state.run, [], marks=marks(*kinds_)).state

    assert found.is_paused is is_paused
    assert bool(runs(proceed(found))) is not is_paused


def test_another_worker_goes_on_to_cancel_what_was_cancelled():
    state, _ = started({"a": [], "b": ["a"]}, {})
    told = marks(EventKind.EXECUTION_CANCEL_REQUESTED)
    rows = [row(0, StepStatus.FAILED, result=FAILED)]

    found = rebuild(state.program, state.run, rows, marks=told).state

    assert found.phase is Phase.STOPPING
    assert advance(found, CancelRequested(None, None)) == []
    commands = proceed(found)
    assert kinds(commands) == [EventKind.EXECUTION_CANCELLED]
    assert finish(commands).status is ExecutionStatus.CANCELLED
