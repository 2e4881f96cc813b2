"""Worker tags in the core: what may not run here is kept ready for who may, and the rest goes on."""

from __future__ import annotations

from typing import Any

from runtime.definition.compile import compile_plan
from runtime.engine.advance import advance, proceed
from runtime.engine.command import JoinItems, RunStep
from runtime.engine.event import (
    CancelRequested,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Started,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.replay import rebuild
from runtime.engine.state import Phase
from runtime.engine.tags import wanted_tags
from runtime.model.execution import StepStatus
from runtime.model.plan import MapPlan, StepKind
from runtime.model.values import Digest
from tests.support.plans import plan_of, state_of
from tests.unit.engine.test_advance import PERMANENT, TRANSIENT, TWICE, finish, runs
from tests.unit.engine.test_replay import row

GPU: dict[str, Any] = {"runs_on": ("gpu",)}
EU: dict[str, Any] = {"runs_on": ("eu", "gpu")}


def begun(plan, *here):
    state = state_of(plan)
    state.here = frozenset(here)
    return state, advance(state, Started("w1"))


def test_a_step_without_its_tags_stays_pending_and_the_others_run():
    state, commands = begun(plan_of({"a": [], "b": [], "c": ["a"]}, steps={"a": GPU, "c": EU}))

    assert runs(commands) == [1]
    assert state.status[0] == StepStatus.PENDING
    assert not state.is_idle
    advance(state, StepSucceeded(1, 1, None))
    assert state.is_idle
    assert wanted_tags(state) == (("gpu",),)


def test_with_all_its_tags_it_runs_and_one_that_is_missing_is_enough_to_wait():
    plan = plan_of({"a": [], "b": []}, steps={"a": GPU, "b": EU})

    assert runs(begun(plan, "gpu")[1]) == [0]
    assert runs(begun(plan, "gpu", "eu", "x")[1]) == [0, 1]
    assert runs(begun(plan)[1]) == []


def test_several_steps_name_each_set_once():
    steps = {"a": EU, "b": GPU, "c": GPU}
    state, _ = begun(plan_of({"a": [], "b": [], "c": []}, steps=steps))

    assert wanted_tags(state) == (("eu", "gpu"), ("gpu",))


def test_who_has_none_of_a_plan_in_mind_runs_them_all():
    state = state_of(plan_of({"a": []}, steps={"a": GPU}))

    assert runs(advance(state, Started("w1"))) == [0]


def test_it_takes_no_place_while_it_is_not_here():
    plan = plan_of({"a": [], "b": []}, steps={"a": GPU}, max_parallel_steps=1)

    assert runs(begun(plan)[1]) == [1]


def test_a_condition_that_does_not_hold_needs_no_other_worker():
    plan = plan_of({"a": []}, steps={"a": GPU}, when={"a": "1 == 2"})
    _, commands = begun(plan)

    assert finish(commands)


def test_a_retry_that_comes_due_with_a_worker_without_the_tags_waits_for_another():
    plan = plan_of({"a": []}, steps={"a": GPU}, retry={"a": TWICE})
    state, _ = begun(plan, "gpu")
    advance(state, StepFailed(0, 1, TRANSIENT))

    state.here = frozenset()
    assert runs(advance(state, RetryDue(0, 1))) == []
    assert (state.is_idle, state.busy, wanted_tags(state)) == (True, 0, (("gpu",),))

    failed = row(0, StepStatus.FAILED, result={"error": TRANSIENT.as_json(), "retry_in_ms": 0})
    rebuilt = rebuild(state.program, state.run, [failed]).state
    rebuilt.here = frozenset({"gpu"})
    assert runs(advance(rebuilt, RetryDue(0, 1))) == [0]
    assert rebuilt.attempt[0] == 2


def test_the_place_of_a_retry_that_goes_elsewhere_is_taken_at_once():
    """Nothing else may ever happen here: whoever has its tags need not be there."""
    plan = plan_of({"a": [], "b": []}, steps={"a": GPU}, retry={"a": TWICE}, max_parallel_steps=1)
    state, commands = begun(plan, "gpu")
    assert runs(commands) == [0]
    assert runs(advance(state, StepFailed(0, 1, TRANSIENT))) == []

    state.here = frozenset()
    assert runs(advance(state, RetryDue(0, 1))) == [1]
    assert state.status[0] == StepStatus.PENDING


def test_paused_or_stopping_it_asks_for_nobody():
    state, _ = begun(plan_of({"a": []}, steps={"a": GPU}))

    advance(state, PauseRequested({}, ""))
    assert state.is_idle
    advance(state, ResumeRequested({}, ""))
    assert state.is_idle
    assert finish(advance(state, CancelRequested({}, "")))


def test_an_open_map_goes_on_only_where_its_tags_are():
    fan = {**GPU, "kind": StepKind.MAP, "map": MapPlan([1, 2, 3], max_concurrency=1)}
    plan = plan_of({"m": []}, steps={"m": fan}, retry={"m": TWICE})
    state, commands = begun(plan, "gpu")
    assert commands[-1] == RunStep(0, 1, 0)

    state.here = frozenset()
    commands = advance(state, StepSucceeded(0, 1, None, item=0))
    assert not [one for one in commands if isinstance(one, RunStep)]
    assert (state.is_idle, wanted_tags(state)) == (True, (("gpu",),))

    state.here = frozenset({"gpu"})
    assert proceed(state)[-1] == RunStep(0, 1, 1)
    advance(state, StepFailed(0, 1, TRANSIENT, item=1))
    state.here = frozenset()
    assert advance(state, RetryDue(0, 1, 1)) == []
    assert wanted_tags(state) == (("gpu",),)
    state.here = frozenset({"gpu"})
    assert proceed(state)[-1] == RunStep(0, 2, 1)
    advance(state, StepSucceeded(0, 2, None, item=1))
    state.here = frozenset()
    assert isinstance(advance(state, StepSucceeded(0, 1, None, item=2))[-1], JoinItems)


def test_what_undoes_a_step_asks_for_its_tags_as_well():
    plan = compile_plan(
        {"name": "x", "steps": [
            {"id": "a", "uses": "core.noop@1", "runs_on": ["gpu"], "compensate": {"uses": "core.noop@1"}},
            {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]},
            {"id": "c", "uses": "core.noop@1", "depends_on": ["a"], "runs_on": ["eu"]},
        ]},
        Digest("sha256:" + "0" * 64),
    )  # fmt: skip
    state, _ = begun(plan, "gpu")
    advance(state, StepSucceeded(0, 1, None))
    state.here = frozenset()

    advance(state, StepFailed(1, 1, PERMANENT))

    assert (state.phase, state.is_idle) == (Phase.UNDOING, True)
    assert wanted_tags(state) == (("gpu",),)
    state.here = frozenset({"gpu"})
    assert runs(proceed(state)) == [3]
