"""State from rows: takeover, waking, retry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.engine.advance import advance, proceed
from runtime.engine.command import Finish, LookUp, RecordStep, RunStep
from runtime.engine.event import DoubtJudged, RetryDue, Started, StepInDoubt, StepSucceeded
from runtime.engine.program import Program
from runtime.engine.replay import Due, rebuild
from runtime.engine.state import Phase, RunInfo
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from tests.support.plans import EXECUTION, plan_of

CHAIN = plan_of({"a": [], "b": ["a"], "c": ["b"]})
UNKNOWN = DoubtJudged(0, 1, Verdict.UNKNOWN)
FAILED = {"error": {"type": "Busy", "message": "later", "kind": "transient"}}


def row(step, status, *, generation=0, attempt=1, result=None, ago=0.0, is_open=False):
    return StepRecord(step, -1, generation, attempt, int(status), is_open, ago, result or {})


def rebuilt(rows, *, plan=CHAIN, generation=0, retries=(), is_begun=True, stop=None):
    run = RunInfo(EXECUTION, {}, generation)
    marks = [stop] if stop else []
    return rebuild(Program.of(plan), run, rows, retries, is_begun=is_begun, marks=marks)


def runs(commands):
    return [(c.step, c.attempt) for c in commands if isinstance(c, RunStep)]


def test_what_was_running_runs_again_as_the_same_attempt():
    state = rebuilt([row(0, StepStatus.COMPLETED, result={"output": 7})]).state

    assert runs(proceed(state)) == [(1, 1)]
    assert state.outputs == {0: 7}


def test_a_generation_that_has_not_begun_waits_for_its_start():
    state = rebuilt([], is_begun=False).state

    assert state.phase is Phase.NEW
    assert runs(advance(state, Started("host:1"))) == [(0, 1)]


def test_failed_attempts_give_the_counter_and_what_is_left_of_the_delay():
    found = rebuilt(
        [row(0, StepStatus.FAILED, attempt=2, result={**FAILED, "retry_in_ms": 3000}, ago=1.0)]
    )

    assert found.due == (Due(RetryDue(0, 2), 2.0),)
    assert runs(proceed(found.state)) == []
    assert runs(advance(found.state, RetryDue(0, 2))) == [(0, 3)]


def test_a_delay_that_is_over_is_due_at_once():
    [due] = rebuilt([row(0, StepStatus.FAILED, result={**FAILED, "retry_in_ms": 10}, ago=99.0)]).due

    assert due.in_seconds == 0.0


def test_a_final_failure_ends_the_execution():
    state = rebuilt([row(0, StepStatus.FAILED, result=FAILED)]).state

    [finish] = [c for c in proceed(state) if isinstance(c, Finish)]
    assert finish.status is ExecutionStatus.FAILED
    assert finish.error is not None
    assert finish.error.step_key == "a"


def test_an_open_effect_is_in_doubt_and_not_called_again():
    found = rebuilt([row(0, StepStatus.RUNNING, is_open=True)])

    assert found.due == (Due(StepInDoubt(0, 1)),)
    assert runs(proceed(found.state)) == []
    commands = advance(found.state, StepInDoubt(0, 1))
    recorded = [(c.status, c.is_open) for c in commands if isinstance(c, RecordStep)]
    assert recorded == [(StepStatus.IN_DOUBT, True)]
    assert [c for c in commands if isinstance(c, LookUp)] == [LookUp(0, 1)]
    assert any(isinstance(c, Finish) for c in advance(found.state, UNKNOWN))


def test_a_recorded_doubt_is_looked_up_again_and_not_recorded_again():
    result = {"error": {"type": "in_doubt", "message": "lost"}}
    state = rebuilt([row(0, StepStatus.IN_DOUBT, is_open=True, result=result)]).state

    assert advance(state, StepInDoubt(0, 1)) == [LookUp(0, 1)]


def test_attempts_that_made_no_call_do_not_count():
    stopped = {"stopped": True, "error": {"type": "in_doubt", "message": "lost"}}
    rows = [row(0, StepStatus.CANCELLED, attempt=n, result=stopped) for n in (1, 2)]
    rows.append(row(0, StepStatus.CANCELLED, attempt=9, generation=1, result=stopped))

    assert rebuilt(rows).state.free == {0: 2}


def test_a_deferred_attempt_waits_for_what_is_left_of_its_delay():
    deferred = {**FAILED, "stopped": True, "retry_in_ms": 3000}
    found = rebuilt([row(0, StepStatus.CANCELLED, result=deferred, ago=1.0)])

    assert found.due == (Due(RetryDue(0, 1), 2.0),)
    assert found.state.free == {0: 1}


def test_only_what_was_put_off_since_the_last_call_is_in_a_row():
    put_off, stopped = {**FAILED, "stopped": True, "retry_in_ms": 9}, {**FAILED, "stopped": True}
    results = [put_off, put_off, {**FAILED, "retry_in_ms": 9}, put_off, stopped, put_off]
    rows = [
        row(0, StepStatus.CANCELLED if "stopped" in result else StepStatus.FAILED, attempt=n, result=result)
        for n, result in enumerate(results, 1)
    ]  # fmt: skip
    rows.append(row(0, StepStatus.CANCELLED, attempt=7, generation=1, result=put_off))

    for order in (rows, rows[::-1]):
        state = rebuilt(order).state
        assert (state.free, state.deferred) == ({0: 5}, {0: 2})


def test_all_doubts_are_recorded_before_the_end():
    plan = plan_of({"a": [], "b": []})
    state = rebuilt([row(s, StepStatus.RUNNING, is_open=True) for s in (0, 1)], plan=plan).state

    for step in (0, 1):
        advance(state, StepInDoubt(step, 1))

    first, second = (advance(state, replace(UNKNOWN, step=step)) for step in (0, 1))

    assert not any(isinstance(c, Finish) for c in first)
    assert any(isinstance(c, Finish) for c in second)


def test_completed_steps_of_older_generations_count():
    rows = [row(0, StepStatus.COMPLETED), row(1, StepStatus.FAILED, result=FAILED)]
    state = rebuilt(rows, generation=1, retries=({},), is_begun=False).state

    assert runs(advance(state, Started("host:1"))) == [(1, 1)]


def test_a_retry_from_the_start_forgets_older_generations():
    rows = [row(0, StepStatus.COMPLETED), row(1, StepStatus.FAILED, result=FAILED)]
    retries = ({"from_failed_step": False},)
    state = rebuilt(rows, generation=1, retries=retries, is_begun=False).state

    assert runs(advance(state, Started("host:1"))) == [(0, 1)]


def test_a_later_retry_keeps_what_ran_since_the_retry_from_the_start():
    rows = [
        row(0, StepStatus.COMPLETED, result={"output": "old"}),
        row(0, StepStatus.COMPLETED, generation=1, result={"output": "new"}),
        row(1, StepStatus.COMPLETED),
        row(1, StepStatus.FAILED, generation=1, result=FAILED),
    ]
    retries = ({"from_failed_step": False}, {"from_failed_step": True})
    state = rebuilt(rows, generation=2, retries=retries).state

    assert state.outputs == {0: "new"}
    assert runs(proceed(state)) == [(1, 1)]


def test_reused_steps_need_no_place():
    plan = plan_of({"a": [], "b": [], "c": []}, max_parallel_steps=1)
    rows = [row(0, StepStatus.FAILED, result=FAILED), row(1, StepStatus.COMPLETED)]
    state = rebuilt(rows, plan=plan, generation=1, retries=({},)).state

    assert runs(proceed(state)) == [(0, 1)]
    assert runs(advance(state, StepSucceeded(0, 1, None))) == [(2, 1)]


def test_a_stopped_attempt_is_not_repeated_under_its_number():
    state = rebuilt([row(0, StepStatus.CANCELLED, result={"stopped": True})]).state

    assert runs(proceed(state)) == [(0, 2)]


def test_a_step_that_called_itself_cancelled_has_failed():
    cancelled = {"error": {"type": "X", "message": "no", "kind": "cancelled"}}
    state = rebuilt([row(0, StepStatus.CANCELLED, result=cancelled)]).state

    [finish] = [c for c in proceed(state) if isinstance(c, Finish)]
    assert finish.status is ExecutionStatus.FAILED


def test_when_all_steps_have_ended_only_the_end_is_left():
    state = rebuilt([row(step, StepStatus.COMPLETED) for step in (2, 0, 1)]).state

    [finish] = [c for c in proceed(state) if isinstance(c, Finish)]
    assert finish.status is ExecutionStatus.COMPLETED


PAIR = plan_of({"a": [], "b": []})
HARD = {"error": {"type": "Broken", "message": "no"}}
LATE = {"error": {"type": "Late", "message": "while stopping"}, "late": True}
CANCEL = Mark(EventKind.EXECUTION_CANCEL_REQUESTED, {"actor": None, "reason": "enough"})
DEADLINE = Mark(EventKind.EXECUTION_DEADLINE_REACHED)


@pytest.mark.parametrize(
    ("stop", "status"),
    [(CANCEL, ExecutionStatus.CANCELLED), (DEADLINE, ExecutionStatus.TIMED_OUT)],
)
def test_what_began_the_end_stays_its_cause_when_a_step_fails_while_stopping(stop, status):
    state = rebuilt([row(0, StepStatus.FAILED, result=LATE)], plan=PAIR, stop=stop).state

    [ending] = [c for c in proceed(state) if isinstance(c, Finish)]

    assert ending.status is status
    assert state.ending is not None


def test_a_cancel_of_an_earlier_generation_ends_no_later_one():
    run = RunInfo(EXECUTION, {}, 1)
    marks = [CANCEL, Mark(EventKind.EXECUTION_RETRIED, {}), Mark(EventKind.EXECUTION_STARTED)]

    state = rebuild(Program.of(PAIR), run, [], [{}], marks=marks).state

    assert runs(proceed(state)) == [(0, 1), (1, 1)]


def test_the_failure_that_began_the_end_is_its_cause_in_any_order_of_rows():
    rows = [row(0, StepStatus.FAILED, result=LATE), row(1, StepStatus.FAILED, result=HARD)]

    for order in (rows, rows[::-1]):
        state = rebuilt(order, plan=PAIR).state
        assert state.ending is not None
        assert state.ending.error is not None
        assert (state.ending.error.type, state.ending.error.step_key) == ("Broken", "b")


def test_an_intent_that_was_taken_back_uses_up_no_attempt():
    rows = [
        row(0, StepStatus.FAILED, attempt=1, result={**FAILED, "retry_in_ms": 10}, ago=9.0),
        row(0, StepStatus.CANCELLED, attempt=2, is_open=True, result={"stopped": True}),
    ]

    found = rebuilt(rows)

    assert [due.event for due in found.due] == [RetryDue(0, 1)]
    assert runs(advance(found.state, RetryDue(0, 1))) == [(0, 2)]
