"""Saga compensation in the core: what is undone, in which order, once; and what a replay and a retry make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.engine.advance import advance, proceed
from runtime.engine.command import (
    Finish,
    LookUp,
    RecordEvent,
    RecordStep,
    RunStep,
    ScheduleRetry,
    TellChild,
)
from runtime.engine.event import (
    CancelRequested,
    Child,
    ChildFound,
    DeadlineReached,
    DoubtJudged,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Started,
    StepDeferred,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.history import fold
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.retry import idempotency_key
from runtime.engine.rewinding import rewound_to
from runtime.engine.scope import MASKED, scope_of
from runtime.engine.state import ExecutionState, Phase, RunInfo
from runtime.engine.undoing import MOST_ERRORS
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.errors import StepErrorKind
from runtime.model.event import BEGINS_AGAIN, MARKS, EventKind, ExecutionEvent
from runtime.model.execution import ExecutionState as Shown
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import Backoff, Effect, Jitter, RetryPolicy, StepKind
from runtime.model.route import Join, Routes
from runtime.model.values import Duration
from tests.support.plans import EXECUTION, plan_of
from tests.unit.engine.test_history import AT

NO = StepError("Broken", "no", StepErrorKind.PERMANENT)
BUSY = StepError("Busy", "later", StepErrorKind.TRANSIENT)
CUT = StepError("step.timeout", "cut", StepErrorKind.TIMEOUT)
TWICE = RetryPolicy(2, Backoff.FIXED, Duration(40), 2.0, Duration(1000), Jitter.NONE)
CHAIN = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
SAGA: Any = {"a": {}, "b": {}, "c": {}}
E = EventKind


@dataclass
class Played:
    """A plan that is played: what it records is kept, and any state can be made again from that."""

    plan: Any
    generation: int = 0
    rows: list[StepRecord] = field(default_factory=list)
    log: list[RecordEvent] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)
    finish: Finish | None = None

    def __post_init__(self) -> None:
        self.program = Program.of(self.plan)
        self.state = ExecutionState(self.program, self.info)
        self.tell(Started("w"))

    @property
    def info(self) -> RunInfo:
        return RunInfo(EXECUTION, {}, self.generation)

    def tell(self, *events: Any) -> list[Any]:
        for event in events:
            self.note(advance(self.state, event))
        return self.commands

    def note(self, commands: list[Any]) -> None:
        self.commands = commands
        for command in commands:
            if isinstance(command, RecordStep):
                row = self.row(command)
                self.rows = [one for one in self.rows if one[:4] != row[:4]] + [row]
            elif isinstance(command, RecordEvent):
                self.log.append(command)
            elif isinstance(command, Finish):
                assert self.finish is None
                self.finish = command

    def row(self, command: RecordStep) -> StepRecord:
        result: dict[str, Any] = {"output": f"out of {self.state.key(command.step)}"}
        if command.error is not None:
            result = {"error": command.error.as_json(), "late": command.is_late}
        if command.retry_in_ms is not None:
            result["retry_in_ms"] = command.retry_in_ms
        if '"stopped":true' in command.facts.tail:
            result["stopped"] = True
        if command.is_handled:
            result["handled"] = True
        key = (command.step, -1, self.generation, command.attempt)
        ago = 1000.0 - len(self.log)
        return StepRecord(*key, int(command.status), command.is_open, ago, result)

    @property
    def marks(self) -> list[Mark]:
        return [Mark(one.kind, one.data) for one in self.log if one.kind in MARKS]

    @property
    def retries(self) -> list[Any]:
        return [mark.data for mark in self.marks if mark.kind in BEGINS_AGAIN]

    def ok(self, *keys: str, attempt: int = 1) -> Played:
        """These steps end well, in this order."""
        for key in keys:
            number = self.number(key)
            self.tell(StepSucceeded(number, attempt, f"out of {key}"))
        return self

    def bad(self, key: str, error: StepError = NO, attempt: int = 1, **more: Any) -> Played:
        self.tell(StepFailed(self.number(key), attempt, error, **more))
        return self

    def number(self, key: str) -> int:
        return next(one.plan.index for one in self.program.steps if one.plan.key == key)

    def lost(self) -> Played:
        """The worker is lost: another one makes the state again, and goes on."""
        found = rebuild(self.program, self.info, self.rows, self.retries, marks=self.marks)
        self.state = found.state
        self.note(proceed(self.state))
        return self

    def retried(self, *, from_failed_step: bool = True) -> Played:
        return self.begun_again(E.EXECUTION_RETRIED, {"from_failed_step": from_failed_step})

    def rewound(self, key: str) -> Played:
        told = rewound_to(self.plan, self.number(key))
        return self.begun_again(E.EXECUTION_REWOUND, told)

    def begun_again(self, kind: EventKind, data: dict[str, Any]) -> Played:
        self.log.append(RecordEvent(kind, data))
        self.generation += 1
        self.finish = None
        self.state = rebuild(
            self.program, self.info, self.rows, self.retries, is_begun=False, marks=self.marks
        ).state
        self.tell(Started("w"))
        return self

    @property
    def begun(self) -> list[str]:
        """The steps that the newest event made begin."""
        return [self.state.key(one.step) for one in self.commands if isinstance(one, RunStep)]

    def told(self, kind: EventKind) -> list[Any]:
        return [one.data for one in self.log if one.kind is kind]

    @property
    def undone(self) -> list[str]:
        return [data["key"] for data in self.told(E.STEP_COMPENSATED)]

    @property
    def end(self) -> Any:
        """What the event of the end says of the undoing."""
        return (self.log[-1].data or {})["compensation"]

    def shown(self) -> Shown:
        """The state as people see it, by the events alone."""
        found: Shown = self.past.state
        return found

    @property
    def past(self) -> Any:
        events = [
            ExecutionEvent(EXECUTION, EXECUTION, number, one.kind, AT, one.data)
            for number, one in enumerate(self.log, 1)
        ]
        return fold(events)


def saga(**more: Any) -> Played:
    """A chain of which three steps say how they are undone."""
    return Played(plan_of(CHAIN, **{"compensate": SAGA, **more}))


def test_what_completed_is_undone_from_the_newest_end_on_and_then_the_execution_ends_as_it_would():
    one = saga().ok("a", "b", "c").bad("d")
    assert one.begun == ["c:compensate"]
    assert (one.state.phase, one.finish) == (Phase.UNDOING, None)
    assert one.shown() is Shown.COMPENSATING

    assert one.ok("c:compensate").begun == ["b:compensate"]
    assert one.ok("b:compensate").begun == ["a:compensate"]
    one.ok("a:compensate")

    assert one.undone == ["c", "b", "a"]
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.FAILED
    assert one.finish.error is not None
    assert (one.finish.error.type, one.finish.error.step_key) == ("Broken", "d")
    assert one.end == {"undone": ["c", "b", "a"], "failed": []}
    assert one.shown() is Shown.FAILED
    assert [one.past.steps[step, -1].status for step in range(3)] == [StepStatus.COMPENSATED] * 3


def test_the_order_is_that_of_the_ends_and_not_of_the_document():
    plan = plan_of({"a": [], "b": [], "c": [], "d": []}, compensate=SAGA)
    one = Played(plan).ok("b", "c", "a").bad("d")
    one.ok("a:compensate", "c:compensate", "b:compensate")
    assert one.undone == ["a", "c", "b"]


def test_what_ended_at_the_same_moment_is_undone_in_the_order_that_was_told_first():
    plan = plan_of({"a": [], "b": [], "d": []}, compensate={"a": {}, "b": {}})
    one = Played(plan).ok("a", "b").bad("d")
    [began] = one.told(E.EXECUTION_COMPENSATING)
    assert (began["steps"], began["keys"]) == ([1, 0], ["b", "a"])
    one.rows = [row._replace(ended_ago=5.0) for row in one.rows]
    assert one.lost().begun == ["b:compensate"]


def test_what_did_not_complete_is_not_undone_and_what_does_not_say_how_stays():
    one = Played(plan_of(CHAIN, compensate={"a": {}, "d": {}})).ok("a", "b", "c").bad("d")
    assert one.begun == ["a:compensate"]
    one.ok("a:compensate")
    assert one.end == {"undone": ["a"], "failed": []}


def test_nothing_to_undo_leaves_the_end_as_it_was():
    one = saga().bad("a")
    assert one.finish is not None
    assert E.EXECUTION_COMPENSATING not in [event.kind for event in one.log]
    assert "compensation" not in (one.log[-1].data or {})


def test_an_execution_that_completes_undoes_nothing():
    one = saga().ok("a", "b", "c", "d")
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.COMPLETED


def test_a_failed_compensation_keeps_none_of_the_others_from_theirs_and_the_end_says_so():
    one = saga().ok("a", "b", "c").bad("d").ok("c:compensate").bad("b:compensate")
    assert one.begun == ["a:compensate"]
    one.ok("a:compensate")
    assert one.end == {
        "undone": ["c", "a"],
        "failed": [{"step": "b", "error": NO.as_json()}],
    }
    assert one.finish is not None
    assert one.finish.error is not None
    assert one.finish.error.step_key == "d"
    assert one.past.steps[1, -1].status is StepStatus.COMPLETED


def test_the_end_names_all_that_could_not_be_undone_and_tells_why_of_the_first_hundred():
    keys = [f"s{number}" for number in range(MOST_ERRORS + 3)]
    one = Played(
        plan_of({**{key: [] for key in keys}, "bad": []}, compensate={k: {} for k in keys})
    )
    one.ok(*keys).bad("bad")
    for key in reversed(keys):
        one.bad(f"{key}:compensate")
    failed = one.end["failed"]
    assert [entry["step"] for entry in failed] == keys[::-1]
    assert [entry["error"] is not None for entry in failed] == [True] * MOST_ERRORS + [False] * 3


def test_a_compensation_is_repeated_by_its_own_policy():
    one = saga(compensate={"a": {"retry": TWICE}}).ok("a").bad("b").bad("a:compensate", BUSY)
    assert any(isinstance(command, ScheduleRetry) for command in one.commands)
    assert (one.finish, one.state.is_idle) == (None, True)
    number = one.number("a:compensate")
    one.tell(RetryDue(number, 1))
    assert one.begun == ["a:compensate"]
    one.bad("a:compensate", BUSY, attempt=2)
    assert one.end["failed"] == [{"step": "a", "error": BUSY.as_json()}]


def test_a_compensation_that_could_not_be_called_is_put_off_and_not_counted():
    one = saga().ok("a").bad("b")
    number = one.number("a:compensate")
    one.tell(StepDeferred(number, 1, StepError("breaker.open", "wait", StepErrorKind.THROTTLED)))
    assert one.finish is None
    one.tell(RetryDue(number, 1)).clear()
    one.ok("a:compensate", attempt=2)
    assert one.end["undone"] == ["a"]


def test_a_deadline_undoes_and_holds_for_what_undoes_no_more():
    one = saga().ok("a")
    one.tell(DeadlineReached())
    one.bad("b", StepError("cancelled", "stopped", StepErrorKind.CANCELLED))
    assert one.begun == ["a:compensate"]
    assert one.tell(DeadlineReached()) == []
    one.ok("a:compensate")
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.TIMED_OUT
    assert one.end == {"undone": ["a"], "failed": []}


@pytest.mark.parametrize("compensate", [True, False])
def test_a_cancel_undoes_when_it_is_asked_to(compensate: bool):
    one = saga().ok("a")
    one.tell(CancelRequested(None, "enough", compensate))
    one.bad("b", StepError("cancelled", "stopped", StepErrorKind.CANCELLED))
    assert one.begun == (["a:compensate"] if compensate else [])
    assert ("compensate" in one.told(E.EXECUTION_CANCEL_REQUESTED)[0]) is compensate
    if compensate:
        one.lost().ok("a:compensate")
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.CANCELLED


def test_neither_a_cancel_nor_a_pause_holds_up_what_undoes():
    one = saga(compensate={"a": {"retry": TWICE}}).ok("a").bad("b")
    for event in (CancelRequested(None, None), PauseRequested(None, None)):
        assert one.tell(event) == []
    one.bad("a:compensate", BUSY)
    one.tell(RetryDue(one.number("a:compensate"), 1))
    assert one.begun == ["a:compensate"]


def test_what_was_paused_when_it_was_ended_is_undone():
    one = saga(compensate={"a": {"retry": TWICE}}).ok("a")
    one.tell(PauseRequested(None, None), CancelRequested(None, None, compensate=True))
    one.bad("b", StepError("cancelled", "stopped", StepErrorKind.CANCELLED))
    one.bad("a:compensate", BUSY)
    one.tell(RetryDue(one.number("a:compensate"), 1))
    assert one.begun == ["a:compensate"]
    assert one.tell(ResumeRequested(None, None)) == []


def test_outputs_that_can_not_be_rendered_are_a_failure_like_any_other_and_are_not_tried_again():
    one = Played(
        plan_of({"a": []}, outputs={"x": "{{ steps.a.output.b.c }}"}, compensate={"a": {}})
    ).ok("a")
    assert one.begun == ["a:compensate"]
    one.lost()
    assert one.begun == ["a:compensate"]
    one.ok("a:compensate", attempt=1)
    assert one.finish is not None
    assert one.finish.error is not None
    assert (one.finish.status, one.finish.error.type) == (ExecutionStatus.FAILED, "expression")


@pytest.mark.parametrize("at", range(7))
def test_a_lost_worker_at_any_moment_changes_neither_order_nor_end(at: int):
    one = saga(compensate={"a": {"retry": TWICE}, "b": {}, "c": {}})
    ends: list[Any] = [
        lambda: one.ok("a"),
        lambda: one.ok("b"),
        lambda: one.ok("c"),
        lambda: one.bad("d"),
        lambda: one.ok("c:compensate"),
        lambda: one.bad("b:compensate"),
        lambda: one.bad("a:compensate", BUSY),
    ]
    for number, end in enumerate(ends):
        if number == at:
            one.lost()
        end()
    one.lost()
    one.tell(RetryDue(one.number("a:compensate"), 1))
    one.ok("a:compensate", attempt=2)
    assert one.end["undone"] == ["c", "a"]
    assert [entry["step"] for entry in one.end["failed"]] == ["b"]
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.FAILED
    assert one.finish.error is not None
    assert one.finish.error.step_key == "d"


def test_what_undoes_calls_under_a_key_of_its_own():
    one = saga().ok("a").bad("b")
    keys = {
        idempotency_key(EXECUTION, one.number(key), -1, generation)
        for key in ("a", "a:compensate")
        for generation in (0, 1)
    }
    assert len(keys) == 4


def test_what_undoes_sees_the_output_of_its_step_and_it_as_completed():
    one = saga(compensate={"a": {}, "b": {"config": {"id": "{{ steps.b.output }}"}}})
    one.ok("a", "b").bad("c")
    number = one.number("b:compensate")
    shown = scope_of(one.state, MASKED, step=number)
    assert one.program.steps[number].config.render(shown) == {"id": "out of b"}
    one.ok("b:compensate")
    assert scope_of(one.state, MASKED, step=number)["steps"]["b"]["status"] == "completed"
    assert list(shown["steps"]) == ["a", "b", "c", "d"]
    assert len(shown["steps"]) == 4


def test_what_undoes_a_step_that_began_early_sees_no_more_than_that_and_the_step():
    routes = Routes(joins={2: Join(1)}, blind=frozenset({2, 3}), followed=frozenset({0, 1, 2, 3}))
    one = Played(
        plan_of(
            {"a": [], "b": [], "c": ["a", "b"], "d": ["c"]}, routes=routes, compensate={"c": {}}
        )
    )
    one.ok("a", "c", "b").bad("d")
    steps = scope_of(one.state, MASKED, step=one.number("c:compensate"))["steps"]
    assert [steps[key]["status"] for key in "abc"] == ["completed", "pending", "completed"]


def test_a_call_in_doubt_is_looked_up_and_else_is_a_failure():
    one = saga().ok("a", "b").bad("c").bad("b:compensate", CUT, effect=Effect.AT_MOST_ONCE)
    assert any(isinstance(command, LookUp) for command in one.commands)
    number = one.number("b:compensate")
    one.tell(DoubtJudged(number, 1, Verdict.UNKNOWN))
    assert one.begun == ["a:compensate"]
    one.bad("a:compensate", CUT, effect=Effect.AT_MOST_ONCE)
    one.tell(DoubtJudged(one.number("a:compensate"), 1, Verdict.MADE))
    assert one.end["undone"] == ["a"]
    assert [entry["step"] for entry in one.end["failed"]] == ["b"]


def test_a_call_that_a_lost_worker_announced_is_in_doubt_and_begins_again_if_it_was_not_made():
    one = saga().ok("a").bad("b")
    number = one.number("a:compensate")
    one.rows.append(StepRecord(number, -1, 0, 1, int(StepStatus.RUNNING), True, 1.0, {}))
    one.lost()
    assert one.begun == []
    one.tell(*[due.event for due in rebuild(one.program, one.info, one.rows, marks=one.marks).due])
    one.tell(DoubtJudged(number, 1, Verdict.NOT_MADE))
    assert one.begun == ["a:compensate"]
    one.ok("a:compensate", attempt=2)
    assert one.end["undone"] == ["a"]


def test_children_that_still_run_are_told_to_undo_what_they_did():
    call: Any = {"kind": StepKind.WORKFLOW, "uses": None, "workflow": "w"}
    one = Played(plan_of({"a": [], "b": []}, steps={"a": call}))
    one.tell(ChildFound(0, 1, Child(EXECUTION, "w", "1.0.0")))
    one.bad("b")
    assert [c.compensate for c in one.commands if isinstance(c, TellChild)] == [True]
    other = Played(plan_of({"a": [], "b": []}, steps={"a": call}))
    other.tell(ChildFound(0, 1, Child(EXECUTION, "w", "1.0.0")), CancelRequested(None, None))
    assert [c.compensate for c in other.commands if isinstance(c, TellChild)] == [False]


# --- what a retry makes of it ------------------------------------------------------------------------


def test_a_retry_runs_again_what_was_undone_and_what_rests_on_it():
    plan = plan_of(
        {"a": [], "b": ["a"], "c": ["b"], "x": [], "d": ["c", "x"]}, compensate={"b": {}}
    )
    one = Played(plan).ok("a", "x", "b", "c").bad("d").ok("b:compensate")
    [told] = one.told(E.STEP_COMPENSATED)
    assert [plan.steps[step].key for step in told["again"]] == ["c", "d"]
    one.retried()
    assert one.begun == ["b"]
    assert one.past.step_statuses(plan)[0] is StepStatus.COMPLETED
    assert one.past.step_statuses(plan)[2] is StepStatus.PENDING
    one.ok("b", "c").bad("d")
    assert one.begun == ["b:compensate"]
    one.ok("b:compensate")
    assert one.end == {"undone": ["b"], "failed": []}


def test_what_could_not_be_undone_is_not_done_again():
    one = saga().ok("a", "b", "c").bad("d").ok("c:compensate").bad("b:compensate")
    one.ok("a:compensate").retried()
    assert one.begun == ["a", "c"]
    one.ok("a", "c").bad("d")
    one.ok("c:compensate", "a:compensate")
    assert one.begun == ["b:compensate"]


def test_what_was_undone_in_the_generation_before_the_last_is_not_there_again():
    one = saga().ok("a", "b", "c").bad("d").ok("c:compensate", "b:compensate", "a:compensate")
    one.retried().bad("a")
    assert one.finish is not None
    one.retried()
    assert one.begun == ["a"]
    one.ok("a")
    assert one.begun == ["b"]


def test_a_retry_from_the_start_undoes_nothing_of_what_is_forgotten():
    one = saga().ok("a").bad("b").ok("a:compensate").retried(from_failed_step=False).bad("a")
    assert one.finish is not None
    assert one.undone == ["a"]
