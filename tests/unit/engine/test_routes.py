"""Gateways, joins and `on_error`: what is chosen, what is left out and why, and that no rebuild chooses otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.advance import advance, proceed
from runtime.engine.command import Command, Finish, RecordEvent, RecordStep, RunStep
from runtime.engine.event import Facts, Started, StepError, StepFailed, StepSucceeded
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.scope import scope_of
from runtime.engine.state import ExecutionState, RunInfo
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import MARKS, EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.route import Case, Gateway, Routes
from runtime.model.values import Digest
from tests.support.plans import EXECUTION

BUSY = StepError("Busy", "later")


class Played:
    """An execution told by hand; what it records is kept as rows and marks."""

    def __init__(self, *steps: dict[str, Any], params: Any = None):
        definition: dict[str, Any] = {
            "name": "x",
            "steps": [{"uses": "core.noop@1"} | one for one in steps],
        }
        for step in definition["steps"]:
            if step.get("type") == "gateway":
                del step["uses"]
        self.plan = compile_plan(definition, Digest.of(json.dumps(definition).encode()))
        self.run = RunInfo(EXECUTION, params or {})
        self.state = ExecutionState(Program.of(self.plan), self.run)
        self.rows: list[StepRecord] = []
        self.marks: list[Mark] = []
        self.reasons: dict[str, str] = {}
        self.started: list[str] = []
        self.finish: Finish | None = None
        self.note(advance(self.state, Started("w")))

    def note(self, commands: list[Command]) -> None:
        for one in commands:
            match one:
                case RecordStep():
                    result: dict[str, Any] = {"output": json.loads(one.facts.output)}
                    if one.error is not None:
                        result = {"error": one.error.as_json(), "handled": one.is_handled}
                    self.rows.append(
                        StepRecord(
                            one.step, -1, 0, one.attempt, int(one.status), False, 0.0, result
                        )
                    )
                case RecordEvent(EventKind.STEP_SKIPPED, dict() as data):
                    self.reasons[str(data["key"])] = str(data["reason"])
                case RecordEvent() if one.kind in MARKS:
                    self.marks.append(Mark(one.kind, one.data))
                case RunStep():
                    self.started.append(self.state.key(one.step))
                case Finish():
                    self.finish = one

    def end(self, key: str, output: Any = None) -> None:
        self.again()
        facts = Facts(output=json.dumps(output))
        self.note(advance(self.state, StepSucceeded(self.plan.index_of[key], 1, output, facts)))

    def fail(self, key: str) -> None:
        self.again()
        self.note(advance(self.state, StepFailed(self.plan.index_of[key], 1, BUSY)))

    def again(self) -> None:
        """The owner is lost: a new one knows the rows and the marks, and starts what was running again."""
        known = {key: self.state.seen[key] for key in self.state.seen}
        self.state = rebuild(self.state.program, self.run, self.rows[::-1], marks=self.marks).state
        assert self.state.seen == known
        before = list(self.started)
        self.note(proceed(self.state))
        assert set(self.started) <= set(before), "nothing starts that had not started"
        self.started = before

    @property
    def statuses(self) -> str:
        return " ".join(StepStatus(one).name.lower() for one in self.state.status)

    def sees(self, key: str) -> Any:
        return scope_of(self.state, step=self.plan.index_of[key])["steps"]


def route(*cases: Any, **more: Any) -> dict[str, Any]:
    return {"id": "route", "type": "gateway", "cases": list(cases), **more}


def case(when: str, *then: str) -> dict[str, Any]:
    return {"when": when, "then": list(then)}


def after(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "depends_on": list(needs), **more}


A, B = case("params.n > 1", "a"), case("params.n > 0", "b")


@pytest.mark.parametrize(
    ("mode", "n", "cases", "then"),
    [
        ("exclusive", 2, [0], ["a"]),
        ("exclusive", 1, [1], ["b"]),
        ("exclusive", 0, [2], ["c"]),
        ("inclusive", 2, [0, 1], ["a", "b"]),
        ("inclusive", 0, [2], ["c"]),
    ],
)
def test_a_gateway_takes_the_first_case_that_holds_or_all_that_do_else_its_else(
    mode, n, cases, then
):
    played = Played(
        route(A, B, {"else": ["c"]}, mode=mode),
        *(after(one, "route") for one in "abc"),
        params={"n": n},
    )

    assert played.state.outputs[0] == {"cases": cases, "then": then}
    assert played.started == then
    assert set(played.reasons.items()) == {
        (one, "no step it depends on led to it") for one in "abc" if one not in then
    }
    for one in then:
        played.end(one)
    assert played.finish == Finish(ExecutionStatus.COMPLETED)


def test_a_gateway_without_a_case_that_holds_fails_by_its_code_and_can_go_on_elsewhere():
    plain = Played(route(A), after("a", "route"), params={"n": 0})
    caught = Played(
        route(A, on_error={"goto": "c"}), after("a", "route"), after("c", "route"), params={"n": 0}
    )

    assert plain.finish is not None
    assert plain.finish.error is not None
    assert plain.finish.error.type == "gateway.no_case"
    assert caught.started == ["c"]
    assert caught.statuses == "failed skipped running"


def test_what_a_gateway_took_is_read_from_its_row_and_never_decided_again():
    played = Played(route(A, B), after("a", "route"), after("b", "route"), params={"n": 2})
    played.run = RunInfo(EXECUTION, {"n": 1})

    played.again()

    assert played.statuses == "completed running skipped"


def test_a_chosen_step_runs_only_if_it_was_chosen_whatever_else_leads_to_it():
    steps = ({"id": "x"}, route(A, {"else": ["b"]}), after("a", "route", "x"), after("b", "route"))
    played = Played(*steps, params={"n": 0})
    played.end("x")

    assert played.reasons == {"a": "route did not choose it"}


def test_what_follows_both_branches_runs_once_and_with_none_is_skipped():
    steps = (
        route(A, {"else": ["b"]}), after("a", "route"), after("b", "route"),
        after("both", "a", "b"), after("only", "a"), after("end", "only"),
    )  # fmt: skip
    played = Played(*steps, params={"n": 0})
    played.end("b")

    assert played.started == ["b", "both"]
    assert played.reasons["end"] == "all steps it depends on were skipped"


def test_continue_goes_on_with_the_error_at_hand_and_is_no_failure_of_the_whole():
    played = Played({"id": "a", "on_error": {"action": "continue"}}, after("b", "a"))
    played.fail("a")

    assert played.started == ["a", "b"]
    assert played.sees("b")["a"]["error"]["type"] == "Busy"
    assert played.sees("b")["a"]["output"] is None
    played.end("b")
    assert played.finish == Finish(ExecutionStatus.COMPLETED)


@pytest.mark.parametrize("fails", [True, False])
def test_goto_leads_to_its_target_alone_and_only_after_a_failure(fails):
    played = Played(
        {"id": "pay", "on_error": {"goto": "tell"}}, after("send", "pay"), after("tell", "pay"),
        after("done", "send", "tell"),
    )  # fmt: skip
    (played.fail if fails else played.end)("pay")
    taken, left = ("tell", "send") if fails else ("send", "tell")

    assert played.started == ["pay", taken]
    assert left in played.reasons
    played.end(taken)
    played.end("done")
    assert played.finish == Finish(ExecutionStatus.COMPLETED)


def test_any_begins_with_the_first_and_never_sees_the_others_whatever_comes_of_them():
    played = Played(
        {"id": "a"}, {"id": "b"}, after("first", "a", "b", join="any"), after("last", "first")
    )
    played.end("b", {"n": 1})

    assert played.started == ["a", "b", "first"]
    played.end("a", {"n": 2})
    assert played.started == ["a", "b", "first"]
    for step in ("first", "last"):
        assert played.sees(step)["b"]["output"] == {"n": 1}
        assert played.sees(step)["a"] == {"status": "pending", "output": None}
    assert scope_of(played.state)["steps"]["a"]["output"] == {"n": 2}


def test_a_number_begins_when_so_many_lead_to_it_and_is_skipped_when_too_few_are_left():
    steps = [{"id": "a"}, {"id": "b"}, {"id": "c"}, after("two", "a", "b", "c", join=2)]
    begun, skipped = (
        Played(*steps),
        Played(*steps[:2], {"id": "c", "when": False}, steps[3] | {"join": 3}),
    )
    for played in (begun, skipped):
        played.end("a")
        assert "two" not in played.started
        played.end("b")

    assert begun.started[-1] == "two"
    assert skipped.reasons["two"] == "only 2 of the 3 steps that it waits for led to it"


def test_a_failure_that_was_provided_for_is_kept_by_a_retry_of_the_execution():
    played = Played({"id": "a", "on_error": {"action": "continue"}}, after("b", "a"))
    played.fail("a")
    played.fail("b")
    run = RunInfo(EXECUTION, {}, 1)
    state = rebuild(played.state.program, run, played.rows, [{"from_failed_step": True}]).state

    assert [one for one in proceed(state) if isinstance(one, RunStep)] == [RunStep(1, 1)]
    afresh = rebuild(played.state.program, run, played.rows, [{"from_failed_step": False}]).state
    assert [one for one in proceed(afresh) if isinstance(one, RunStep)] == [RunStep(0, 1)]


class Counted(int):
    """A step's number that counts how often it is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other


@pytest.mark.parametrize(
    ("routes", "status"),
    [
        (Routes(), StepStatus.COMPLETED),
        (Routes(recoveries={0: None}), StepStatus.FAILED),
        (Routes(recoveries={0: 7}), StepStatus.COMPLETED),
        (Routes(gateways={0: Gateway((Case(None, tuple(range(1, 400))),))}), StepStatus.COMPLETED),
    ],
)
def test_an_end_looks_at_each_of_its_edges_once(routes: Routes, status: StepStatus):
    Counted.compared = 0
    edges = list(routes.edges(0, int(status), [0], tuple(Counted(one) for one in range(1, 400))))

    assert sum(leads for _, leads, _ in edges) in {398, 399}
    assert Counted.compared <= 2 * len(edges)
