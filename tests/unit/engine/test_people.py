"""Human steps in the core: one task for each generation, answers that are heard once, expiries, and what a replay knows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtime.definition.compile import compile_plan
from runtime.engine.advance import advance, proceed
from runtime.engine.command import (
    BeginWait,
    CancelTasks,
    OpenTask,
    RecordEvent,
    RecordStep,
    RunStep,
)
from runtime.engine.event import (
    BlobLoaded,
    CancelRequested,
    DeadlineReached,
    HumanTaskEnded,
    PauseRequested,
    ResumeRequested,
    Started,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.people import answer, called_off, expired
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.scope import scope_of
from runtime.engine.state import WAITING, ExecutionState, Phase, RunInfo
from runtime.model.blob import BlobRef
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.ids import human_task_id, slot_of, unix_ms_of
from runtime.model.plan import HumanPlan, StepKind
from runtime.model.values import Digest, Duration
from tests.support.plans import EXECUTION, plan_of, state_of

ANN: Any = {"subject": "ann", "kind": "user"}
TASK = human_task_id(EXECUTION, 0, 0)
ASKS: dict[str, Any] = {"title": "Pay {{ params.n }}?", "assignees": ["ann", "{{ params.who }}"]}
YES = answer("approved", {"note": "fine"}, ANN, "2026-01-01T12:00:00+00:00")
SAID: Any = {"outcome": "approved", "by": ANN}


def human(config: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "kind": StepKind.HUMAN_APPROVAL,
        "uses": None,
        "human": HumanPlan(**more),
        "config": ASKS if config is None else config,
    }


def plan(config: Any = None, **more: Any) -> Any:
    return plan_of({"a": [], "b": ["a"]}, steps={"a": human(config, **more)})


def begun(config: Any = None, params: Any = None, **more: Any) -> tuple[ExecutionState, Any]:
    """A state whose first step has asked, and the commands of that."""
    run = RunInfo(EXECUTION, {"n": 7, "who": ["bob", "ann"]} if params is None else params)
    state = ExecutionState(Program.of(plan(config, **more)), run)
    return state, advance(state, Started("w"))


def kinds(commands: Any) -> list[EventKind]:
    return [one.kind for one in commands if isinstance(one, RecordEvent)]


def told_by(commands: Any, kind: EventKind) -> Any:
    [data] = [one.data for one in commands if isinstance(one, RecordEvent) and one.kind is kind]
    return data


def opened(commands: Any) -> list[OpenTask]:
    return [one for one in commands if isinstance(one, OpenTask)]


def cancelled(commands: Any) -> list[str]:
    return [one.reason for one in commands if isinstance(one, CancelTasks)]


def failure(commands: Any) -> Any:
    return next(one for one in commands if isinstance(one, RecordStep)).error


def test_a_step_asks_with_what_its_templates_give_and_waits_without_running():
    state, commands = begun(quorum=2, expires=Duration(5_000), form={"type": "object"})

    [task] = opened(commands)
    assert (task.task, task.step, task.attempt) == (TASK, 0, 1)
    assert (task.asked["title"], task.asked["assignees"]) == ("Pay 7?", ["ann", "bob"])
    assert (task.asked["quorum"], task.asked["form"]) == (2, {"type": "object"})
    assert (task.asked["expires_in_ms"], task.asked["outcomes"]) == (
        5_000,
        ["approved", "rejected"],
    )
    assert (state.status[0], state.running, state.busy) == (WAITING, 0, 1)
    assert state.is_idle
    assert BeginWait(0, 1) in commands


def test_the_event_says_who_can_answer_and_until_when_and_not_what_it_is_about():
    _, commands = begun(expires=Duration(5_000))

    told = told_by(commands, EventKind.HUMAN_TASK_CREATED)
    assert told == {
        "step": 0, "key": "a", "item": -1, "attempt": 1, "task": str(TASK), "assignees": ["ann", "bob"],
        "quorum": 1, "expires_in_ms": 5_000,
    }  # fmt: skip


def test_the_id_of_a_task_is_that_of_its_execution_step_and_generation_and_lies_in_its_shard():
    ids = {human_task_id(EXECUTION, step, n) for step in (0, 1) for n in (0, 1)}

    assert len(ids) == 4
    assert {slot_of(one) for one in ids} == {slot_of(EXECUTION)}
    assert {unix_ms_of(one) for one in ids} == {unix_ms_of(EXECUTION)}
    assert human_task_id(EXECUTION, 1, 1) in ids


def test_an_answer_ends_the_step_once_and_reads_as_a_decision():
    state, _ = begun()

    first = advance(state, HumanTaskEnded(TASK, YES, said=SAID))
    again = advance(state, HumanTaskEnded(TASK, YES, said=SAID))

    told = told_by(first, EventKind.STEP_COMPLETED)
    assert (told["task"], told["outcome"], told["by"]) == (str(TASK), "approved", ANN)
    assert RunStep(1, 1) in first
    assert again == []
    seen = scope_of(state)["steps"]["a"]["output"]
    assert (seen["decision"], seen["response"]) == ("approved", {"note": "fine"})
    assert state.outputs[0] == YES


def test_nobody_named_is_everybody_and_groups_stand_for_people_who_are_none():
    _, for_anyone = begun({"title": "Pay?"})
    _, for_some = begun(
        {"assignees": ["{{ params.none }}"], "candidate_groups": ["fin"]}, {"none": []}
    )

    assert [one.asked["assignees"] for one in opened(for_anyone + for_some)] == [[], []]
    assert opened(for_some)[0].asked["candidate_groups"] == ["fin"]


class Unsearched(dict[int, UUID]):
    """Tasks among which nothing is looked for."""

    def items(self) -> Any:
        raise AssertionError("all open tasks were gone through")


def test_where_the_step_is_known_its_task_is_not_looked_for_among_all():
    state, _ = begun()
    state.tasks = Unsearched(state.tasks)

    assert advance(state, HumanTaskEnded(UUID(int=9), YES, step=0)) == []
    assert advance(state, HumanTaskEnded(TASK, YES, step=1)) == []
    told = advance(state, HumanTaskEnded(TASK, YES, said=SAID, step=0))

    assert kinds(told)[0] == EventKind.STEP_COMPLETED
    assert state.tasks == {}


def test_the_answer_to_another_task_is_not_heard():
    state, _ = begun()

    assert advance(state, HumanTaskEnded(UUID(int=9), YES)) == []
    assert state.tasks == {0: TASK}


def test_a_task_that_expires_fails_its_step_with_a_timeout():
    state, _ = begun(expires=Duration(5_000))

    commands = advance(state, HumanTaskEnded(TASK, error=expired("a")))

    assert kinds(commands) == [EventKind.STEP_TIMED_OUT, EventKind.EXECUTION_FAILED]
    assert failure(commands).type == "human_task.expired"


def test_a_task_that_somebody_cancels_fails_its_step():
    state, _ = begun()

    commands = advance(state, HumanTaskEnded(TASK, error=called_off("a", "not needed")))

    assert kinds(commands) == [EventKind.STEP_CANCELLED, EventKind.EXECUTION_FAILED]
    assert failure(commands).message == "The task of step 'a' was cancelled: not needed."


LATE = {
    "name": "late",
    "steps": [
        {"id": "ask", "type": "human_task", "timeout": "1s", "assignees": ["ann"], "on_expiry": {"goto": "late"}},
        {"id": "late", "uses": "core.noop@1", "depends_on": ["ask"]},
        {"id": "good", "uses": "core.noop@1", "depends_on": ["ask"]},
    ],
}  # fmt: skip


def routed(event: HumanTaskEnded, **more: Any) -> tuple[ExecutionState, Any]:
    definition: Any = {**LATE, "steps": [{**LATE["steps"][0], **more}, *LATE["steps"][1:]]}  # type: ignore[dict-item] # a document
    state = state_of(compile_plan(definition, Digest("sha256:" + "0" * 64)))
    advance(state, Started("w"))
    return state, advance(state, event)


def test_an_expiry_goes_to_the_step_that_it_names_and_nothing_else_does():
    state, commands = routed(HumanTaskEnded(TASK, error=expired("ask")))
    _, in_time = routed(HumanTaskEnded(TASK, YES))
    _, stopped = routed(HumanTaskEnded(TASK, error=called_off("ask", None)), on_error="continue")
    _, fails = routed(HumanTaskEnded(TASK, error=called_off("ask", None)))

    assert kinds(commands)[:1] == [EventKind.STEP_TIMED_OUT]
    assert RunStep(1, 1) in commands
    assert state.status[2] == StepStatus.SKIPPED
    for one in (in_time, stopped):
        assert RunStep(2, 1) in one
        assert RunStep(1, 1) not in one
    assert EventKind.EXECUTION_FAILED in kinds(fails)


def test_where_an_expiry_and_an_error_go_elsewhere_each_goes_its_way():
    rule: Any = {"on_error": {"goto": "good"}}
    _, late = routed(HumanTaskEnded(TASK, error=expired("ask")), **rule)
    _, wrong = routed(HumanTaskEnded(TASK, error=called_off("ask", None)), **rule)

    assert [one.step for one in late if isinstance(one, RunStep)] == [1]
    assert [one.step for one in wrong if isinstance(one, RunStep)] == [2]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (CancelRequested(ANN, "enough"), "the execution was cancelled"),
        (DeadlineReached(), "the execution's deadline has passed"),
    ],
)
def test_what_stops_cancels_its_task_with_the_event_that_is_the_cause_and_ends(stop, reason):
    state, _ = begun()

    commands = advance(state, stop)
    late = advance(state, HumanTaskEnded(TASK, YES))

    assert cancelled(commands) == [reason]
    assert (state.phase, state.tasks, late) == (Phase.CLOSED, {}, [])


def test_a_step_that_fails_cancels_the_task_of_another():
    made = plan_of({"a": [], "b": []}, steps={"a": human()})
    state = ExecutionState(Program.of(made), RunInfo(EXECUTION, {"n": 1, "who": "ann"}))
    advance(state, Started("w"))

    commands = advance(state, StepFailed(1, 1, StepError("Broken", "broken")))

    assert cancelled(commands) == ["step 'b' failed"]
    assert kinds(commands) == [EventKind.STEP_FAILED, EventKind.EXECUTION_FAILED]


def test_an_answer_in_a_pause_ends_the_step_and_what_follows_waits():
    state, _ = begun()
    advance(state, PauseRequested(ANN, None))

    told = advance(state, HumanTaskEnded(TASK, YES))
    resumed = advance(state, ResumeRequested(ANN, None))

    assert kinds(told) == [EventKind.STEP_COMPLETED]
    assert RunStep(1, 1) not in told
    assert RunStep(1, 1) in resumed


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a template that can't be rendered": ({"title": "{{ params.nobody }}"}, {}, "can't be opened"),
    "a title that is a list": ({"title": "{{ params.who }}"}, {}, "`title` must give a text"),
    "a title too long": ({"title": "x" * 256}, {}, "`title` is longer than 255 characters"),
    "a person who is a number": ({"assignees": ["{{ params.n }}"]}, {}, "`assignees` must give texts"),
    "a person without a name": ({"assignees": [" "]}, {}, "`assignees` must give texts"),
    "a name too long": ({"candidate_groups": ["x" * 256]}, {}, "longer than 255 characters"),
    "what no database can store": ({"message": "\0"}, {}, "holds the character U+0000"),
    "half a character": ({"message": "\ud800"}, {}, "can't be stored as JSON"),
    "too many people": ({"assignees": [f"u{n}" for n in range(101)]}, {}, "gives more than 100 texts"),
    "a quorum that can't be met": (None, {"quorum": 3}, "3 must agree, and only 2 may answer"),
    "a list of nobody": ({"assignees": ["{{ params.none }}"]}, {"quorum": 2}, "come to nobody"),
    "an empty list": ({"assignees": []}, {}, "come to nobody"),
    "groups that are none": ({"candidate_groups": ["{{ params.none }}"]}, {}, "come to nobody"),
    "a person who is null": ({"assignees": "{{ params.null }}"}, {}, "come to nobody"),
    "a time that is none": ({"due": "soon"}, {}, "`due`: 'soon' is not an instant"),
    "an escalation to nobody": (
        {"escalate": [{"after": "1s", "to": "{{ params.who }}"}]}, {}, "`escalate.0.to` must give a text"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_nobody_can_be_asked_fails_the_step_and_opens_no_task(case):
    config, more, words = WRONG[case]
    params = {"n": 7, "who": ["bob", "ann"], "none": [], "null": None}

    state, commands = begun(config, params, **more)

    assert opened(commands) == []
    assert words in failure(commands).message
    assert kinds(commands) == [
        EventKind.EXECUTION_STARTED, EventKind.STEP_STARTED, EventKind.STEP_FAILED, EventKind.EXECUTION_FAILED,
    ]  # fmt: skip
    assert (state.busy, state.tasks) == (0, {})


def test_a_large_value_that_it_reads_is_asked_for_before_anything_has_changed():
    ref = BlobRef("sha256:" + "1" * 64, 9)
    made = plan_of({"a": [], "b": ["a"]}, steps={"b": human({"title": "{{ steps.a.output }}"})})
    state = state_of(made)
    advance(state, Started("w"))

    asking = advance(state, StepSucceeded(0, 1, ref))
    loaded = advance(state, BlobLoaded(ref, "large"))

    assert (state.awaits, opened(asking)) == (None, [])
    assert [one.asked["title"] for one in opened(loaded)] == ["large"]


def test_escalations_are_rendered_and_told_in_milliseconds():
    config = {"escalate": [{"after": "1m", "to": "{{ params.boss }}", "notify": ["ops"]}, {"after": "2m", "outcome": "rejected"}]}  # fmt: skip

    _, commands = begun(config, {"boss": "mia"})

    assert opened(commands)[0].asked["escalate"] == [
        {"after_ms": 60_000, "to": "mia", "notify": ["ops"]},
        {"after_ms": 120_000, "outcome": "rejected"},
    ]


# --- what a replay knows ------------------------------------------------------------------------------


def mark(generation: int = 0, attempt: int = 1) -> Mark:
    task = str(human_task_id(EXECUTION, 0, generation))
    data: Any = {"step": 0, "attempt": attempt, "task": task}
    return Mark(EventKind.HUMAN_TASK_CREATED, data, 7.0)


def row(status: StepStatus, generation: int = 0, **result: Any) -> StepRecord:
    return StepRecord(0, -1, generation, 1, int(status), False, 1.0, result)


def again(rows: Any, *marks: Mark, generation: int = 0, retries: Any = ()) -> Any:
    begin = Mark(EventKind.EXECUTION_STARTED)
    run = RunInfo(EXECUTION, {"n": 7, "who": "bob"}, generation)
    return rebuild(Program.of(plan()), run, rows, retries, marks=(*marks, begin))


def test_a_replay_waits_for_the_task_and_opens_none():
    rebuilt = again([], mark())

    assert (rebuilt.state.tasks, rebuilt.waiting) == ({0: TASK}, {0: 7.0})
    assert (rebuilt.state.busy, rebuilt.state.running) == (1, 0)
    assert proceed(rebuilt.state) == []


def test_a_replay_forgets_the_task_whose_end_has_a_row():
    rebuilt = again([row(StepStatus.COMPLETED, output=YES)], mark())

    assert (rebuilt.state.tasks, rebuilt.state.outputs) == ({}, {0: YES})


def test_a_replay_of_what_stops_waits_for_no_answer():
    stop = Mark(EventKind.EXECUTION_CANCEL_REQUESTED, {"actor": ANN, "reason": None})

    rebuilt = again([], mark(), stop)

    assert rebuilt.state.tasks == {}
    assert kinds(proceed(rebuilt.state)) == [EventKind.EXECUTION_CANCELLED]


def test_the_next_generation_opens_another_task_and_keeps_an_answer():
    retried = Mark(EventKind.EXECUTION_RETRIED, {"from_failed_step": True})
    open_ = again([], mark(), retried, generation=1, retries=[retried.data])
    kept = again(
        [row(StepStatus.COMPLETED, output=YES)],
        mark(),
        retried,
        generation=1,
        retries=[retried.data],
    )

    assert open_.state.tasks == {}
    assert [one.task for one in opened(proceed(open_.state))] == [human_task_id(EXECUTION, 0, 1)]
    assert (kept.state.status[0], opened(proceed(kept.state))) == (StepStatus.COMPLETED, [])
