"""The decisions of the core, graph by graph."""

from __future__ import annotations

import pytest

from runtime.engine.advance import advance, proceed
from runtime.engine.command import (
    Finish,
    LookUp,
    RecordEvent,
    RecordStep,
    RunStep,
    ScheduleRetry,
    StopStep,
)
from runtime.engine.event import (
    CancelRequested,
    DeadlineReached,
    DoubtJudged,
    RetryDue,
    Started,
    StepDeferred,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.retry import MAX_DEFERRALS
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import Backoff, Effect, Jitter, RetryPolicy
from runtime.model.values import Duration
from tests.support.plans import plan_of, state_of

TRANSIENT = StepError("Busy", "try later", StepErrorKind.TRANSIENT)
PERMANENT = StepError("Broken", "no", StepErrorKind.PERMANENT)
BREAKER = StepError("breaker.open", "wait", StepErrorKind.THROTTLED, 7.0)
TWICE = RetryPolicy(2, Backoff.FIXED, Duration(40), 2.0, Duration(1000), Jitter.NONE)


def started(plan, params=None):
    state = state_of(plan, params)
    return state, advance(state, Started("host:1"))


def runs(commands):
    return [command.step for command in commands if isinstance(command, RunStep)]


def kinds(commands):
    return [command.kind for command in commands if isinstance(command, RecordEvent)]


def finish(commands):
    [found] = [command for command in commands if isinstance(command, Finish)]
    return found


def recorded(commands):
    return {c.step: c.status for c in commands if isinstance(c, RecordStep)}


def ok(state, step, output=None, attempt=1):
    return advance(state, StepSucceeded(step, attempt, output))


def bad(state, step, error=PERMANENT, attempt=1, effect=Effect.PURE):
    return advance(state, StepFailed(step, attempt, error, effect))


def judged(state, verdict, step=0, attempt=1):
    return advance(state, DoubtJudged(step, attempt, verdict))


def test_roots_start_in_document_order():
    _, commands = started(plan_of({"b": [], "c": ["b"], "a": []}))

    assert runs(commands) == [0, 2]
    assert kinds(commands) == [
        EventKind.EXECUTION_STARTED,
        EventKind.STEP_STARTED,
        EventKind.STEP_STARTED,
    ]


def test_a_step_starts_when_its_last_dependency_has_ended():
    state, _ = started(plan_of({"a": [], "b": [], "c": ["a", "b"]}))

    assert runs(ok(state, 1)) == []
    assert runs(ok(state, 0)) == [2]


def test_the_completion_of_the_last_step_finishes_with_the_outputs():
    state, _ = started(
        plan_of({"a": []}, outputs={"sum": "{{ steps.a.output.x + params.y }}"}), {"y": 2}
    )

    commands = ok(state, 0, {"x": 1})

    assert finish(commands) == Finish(ExecutionStatus.COMPLETED, {"sum": 3})
    assert kinds(commands) == [EventKind.STEP_COMPLETED, EventKind.EXECUTION_COMPLETED]


def test_outputs_that_cannot_be_computed_fail_the_execution():
    state, _ = started(plan_of({"a": []}, outputs="{{ steps.a.output.nothing }}"))

    error = finish(ok(state, 0, {})).error

    assert error is not None
    assert error.type == "expression"


def test_a_false_condition_skips_the_step_and_all_that_depends_on_it():
    plan = plan_of({"a": [], "b": ["a"], "c": ["b"], "d": ["a"]}, when={"b": "params.go"})
    state, _ = started(plan, {"go": False})

    commands = ok(state, 0)

    assert runs(commands) == [3]
    assert recorded(commands) == {
        0: StepStatus.COMPLETED,
        1: StepStatus.SKIPPED,
        2: StepStatus.SKIPPED,
    }
    assert finish(ok(state, 3)).status is ExecutionStatus.COMPLETED


def test_a_join_runs_when_one_of_its_branches_was_not_skipped():
    plan = plan_of({"a": [], "b": [], "c": ["a", "b"]}, when={"a": "false"})
    state, _ = started(plan)

    assert runs(ok(state, 1)) == [2]


def test_a_join_is_skipped_when_all_its_branches_were():
    plan = plan_of({"a": [], "b": [], "c": ["a", "b"]}, when={"a": "false", "b": "false"})

    _, commands = started(plan)

    assert recorded(commands) == dict.fromkeys(range(3), StepStatus.SKIPPED)


def test_the_output_of_a_skipped_step_reads_as_null():
    plan = plan_of({"a": [], "b": []}, when={"a": "false"}, outputs={"a": "{{ steps.a.output }}"})
    state, _ = started(plan)

    assert finish(ok(state, 1)).output == {"a": None}


def test_a_workflow_whose_steps_are_all_skipped_completes_at_once():
    _, commands = started(plan_of({"a": [], "b": ["a"]}, when={"a": "false"}))

    assert finish(commands).status is ExecutionStatus.COMPLETED


def test_a_condition_that_is_no_expression_of_known_names_fails_the_step():
    _, commands = started(plan_of({"a": []}, when={"a": "params.missing > 1"}))

    assert recorded(commands) == {0: StepStatus.FAILED}
    assert finish(commands).status is ExecutionStatus.FAILED


def test_a_final_failure_stops_what_runs_and_ends_after_it():
    state, _ = started(plan_of({"a": [], "b": [], "c": ["a"]}))

    commands = bad(state, 0)

    assert [c.step for c in commands if isinstance(c, StopStep)] == [1]
    assert not any(isinstance(c, Finish) for c in commands)
    stopped = StepError("cancelled", "stopped", StepErrorKind.CANCELLED)
    last = bad(state, 1, stopped)
    assert recorded(last) == {1: StepStatus.CANCELLED}
    assert finish(last).status is ExecutionStatus.FAILED
    assert finish(last).error == PERMANENT.of_execution("a")


def test_a_step_that_succeeds_while_the_execution_fails_is_recorded_and_releases_nothing():
    state, _ = started(plan_of({"a": [], "b": [], "c": ["b"]}))
    bad(state, 0)

    commands = ok(state, 1)

    assert recorded(commands) == {1: StepStatus.COMPLETED}
    assert runs(commands) == []
    assert finish(commands).status is ExecutionStatus.FAILED


def test_a_transient_error_is_repeated_after_the_delay():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))

    commands = bad(state, 0, TRANSIENT)

    assert ScheduleRetry(0, 1, 40) in commands
    assert kinds(commands) == [EventKind.STEP_RETRYING]
    assert runs(advance(state, RetryDue(0, 1))) == [0]
    assert state.attempt[0] == 2


def test_the_last_attempt_fails_the_execution():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))
    bad(state, 0, TRANSIENT)
    advance(state, RetryDue(0, 1))

    assert finish(bad(state, 0, TRANSIENT, attempt=2)).status is ExecutionStatus.FAILED


def test_a_retry_that_is_due_twice_starts_one_attempt():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))
    bad(state, 0, TRANSIENT)
    advance(state, RetryDue(0, 1))

    assert advance(state, RetryDue(0, 1)) == []


@pytest.mark.parametrize("attempt", [0, 2])
def test_the_end_of_an_attempt_that_is_not_the_newest_changes_nothing(attempt):
    state, _ = started(plan_of({"a": []}))

    assert ok(state, 0, attempt=attempt) == []
    assert bad(state, 0, attempt=attempt) == []


def test_a_step_ends_once():
    state, _ = started(plan_of({"a": [], "b": []}))
    ok(state, 0)

    assert ok(state, 0) == []
    assert bad(state, 0) == []


def test_max_parallel_steps_holds_the_rest_back_in_document_order():
    state, commands = started(plan_of({"a": [], "b": [], "c": []}, max_parallel_steps=1))

    assert runs(commands) == [0]
    assert runs(ok(state, 0)) == [1]
    assert runs(ok(state, 1)) == [2]


def test_a_step_between_two_attempts_keeps_its_place():
    plan = plan_of({"a": [], "b": []}, retry={"a": TWICE}, max_parallel_steps=1)
    state, _ = started(plan)

    commands = bad(state, 0, TRANSIENT)

    assert runs(commands) == []
    assert state.is_idle


def put_off(state, times):
    """The step's next attempts meet an open breaker; what the last of them leads to."""
    commands = []
    for _ in range(times):
        attempt = state.attempt[0]
        commands = advance(state, StepDeferred(0, attempt, BREAKER))
        advance(state, RetryDue(0, attempt))
    return commands


def test_a_step_that_is_put_off_too_often_in_a_row_fails():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))

    assert [c.delay_ms for c in put_off(state, 1) if isinstance(c, ScheduleRetry)] == [7_000]
    put_off(state, MAX_DEFERRALS - 1)
    error = finish(put_off(state, 1)).error

    assert error is not None
    assert error.type == "breaker.open"


def test_a_call_in_between_begins_the_row_anew():
    """A target that comes and goes: what is put off between two calls is not in a row with what was before."""
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))
    put_off(state, MAX_DEFERRALS)

    bad(state, 0, TRANSIENT, attempt=state.attempt[0])
    advance(state, RetryDue(0, state.attempt[0]))
    first = put_off(state, 1)
    put_off(state, MAX_DEFERRALS - 1)
    last = ok(state, 0, attempt=state.attempt[0])

    assert [c.delay_ms for c in first if isinstance(c, ScheduleRetry)] == [7_000]
    assert finish(last).status is ExecutionStatus.COMPLETED


def test_cancel_stops_what_runs_and_ends_after_it():
    state, _ = started(plan_of({"a": [], "b": ["a"]}))

    commands = advance(state, CancelRequested({"subject": "ann"}, "wrong input"))

    assert kinds(commands) == [EventKind.EXECUTION_CANCEL_REQUESTED]
    assert [c.step for c in commands if isinstance(c, StopStep)] == [0]
    last = bad(state, 0, StepError("cancelled", "stopped", StepErrorKind.CANCELLED))
    assert kinds(last) == [EventKind.STEP_CANCELLED, EventKind.EXECUTION_CANCELLED]
    assert finish(last).status is ExecutionStatus.CANCELLED


def test_cancel_before_the_start_runs_nothing():
    state = state_of(plan_of({"a": []}))

    commands = advance(state, CancelRequested(None, None))

    assert finish(commands).status is ExecutionStatus.CANCELLED
    assert advance(state, Started("host:1")) == []


def test_cancel_ends_a_step_between_two_attempts_at_once():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))
    bad(state, 0, TRANSIENT)

    assert finish(advance(state, CancelRequested(None, None))).status is ExecutionStatus.CANCELLED
    assert advance(state, RetryDue(0, 1)) == []


def test_the_deadline_times_the_execution_out():
    state, _ = started(plan_of({"a": []}))
    advance(state, DeadlineReached())

    last = bad(state, 0, StepError("cancelled", "stopped", StepErrorKind.CANCELLED))

    assert finish(last).status is ExecutionStatus.TIMED_OUT


def test_the_first_cause_of_an_end_wins():
    state, _ = started(plan_of({"a": [], "b": []}))
    bad(state, 0)

    assert advance(state, CancelRequested(None, None)) == []
    assert advance(state, DeadlineReached()) == []
    assert finish(ok(state, 1)).status is ExecutionStatus.FAILED


@pytest.mark.parametrize("kind", [StepErrorKind.TIMEOUT, StepErrorKind.CANCELLED])
def test_an_at_most_once_call_that_was_cut_is_in_doubt(kind):
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))

    commands = bad(state, 0, StepError("cut", "cut", kind), effect=Effect.AT_MOST_ONCE)

    assert recorded(commands) == {0: StepStatus.IN_DOUBT}
    assert [c for c in commands if isinstance(c, LookUp)] == [LookUp(0, 1)]
    assert finish(judged(state, Verdict.UNKNOWN)).status is ExecutionStatus.FAILED


def test_a_step_that_timed_out_is_recorded_as_timed_out_and_repeated():
    state, _ = started(plan_of({"a": []}, retry={"a": TWICE}))

    commands = bad(state, 0, StepError("timeout", "too slow", StepErrorKind.TIMEOUT))

    assert recorded(commands) == {0: StepStatus.TIMED_OUT}
    assert any(isinstance(c, ScheduleRetry) for c in commands)


def test_a_closed_execution_takes_nothing_in():
    state, _ = started(plan_of({"a": []}))
    ok(state, 0)

    assert advance(state, CancelRequested(None, None)) == []
    assert proceed(state) == []


def test_an_execution_starts_once():
    state, _ = started(plan_of({"a": []}))

    assert advance(state, Started("host:2")) == []


def test_ten_thousand_skipped_steps_need_no_recursion():
    graph: dict[str, list[str]] = {"s0": []} | {f"s{i}": [f"s{i - 1}"] for i in range(1, 10_000)}

    _, commands = started(plan_of(graph, when={"s0": "false"}))

    assert finish(commands).status is ExecutionStatus.COMPLETED
