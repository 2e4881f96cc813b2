"""Wait steps in the core: timers and signals, from memory and from marks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.engine.advance import advance, proceed
from runtime.engine.command import BeginWait, Finish, RecordEvent, RecordStep, RunStep
from runtime.engine.event import (
    CancelRequested,
    DeadlineReached,
    Signal,
    SignalReceived,
    Started,
    StepFailed,
    StepSucceeded,
    TimerDue,
)
from runtime.engine.program import Program
from runtime.engine.replay import Due, rebuild
from runtime.engine.state import RunInfo
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.plan import StepKind, WaitPlan
from runtime.model.values import Duration
from tests.support.plans import EXECUTION, plan_of, state_of
from tests.unit.engine.test_advance import PERMANENT, finish, kinds, recorded, runs

HOUR = Duration(3_600_000)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def wait(**config: Any) -> dict[str, Any]:
    plan = WaitPlan(
        signal=config.get("signal"),
        delay=HOUR if {"for", "timeout"} & config.keys() else None,
        is_dated="until" in config,
        has_default="default" in config,
    )
    return {"kind": StepKind.WAIT, "uses": None, "wait": plan, "config": config}


def started(graph, steps, params=None, **more):
    state = state_of(plan_of(graph, steps=steps, **more), params)
    return state, advance(state, Started("host:1"))


def begun(commands):
    return [(c.step, c.delay_ms, c.until) for c in commands if isinstance(c, BeginWait)]


def data_of(commands, kind):
    return [c.data for c in commands if isinstance(c, RecordEvent) and c.kind is kind]


def signal(state, name, n=1, payload=None):
    return advance(state, SignalReceived(Signal(n, name, payload), {"subject": "ann"}))


def again(state, rows, marks, now=None):
    """What another worker makes of the same."""
    return rebuild(state.program, state.run, rows, marks=marks, now=now)


def test_a_wait_for_a_duration_begins_with_its_timer_and_calls_nothing():
    state, commands = started({"a": [], "b": ["a"]}, {"a": wait(**{"for": "1h"})})

    assert begun(commands) == [(0, 3_600_000, None)]
    assert runs(commands) == []
    assert kinds(commands)[1:] == [EventKind.STEP_STARTED, EventKind.TIMER_SET]
    assert data_of(commands, EventKind.TIMER_SET)[0]["for_ms"] == 3_600_000
    assert state.is_idle

    commands = advance(state, TimerDue(0, 1))
    assert kinds(commands) == [
        EventKind.TIMER_FIRED,
        EventKind.STEP_COMPLETED,
        EventKind.STEP_STARTED,
    ]
    assert recorded(commands) == {0: StepStatus.COMPLETED}
    assert runs(commands) == [1]


def test_a_wait_until_an_instant_says_when():
    _, commands = started(
        {"a": []}, {"a": wait(until="{{ params.at }}")}, {"at": "2026-01-31T13:00:00+01:00"}
    )

    assert begun(commands) == [(0, None, NOON)]
    assert data_of(commands, EventKind.TIMER_SET)[0]["until"] == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize("at", ["soon", "", None, True, [1], "2026-13-01"])
def test_what_is_no_instant_fails_the_step(at):
    _, commands = started({"a": []}, {"a": wait(until="{{ params.at }}")}, {"at": at})

    assert finish(commands).status is ExecutionStatus.FAILED
    assert finish(commands).error.type == "wait.until"


def test_an_instant_that_can_not_be_rendered_fails_the_step():
    _, commands = started({"a": []}, {"a": wait(until="{{ params.at.x }}")}, {"at": 1})

    assert finish(commands).error.type == "expression"


def test_a_signal_ends_the_wait_with_its_payload():
    state, commands = started(
        {"a": []}, {"a": wait(signal="go")}, outputs={"got": "{{ steps.a.output.x }}"}
    )
    assert begun(commands) == [(0, None, None)]
    assert kinds(commands)[1:] == [EventKind.STEP_STARTED, EventKind.SIGNAL_AWAITED]

    assert signal(state, "other")[1:] == []
    commands = signal(state, "go", 2, {"x": 7})

    assert kinds(commands)[0] is EventKind.SIGNAL_RECEIVED
    assert data_of(commands, EventKind.SIGNAL_RECEIVED) == [
        {"n": 2, "name": "go", "payload": {"x": 7}, "actor": {"subject": "ann"}}
    ]
    assert data_of(commands, EventKind.STEP_COMPLETED)[0]["signal"] == 2
    assert finish(commands).output == {"got": 7}


def test_early_signals_are_kept_and_matched_first_in_first_out():
    state, _ = started(
        {"a": [], "b": ["a"], "c": ["b"]}, {"b": wait(signal="go"), "c": wait(signal="go")}
    )
    for n in (1, 2, 3):
        assert kinds(signal(state, "go", n, n)) == [EventKind.SIGNAL_RECEIVED]

    commands = advance(state, StepSucceeded(0, 1, None))

    assert state.outputs == {0: None, 1: 1, 2: 2}
    assert EventKind.SIGNAL_AWAITED not in kinds(commands)
    assert [s.n for s in state.signals["go"]] == [3]


def test_steps_that_listen_are_served_in_the_order_in_which_they_began():
    state, _ = started(
        {"z": [], "a": ["z"], "b": []}, {"a": wait(signal="go"), "b": wait(signal="go")}
    )
    advance(state, StepSucceeded(0, 1, None))

    signal(state, "go", 1, "first")

    assert state.outputs == {0: None, 2: "first"}


def test_a_timeout_without_a_default_fails_the_step():
    state, _ = started({"a": []}, {"a": wait(signal="go", timeout="1h")})

    commands = advance(state, TimerDue(0, 1))

    assert recorded(commands) == {0: StepStatus.TIMED_OUT}
    assert finish(commands).error.type == "wait.timeout"
    assert state.listening == {}


def test_a_timeout_with_a_default_goes_on_with_it():
    state, _ = started({"a": []}, {"a": wait(signal="go", timeout="1h", default={"x": 1})})

    commands = advance(state, TimerDue(0, 1, {"x": 1}))

    assert recorded(commands) == {0: StepStatus.COMPLETED}
    assert state.outputs == {0: {"x": 1}}


def test_after_the_signal_the_timer_means_nothing_and_the_other_way_round():
    state, _ = started({"a": [], "b": []}, {"a": wait(signal="go", timeout="1h", default=1)})
    signal(state, "go", 1, "came")

    assert advance(state, TimerDue(0, 1, 1)) == []
    assert state.outputs == {0: "came"}
    assert kinds(signal(state, "go", 2, "late")) == [EventKind.SIGNAL_RECEIVED]


def test_a_wait_holds_its_place():
    state, commands = started(
        {"a": [], "b": []}, {"a": wait(**{"for": "1h"})}, max_parallel_steps=1
    )
    assert runs(commands) == []

    assert runs(advance(state, TimerDue(0, 1))) == [1]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (CancelRequested(None, None), ExecutionStatus.CANCELLED),
        (DeadlineReached(), ExecutionStatus.TIMED_OUT),
    ],
)
def test_an_execution_that_only_waits_ends_at_once(event, status):
    state, _ = started({"a": []}, {"a": wait(signal="go")})

    assert finish(advance(state, event)).status is status
    assert advance(state, TimerDue(0, 1)) == []
    assert signal(state, "go") == []


def test_a_failed_sibling_ends_the_execution_beside_a_wait():
    state, _ = started({"a": [], "b": []}, {"a": wait(**{"for": "1h"})})

    commands = advance(state, StepFailed(1, 1, PERMANENT))

    assert finish(commands).status is ExecutionStatus.FAILED


# --- another worker ------------------------------------------------------------------------------


def marks_of(commands, ago=0.0):
    return [Mark(c.kind, c.data, ago) for c in commands if isinstance(c, RecordEvent)]


def test_a_takeover_does_not_begin_the_wait_again():
    state, commands = started({"a": []}, {"a": wait(**{"for": "1h"})})

    found = again(state, [], marks_of(commands, ago=600.0))

    assert found.due == (Due(TimerDue(0, 1), 3000.0),)
    assert found.waiting == {0: 600.0}
    assert proceed(found.state) == []
    assert found.state.is_idle
    assert isinstance(advance(found.state, TimerDue(0, 1))[-1], Finish)


def test_an_instant_stays_what_it_is():
    state, commands = started({"a": []}, {"a": wait(until=NOON.isoformat())})
    now = datetime(2026, 1, 31, 11, 59, tzinfo=UTC)

    assert again(state, [], marks_of(commands, ago=99.0), now).due == (Due(TimerDue(0, 1), 60.0),)
    assert again(state, [], marks_of(commands), NOON.replace(hour=13)).due[0].in_seconds == 0.0


def test_a_wait_that_has_ended_is_not_waited_for():
    state, commands = started({"a": [], "b": ["a"]}, {"a": wait(**{"for": "1h"})})
    row = StepRecord(0, -1, 0, 1, int(StepStatus.COMPLETED), False, 0.0, {"output": None})

    found = again(state, [row], marks_of(commands))

    assert found.due == ()
    assert runs(proceed(found.state)) == [1]


def test_early_signals_survive_and_taken_ones_do_not_come_back():
    state, commands = started(
        {"a": [], "b": ["a"], "c": ["b"]}, {"a": wait(signal="go"), "b": wait(signal="go")}
    )
    for n in (4, 5, 6):
        commands += signal(state, "go", n, n)
    rows = [
        StepRecord(
            step, -1, 0, 1, int(StepStatus.COMPLETED), False, 0.0, {"output": n, "signal": n}
        )
        for step, n in ((0, 4), (1, 5))
    ]

    found = again(state, rows, marks_of(commands))

    assert [s.n for s in found.state.signals["go"]] == [6]
    assert found.state.outputs == state.outputs == {0: 4, 1: 5}


def retried(from_failed_step):
    return Mark(EventKind.EXECUTION_RETRIED, {"from_failed_step": from_failed_step})


@pytest.mark.parametrize(("from_failed_step", "kept"), [(True, [2]), (False, [])])
def test_a_retry_keeps_what_nobody_took_and_begins_waits_anew(from_failed_step, kept):
    plan = plan_of({"a": [], "b": []}, steps={"a": wait(signal="go"), "b": wait(**{"for": "1h"})})
    first = state_of(plan)
    commands = advance(first, Started("w"))
    for n in (1, 2):
        commands += signal(first, "go", n, n)
    row = StepRecord(0, -1, 0, 1, int(StepStatus.COMPLETED), False, 0.0, {"output": 1, "signal": 1})
    mark = retried(from_failed_step)

    found = rebuild(
        Program.of(plan),
        RunInfo(EXECUTION, {}, 1),
        [row],
        [mark.data],
        is_begun=False,
        marks=[*marks_of(commands, ago=50.0), mark],
    )

    assert [s.n for kept in found.state.signals.values() for s in kept] == kept
    assert found.due == ()
    commands = advance(found.state, Started("w"))
    assert (1, 3_600_000, None) in begun(commands)
    assert not any(isinstance(c, RunStep) for c in commands)
    assert not any(isinstance(c, RecordStep) for c in commands)
