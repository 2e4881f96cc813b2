"""`on_error` with an output: given when the step has failed, before what rests on it begins, and never twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.advance import advance, proceed
from runtime.engine.command import Command, Finish, RecordEvent, RecordStep, RunStep, StopStep
from runtime.engine.event import (
    CancelRequested,
    Event,
    Facts,
    PauseRequested,
    ResumeRequested,
    Started,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.history import fold
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.rewinding import rewound_to
from runtime.engine.scope import scope_of
from runtime.engine.simulate import simulate
from runtime.engine.simulation import Answer
from runtime.engine.state import ExecutionState, RunInfo
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import BEGINS_AGAIN, MARKS, EventKind, ExecutionEvent
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.values import Digest, Json
from tests.support.plans import EXECUTION

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUSY = StepError("Busy", "later")
GIVEN = {"action": "continue", "output": {"n": 0, "why": "{{ steps.a.error.message }}"}}
A = {"id": "a", "uses": "core.noop@1", "on_error": GIVEN}
B = {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]}
FALLBACK = "a:on_error"


class Played:
    """An execution told by hand; what it records is kept as rows, marks and events."""

    def __init__(self, *steps: dict[str, Any], **more: Any):
        definition = {"name": "x", "steps": [*steps], **more}
        self.plan = compile_plan(definition, Digest.of(json.dumps(definition).encode()))
        self.program = Program.of(self.plan)
        self.rows: list[StepRecord] = []
        self.events: list[ExecutionEvent] = []
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.finish: Finish | None = None
        self.generation = 0
        self.state = ExecutionState(self.program, RunInfo(EXECUTION, {}))
        self.tell(Started("w"))

    def tell(self, event: Event) -> None:
        self.note(advance(self.state, event))

    def note(self, commands: list[Command]) -> None:
        for one in commands:
            match one:
                case RecordStep():
                    result: dict[str, Any] = {"output": json.loads(one.facts.output)}
                    if one.error is not None:
                        result = {"error": one.error.as_json(), "handled": one.is_handled}
                    if one.retry_in_ms is not None:
                        result["retry_in_ms"] = one.retry_in_ms
                    place = (one.step, -1, self.generation, one.attempt)
                    self.rows.append(StepRecord(*place, int(one.status), False, 0.0, result))
                case RecordEvent():
                    self.told(one.kind, one.data)
                case RunStep():
                    self.started.append(self.state.key(one.step))
                case StopStep():
                    self.stopped.append(self.state.key(one.step))
                case Finish():
                    self.finish = one

    def told(self, kind: EventKind, data: Json = None) -> None:
        number = len(self.events) + 1
        self.events.append(ExecutionEvent(EXECUTION, EXECUTION, number, kind, NOW, data))

    def number(self, key: str) -> int:
        found = self.plan.number(key)
        assert found is not None
        return found

    def end(self, key: str, output: Any = None, attempt: int = 1) -> None:
        facts = Facts(output=json.dumps(output))
        self.tell(StepSucceeded(self.number(key), attempt, output, facts))

    def fail(self, key: str, error: StepError = BUSY, attempt: int = 1) -> None:
        self.tell(StepFailed(self.number(key), attempt, error))

    @property
    def marks(self) -> list[Mark]:
        return [Mark(one.kind, one.data) for one in self.events if one.kind in MARKS]

    def again(self, event: EventKind | None = None, **data: Any) -> None:
        """Whoever comes next knows the rows, in any order, and the marks; with an event, in the next generation."""
        if event is not None:
            self.told(event, {"from_failed_step": True, **data})
            self.generation += 1
            self.finish = None
        retries = [mark.data for mark in self.marks if mark.kind in BEGINS_AGAIN]
        run = RunInfo(EXECUTION, {}, self.generation)
        self.state = rebuild(
            self.program, run, self.rows[::-1], retries, is_begun=event is None, marks=self.marks
        ).state
        self.started = []
        if event is None:
            self.note(proceed(self.state))
        else:
            self.tell(Started("v"))

    def sees(self, key: str, name: str = "a") -> Any:
        return dict(scope_of(self.state, step=self.number(key))["steps"][name])

    def shown(self) -> list[str]:
        return [one.name.lower() for one in fold(self.events).step_statuses(self.plan)]

    def status(self, key: str) -> StepStatus:
        return StepStatus(self.state.status[self.number(key)])


def test_what_rests_on_a_failed_step_begins_when_its_output_is_there_and_sees_it():
    played = Played(A, B, outputs={"n": "{{ steps.a.output.n }}"})

    played.fail("a")
    assert played.started == ["a", FALLBACK]
    assert played.sees(FALLBACK)["error"]["message"] == "later"
    assert played.shown() == ["failed", "pending"]
    played.end(FALLBACK, {"n": 0, "why": "later"})

    assert played.started == ["a", FALLBACK, "b"]
    assert played.sees("b") == {
        "status": "failed", "output": {"n": 0, "why": "later"}, "error": BUSY.as_json(),
    }  # fmt: skip
    assert played.shown() == ["failed", "running"]
    played.end("b")
    assert played.finish == Finish(ExecutionStatus.COMPLETED, {"n": 0})


def test_a_step_that_completes_gives_its_own_output_and_nothing_else_is_begun():
    played = Played(A, B)

    played.end("a", {"n": 7})

    assert played.started == ["a", "b"]
    assert played.sees("b") == {"status": "completed", "output": {"n": 7}}
    played.end("b")
    assert played.finish is not None


@pytest.mark.parametrize("output", [None, "absent"])
def test_no_output_and_null_are_the_same(output: Any):
    rule = {"action": "continue"} | ({"output": None} if output is None else {})

    played = Played({**A, "on_error": rule}, B)
    played.fail("a")

    assert (played.plan.fallbacks, played.started) == ((), ["a", "b"])


def test_whoever_takes_over_gives_the_output_once_and_goes_on_from_it():
    played = Played(A, B)
    played.fail("a")

    played.again()
    assert played.started == [FALLBACK]
    played.end(FALLBACK, {"n": 0})
    assert played.started == [FALLBACK, "b"]
    before = (list(played.state.pending), played.state.open_steps, dict(played.state.outputs))
    played.again()

    assert played.started == ["b"]
    assert (played.state.pending, played.state.open_steps, played.state.outputs) == before
    assert played.sees("b")["output"] == {"n": 0}
    played.end("b")
    assert played.finish == Finish(ExecutionStatus.COMPLETED)


def test_an_output_that_can_not_be_given_fails_the_execution_and_names_the_step():
    played = Played(A, B)
    played.fail("a")

    played.fail(FALLBACK, StepError("expression", "no such thing"))

    assert played.started == ["a", FALLBACK]
    assert played.finish is not None
    assert played.finish.status is ExecutionStatus.FAILED
    assert played.finish.error is not None
    assert (played.finish.error.step_key, played.finish.error.message) == ("a", "no such thing")
    assert played.shown() == ["failed", "pending"]


def test_a_retry_gives_the_output_anew_and_keeps_the_failure():
    played = Played(A, B)
    played.fail("a")
    played.fail(FALLBACK)

    played.again(EventKind.EXECUTION_RETRIED)
    assert played.started == [FALLBACK]
    assert played.shown() == ["failed", "pending"]
    played.end(FALLBACK, 5)
    played.fail("b")
    assert played.finish is not None
    played.again(EventKind.EXECUTION_RETRIED)

    assert played.started == ["b"], "what was given is kept, too"
    assert played.sees("b")["output"] == 5
    assert played.shown() == ["failed", "running"]


def test_a_rewind_takes_back_what_was_given_with_its_step():
    played = Played(A, B)
    played.fail("a")
    played.end(FALLBACK, 5)
    played.end("b")
    told = rewound_to(played.plan, 0)

    assert told["again"] == [played.number("b"), played.number(FALLBACK)]
    played.again(EventKind.EXECUTION_REWOUND, **told)
    assert played.started == ["a"]
    assert (0, -1) not in {key for key, at in fold(played.events).steps.items() if at.is_settled}
    assert (played.number(FALLBACK), -1) not in fold(played.events).steps
    assert played.shown() == ["running", "pending"]
    played.end("a", {"n": 7})

    assert played.sees("b") == {"status": "completed", "output": {"n": 7}}


def test_what_is_undone_takes_back_what_was_given_behind_it():
    undo = {"uses": "core.noop@1"}
    first = {"id": "z", "uses": "core.noop@1", "compensate": undo}
    played = Played(first, {**A, "depends_on": ["z"]}, {**B, "depends_on": ["a"]})
    played.end("z")
    played.fail("a")
    played.end(FALLBACK, 5)
    played.fail("b")
    assert played.started[-1] == "z:compensate"
    played.end("z:compensate")
    told = [one.field("again") for one in played.events if one.kind is EventKind.STEP_COMPENSATED]

    assert told[0] == [played.number("a"), played.number("b"), played.number(FALLBACK)]
    played.again(EventKind.EXECUTION_RETRIED)
    assert played.started == ["z"]


def test_a_cancel_stops_it_and_nothing_begins():
    played = Played(A, B)
    played.fail("a")

    played.tell(CancelRequested({"subject": "ann"}, None))

    assert played.stopped == [FALLBACK]
    played.fail(FALLBACK, StepError("step.cancelled", "stopped"))
    assert played.finish is not None
    assert played.finish.status is ExecutionStatus.CANCELLED
    assert "b" not in played.started


def test_a_failure_while_the_execution_ends_is_given_nothing():
    played = Played(A, {"id": "c", "uses": "core.noop@1"}, B)
    played.fail("c")

    played.fail("a")

    assert FALLBACK not in played.started
    assert played.finish is not None


def test_a_pause_holds_it_until_it_is_over():
    played = Played(A, B)
    played.tell(PauseRequested({"subject": "ann"}, None))

    played.fail("a")
    assert FALLBACK not in played.started
    assert played.state.is_idle
    played.tell(ResumeRequested({"subject": "ann"}, None))

    assert played.started == ["a", FALLBACK]


def test_of_places_it_takes_one_like_any_step():
    beside = {"id": "c", "uses": "core.noop@1"}
    played = Played(A, beside, B, max_parallel_steps=1)

    played.fail("a")
    assert played.started == ["a", "c"], "in the order of their numbers"
    played.end("c")

    assert played.started == ["a", "c", FALLBACK]


def test_a_gateway_that_failed_leads_nowhere_and_has_its_output():
    way = {
        "id": "a",
        "type": "gateway",
        "on_error": {"action": "continue", "output": [1]},
        "cases": [{"when": "false", "then": "b"}],
    }
    played = Played(way, B)

    assert played.started == ["a:on_error"]
    played.end("a:on_error", [1])

    assert played.status("b") is StepStatus.SKIPPED
    assert played.finish is not None
    assert played.state.outputs[0] == [1]


def test_a_simulation_gives_it_and_shows_it_at_its_step():
    played = Played({**A, "uses": "core.fail@1"}, B, outputs={"why": "{{ steps.a.output.why }}"})

    def respond(plan: Any, _rendered: Json, _attempt: int, _item: int) -> Answer:
        return Answer(error=BUSY) if plan.key == "a" else Answer({})

    found = simulate(played.program, RunInfo(EXECUTION, {}), respond, start=NOW)

    assert (found.status, found.output) == (ExecutionStatus.COMPLETED, {"why": "later"})
    assert [(one.key, one.order) for one in found.steps] == [("a", 1), ("b", 2)]
    assert found.steps[0].output == {"n": 0, "why": "later"}
    assert found.steps[0].status is StepStatus.FAILED
    assert FALLBACK in [one.step for one in found.events]


def test_a_simulation_says_in_words_what_can_not_be_rendered():
    wrong = {"action": "continue", "output": "{{ steps.a.error.details.x.y }}"}
    played = Played({**A, "on_error": wrong}, B)

    found = simulate(
        played.program, RunInfo(EXECUTION, {}), lambda *_: Answer(error=BUSY), start=NOW
    )

    assert found.status is ExecutionStatus.FAILED
    assert found.error is not None
    assert found.error.step_key == "a"
    assert found.error.message.startswith("`output` in `on_error` of step 'a': ")


def test_a_task_that_expired_leads_where_its_expiry_says_and_is_given_nothing():
    way = {
        "id": "a", "type": "human_approval", "assignees": ["ann"], "timeout": "1h",
        "on_error": {"action": "continue", "output": 1}, "on_expiry": {"goto": "b"},
    }  # fmt: skip
    played = Played(way, B)
    fallback = played.number("a:on_error")

    assert played.plan.fallback_of(0, StepStatus.FAILED) == fallback
    assert played.plan.fallback_of(0, StepStatus.TIMED_OUT) is None
