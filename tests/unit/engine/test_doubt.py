"""Calls in doubt: the look-up, the rule, the person, and what each of them may and may not bring about."""

from __future__ import annotations

import pytest

from runtime.engine.advance import advance
from runtime.engine.command import Finish, LookUp, RecordEvent, RecordStep, RunStep, ScheduleRetry
from runtime.engine.doubt import Doubt, lost
from runtime.engine.event import (
    CancelRequested,
    DeadlineReached,
    DoubtJudged,
    Started,
    StepError,
    StepFailed,
    StepInDoubt,
    StepSucceeded,
)
from runtime.engine.state import IN_DOUBT
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import Backoff, Effect, InDoubt, Jitter, RetryPolicy
from runtime.model.values import Duration, Json
from tests.support.plans import plan_of, state_of

TIMEOUT = StepError("step.timeout", "too slow", StepErrorKind.TIMEOUT)
TWICE = RetryPolicy(2, Backoff.FIXED, Duration(40), 2.0, Duration(1000), Jitter.NONE)
ANN: Json = {"subject": "ann", "kind": "user"}


def in_doubt(rule=InDoubt.FAIL, *, error=None, retry=None, graph=None):
    """A state whose first step is in doubt: its worker was lost, or it was cut off with an error."""
    steps = {"a": {"in_doubt": rule}}
    plan = plan_of(graph or {"a": [], "b": ["a"]}, steps=steps, retry=retry)
    state = state_of(plan)
    advance(state, Started("host:1"))
    if error is None:
        state.status[0], state.doubts[0] = IN_DOUBT, Doubt(lost("a"), is_told=False)
        commands = advance(state, StepInDoubt(0, 1))
    else:
        commands = advance(state, StepFailed(0, 1, error, Effect.AT_MOST_ONCE))
    assert commands[-1] == LookUp(0, 1)
    return state


def judge(state, verdict, *, attempt=1, **more):
    return advance(state, DoubtJudged(0, attempt, verdict, **more))


def recorded(commands):
    return [(c.step, c.status, c.is_open) for c in commands if isinstance(c, RecordStep)]


def runs(commands):
    return [(c.step, c.attempt) for c in commands if isinstance(c, RunStep)]


def settled(commands):
    [found] = [
        c.data
        for c in commands
        if isinstance(c, RecordEvent) and c.kind is EventKind.STEP_DOUBT_SETTLED
    ]
    return found


def ends(commands):
    return [c.status for c in commands if isinstance(c, Finish)]


@pytest.mark.parametrize("rule", InDoubt)
@pytest.mark.parametrize("error", [None, TIMEOUT])
def test_a_call_that_was_found_counts_and_is_not_made_again(rule, error):
    state = in_doubt(rule, error=error, retry={"a": TWICE})

    commands = judge(state, Verdict.MADE, output={"id": 7})

    assert recorded(commands) == [(0, StepStatus.COMPLETED, False)]
    assert runs(commands) == [(1, 1)]
    assert state.outputs[0] == {"id": 7}
    assert settled(commands)["by"] == "look_up"


@pytest.mark.parametrize("rule", InDoubt)
def test_a_lost_call_that_was_not_made_is_made_at_once_whatever_the_rule(rule):
    state = in_doubt(rule)

    commands = judge(state, Verdict.NOT_MADE)

    assert recorded(commands) == [(0, StepStatus.CANCELLED, False)]
    assert runs(commands) == [(0, 2)]
    assert state.free == {0: 1}


def test_an_attempt_that_was_cut_and_not_made_is_repeated_by_the_policy():
    state = in_doubt(error=TIMEOUT, retry={"a": TWICE})

    commands = judge(state, Verdict.NOT_MADE)

    assert recorded(commands) == [(0, StepStatus.TIMED_OUT, False)]
    assert [c.delay_ms for c in commands if isinstance(c, ScheduleRetry)] == [40]


def test_without_a_policy_what_was_cut_and_not_made_has_timed_out():
    commands = judge(in_doubt(error=TIMEOUT), Verdict.NOT_MADE)

    assert recorded(commands) == [(0, StepStatus.TIMED_OUT, False)]
    assert ends(commands) == [ExecutionStatus.FAILED]


def test_nobody_knows_and_the_rule_is_fail():
    commands = judge(in_doubt(), Verdict.UNKNOWN)

    assert recorded(commands) == [(0, StepStatus.IN_DOUBT, False)]
    assert ends(commands) == [ExecutionStatus.FAILED]
    assert settled(commands)["rule"] == "fail"


def test_nobody_knows_and_the_rule_is_retry():
    commands = judge(in_doubt(InDoubt.RETRY), Verdict.UNKNOWN)

    assert runs(commands) == [(0, 2)]
    assert settled(commands)["by"] == "rule"


@pytest.mark.parametrize(("retry", "status"), [({"a": TWICE}, "again"), (None, "end")])
def test_the_rule_retry_keeps_to_the_policy_when_the_attempt_was_cut(retry, status):
    commands = judge(in_doubt(InDoubt.RETRY, error=TIMEOUT, retry=retry), Verdict.UNKNOWN)

    assert recorded(commands) == [(0, StepStatus.IN_DOUBT, False)]
    assert any(isinstance(c, ScheduleRetry) for c in commands) is (status == "again")
    assert bool(ends(commands)) is (status == "end")


def test_nobody_knows_and_the_rule_is_ask():
    state = in_doubt(InDoubt.ASK)

    assert judge(state, Verdict.UNKNOWN) == []

    assert state.is_idle
    assert judge(state, Verdict.UNKNOWN) == []


@pytest.mark.parametrize("asks", [True, False])
def test_a_person_says_that_it_was_made(asks):
    state = in_doubt(InDoubt.ASK)
    if asks:
        judge(state, Verdict.UNKNOWN)

    commands = judge(state, Verdict.MADE, output=1, actor=ANN, reason="seen")

    assert recorded(commands) == [(0, StepStatus.COMPLETED, False)]
    found = settled(commands)
    assert (found["by"], found["actor"], found["reason"]) == ("person", ANN, "seen")
    assert (state.running, state.busy) == (1, 1)
    assert judge(state, Verdict.UNKNOWN) == []


def test_a_person_says_that_it_was_not_made():
    state = in_doubt(InDoubt.ASK, error=TIMEOUT)
    judge(state, Verdict.UNKNOWN)

    commands = judge(state, Verdict.NOT_MADE, actor=ANN)

    assert runs(commands) == [(0, 2)]
    assert (state.running, state.busy) == (1, 1)


def test_a_person_gives_it_up():
    state = in_doubt(InDoubt.ASK)
    judge(state, Verdict.UNKNOWN)

    commands = judge(state, Verdict.FAIL, actor=ANN)

    assert recorded(commands) == [(0, StepStatus.IN_DOUBT, False)]
    assert ends(commands) == [ExecutionStatus.FAILED]


@pytest.mark.parametrize(
    "late", [StepInDoubt(0, 1), DoubtJudged(0, 1, Verdict.MADE, output=1)], ids=["rows", "look-up"]
)
def test_what_comes_after_a_person_has_settled_it_changes_nothing(late):
    state = in_doubt(InDoubt.ASK, graph={"a": [], "b": []})
    judge(state, Verdict.FAIL, actor=ANN)
    running = state.running

    assert advance(state, late) == []
    assert (state.running, state.status[0]) == (running, IN_DOUBT)


def test_a_word_about_an_older_attempt_changes_nothing():
    state = in_doubt(InDoubt.ASK)
    judge(state, Verdict.UNKNOWN)
    judge(state, Verdict.NOT_MADE, actor=ANN)

    assert judge(state, Verdict.MADE, actor=ANN) == []
    assert judge(state, Verdict.MADE, attempt=2, actor=ANN) == []


@pytest.mark.parametrize("event", [CancelRequested(ANN, None), DeadlineReached()])
def test_when_all_is_to_end_nobody_is_asked_any_more(event):
    state = in_doubt(InDoubt.ASK)
    judge(state, Verdict.UNKNOWN)

    commands = advance(state, event)

    assert recorded(commands) == [(0, StepStatus.IN_DOUBT, False)]
    assert len(ends(commands)) == 1
    assert settled(commands)["by"] == "stop"


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.MADE, StepStatus.COMPLETED),
        (Verdict.NOT_MADE, StepStatus.CANCELLED),
        (Verdict.UNKNOWN, StepStatus.IN_DOUBT),
    ],
)
@pytest.mark.parametrize("rule", InDoubt)
def test_a_stopping_execution_waits_for_the_look_up_and_calls_nothing(rule, verdict, status):
    state = in_doubt(rule)
    assert ends(advance(state, CancelRequested(ANN, None))) == []

    commands = judge(state, verdict)

    assert recorded(commands) == [(0, status, False)]
    assert ends(commands) == [ExecutionStatus.CANCELLED]
    assert not runs(commands)


def test_the_failure_of_a_sibling_ends_the_question():
    state = in_doubt(InDoubt.ASK, graph={"a": [], "b": []})
    judge(state, Verdict.UNKNOWN)

    commands = advance(state, StepFailed(1, 1, StepError("Broken", "no")))

    assert recorded(commands) == [(1, StepStatus.FAILED, False), (0, StepStatus.IN_DOUBT, False)]
    assert ends(commands) == [ExecutionStatus.FAILED]


def test_others_go_on_while_one_is_asked_about():
    state = in_doubt(InDoubt.ASK, graph={"a": [], "b": [], "c": ["b"]})
    judge(state, Verdict.UNKNOWN)

    assert runs(advance(state, StepSucceeded(1, 1, None))) == [(2, 1)]
    assert not state.is_idle
    advance(state, StepSucceeded(2, 1, None))
    assert state.is_idle


def test_what_certainly_was_not_sent_is_repeated_and_never_in_doubt():
    unsent = StepError("http.connect", "refused", StepErrorKind.TRANSIENT, uncertain=False)
    state = state_of(plan_of({"a": []}, retry={"a": TWICE}))
    advance(state, Started("host:1"))

    commands = advance(state, StepFailed(0, 1, unsent, Effect.AT_MOST_ONCE))

    assert any(isinstance(c, ScheduleRetry) for c in commands)


def test_a_connection_that_broke_after_the_call_is_in_doubt():
    reset = StepError("http.reset", "broke", StepErrorKind.TRANSIENT, uncertain=True)
    state = state_of(plan_of({"a": []}, retry={"a": TWICE}))
    advance(state, Started("host:1"))

    commands = advance(state, StepFailed(0, 1, reset, Effect.AT_MOST_ONCE))

    assert recorded(commands) == [(0, StepStatus.IN_DOUBT, True)]
