"""Children in the core: one for each attempt, words of the parent, ends that are heard once, and what a replay knows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.engine.advance import advance, proceed
from runtime.engine.command import Finish, RecordEvent, RecordStep, RunStep, StartChild, TellChild
from runtime.engine.event import (
    CancelRequested,
    Child,
    ChildEnded,
    ChildFound,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Started,
    StepError,
    StepFailed,
)
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.state import Phase, RunInfo
from runtime.model.checkpoint import InboxKind, Mark, StepRecord
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.plan import RetryPolicy, StepKind
from tests.support.plans import EXECUTION, plan_of, state_of

ONE, TWO = UUID(int=1), UUID(int=2)
CALL: Any = {"kind": StepKind.WORKFLOW, "uses": None, "workflow": "w"}
ANN: Any = {"subject": "ann", "kind": "user"}
BUSY = StepError("Busy", "busy", StepErrorKind.TRANSIENT)
STOPPED = StepError("workflow.cancelled", "cancelled", StepErrorKind.CANCELLED)


def plan(**more: Any) -> Any:
    return plan_of({"a": [], "b": ["a"]}, steps={"a": CALL}, **more)


def child(id: UUID = ONE) -> Child:
    return Child(id, "w", "1.0.0")


def begun(**more: Any) -> Any:
    """A state whose first step waits for its child."""
    state = state_of(plan(**more))
    advance(state, Started("w"))
    advance(state, ChildFound(0, 1, child()))
    return state


def ended(status: ExecutionStatus, id: UUID = ONE, **more: Any) -> ChildEnded:
    return ChildEnded(id, status, **more)


def kinds(commands: Any) -> list[EventKind]:
    return [one.kind for one in commands if isinstance(one, RecordEvent)]


def told(commands: Any) -> list[InboxKind]:
    return [one.kind for one in commands if isinstance(one, TellChild)]


def test_a_child_starts_with_its_event_and_holds_a_place_but_runs_nothing():
    state = state_of(plan())
    started = advance(state, Started("w"))
    assert RunStep(0, 1) in started

    commands = advance(state, ChildFound(0, 1, child()))

    assert (kinds(commands), StartChild(0, 1) in commands) == ([EventKind.CHILD_STARTED], True)
    assert (state.running, state.busy, state.is_idle) == (0, 1, True)


def test_the_end_of_a_child_is_that_of_its_step_once():
    state = begun()

    first = advance(state, ended(ExecutionStatus.COMPLETED, output={"n": 1}))
    again = advance(state, ended(ExecutionStatus.FAILED, error=BUSY))

    assert kinds(first)[0] is EventKind.STEP_COMPLETED
    assert state.outputs[0] == {"n": 1}
    assert RunStep(1, 1) in first
    assert again == []


def test_the_end_of_another_child_is_not_heard():
    state = begun()

    assert advance(state, ended(ExecutionStatus.COMPLETED, TWO)) == []
    assert state.children == {0: child()}


def test_a_failure_that_may_pass_starts_another_child_and_one_that_may_not_fails():
    state = begun(retry={"a": RetryPolicy(2)})

    failed = advance(state, ended(ExecutionStatus.FAILED, error=BUSY))
    due = advance(state, RetryDue(0, 1))
    advance(state, ChildFound(0, 2, child(TWO)))
    last = advance(state, ended(ExecutionStatus.FAILED, TWO, error=BUSY))

    assert kinds(failed) == [EventKind.STEP_RETRYING]
    assert RunStep(0, 2) in due
    assert kinds(last) == [EventKind.STEP_FAILED, EventKind.EXECUTION_FAILED]


def test_who_stops_tells_its_child_and_ends_after_it():
    state = begun()

    stopping = advance(state, CancelRequested(ANN, "enough"))
    assert (told(stopping), state.phase, state.is_idle) == (
        [InboxKind.CANCEL],
        Phase.STOPPING,
        True,
    )
    assert [one.actor for one in stopping if isinstance(one, TellChild)] == [ANN]
    closing = advance(state, ended(ExecutionStatus.CANCELLED, error=STOPPED))

    [row] = [one for one in closing if isinstance(one, RecordStep)]
    assert (row.status, '"stopped":true' in row.facts.tail) == (StepStatus.CANCELLED, True)
    assert [one.status for one in closing if isinstance(one, Finish)] == [ExecutionStatus.CANCELLED]


def test_what_is_found_while_all_stops_is_not_started():
    state = state_of(plan())
    advance(state, Started("w"))
    advance(state, CancelRequested(ANN, None))

    commands = advance(state, ChildFound(0, 1, child()))

    assert not [one for one in commands if isinstance(one, StartChild)]
    assert kinds(commands) == [EventKind.STEP_CANCELLED, EventKind.EXECUTION_CANCELLED]


def test_a_pause_reaches_the_child_also_one_that_is_just_started():
    state = begun()
    assert told(advance(state, PauseRequested(ANN, None))) == [InboxKind.PAUSE]
    assert told(advance(state, ResumeRequested(ANN, None))) == [InboxKind.RESUME]

    late = state_of(plan())
    advance(late, Started("w"))
    advance(late, PauseRequested(ANN, None))
    assert told(advance(late, ChildFound(0, 1, child()))) == [InboxKind.PAUSE]


def test_a_search_that_fails_fails_its_step():
    state = state_of(plan())
    advance(state, Started("w"))

    commands = advance(state, StepFailed(0, 1, StepError("workflow.not_found", "none")))

    assert kinds(commands) == [EventKind.STEP_FAILED, EventKind.EXECUTION_FAILED]


def mark(attempt: int = 1, id: UUID = ONE) -> Mark:
    data: Any = {"step": 0, "attempt": attempt, **child(id).as_json()}
    return Mark(EventKind.CHILD_STARTED, data, 7.0)


def row(attempt: int, status: StepStatus, **result: Any) -> StepRecord:
    return StepRecord(0, -1, 0, attempt, int(status), False, 1.0, result)


def again(rows: Any, *marks: Mark) -> Any:
    begin = Mark(EventKind.EXECUTION_STARTED)
    program, run = Program.of(plan(retry={"a": RetryPolicy(3)})), RunInfo(EXECUTION, {}, 0)
    return rebuild(program, run, rows, marks=(begin, *marks))


def test_a_replay_knows_the_child_and_since_when_and_starts_none():
    rebuilt = again([], mark())

    assert (rebuilt.state.children, rebuilt.waiting) == ({0: child()}, {0: 7.0})
    assert (rebuilt.state.busy, rebuilt.state.running) == (1, 0)
    assert proceed(rebuilt.state) == []


def test_a_replay_forgets_the_child_whose_end_has_a_row():
    output = again([row(1, StepStatus.COMPLETED, output=4)], mark())

    assert (output.state.children, output.state.outputs) == ({}, {0: 4})


def test_a_replay_waits_for_the_child_of_the_next_attempt_and_not_for_its_retry():
    failed = row(1, StepStatus.FAILED, error=BUSY.as_json(), retry_in_ms=60_000)

    waiting, retrying = again([failed], mark(), mark(2, TWO)), again([failed], mark())

    assert (waiting.state.children, waiting.due) == ({0: child(TWO)}, ())
    assert (waiting.state.attempt[0], waiting.state.busy) == (2, 1)
    assert (retrying.state.children, len(retrying.due)) == ({}, 1)
