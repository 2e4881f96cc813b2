"""The book of one execution: what belongs together is committed together, however much there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.engine.advance import advance
from runtime.engine.command import RecordStep, StartChild
from runtime.engine.event import Facts, Signal, SignalReceived, Started, StepSucceeded
from runtime.model.checkpoint import Checkpoint, ChildRow
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.plan import StepKind, WaitPlan
from runtime.worker import run as under_test
from runtime.worker.admission import owned_of
from runtime.worker.prepared import PreparedProgram
from runtime.worker.run import Run
from tests.make import TENANT, new_id, now
from tests.support.plans import plan_of, state_of

# What is a large batch is replaced here, and an execution is anything that has its attributes.
pytestmark = pytest.mark.interpreted
ENDS = {EventKind.STEP_COMPLETED: StepStatus.COMPLETED, EventKind.STEP_SKIPPED: StepStatus.SKIPPED}


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many rows are a large batch here."""
    monkeypatch.setattr(under_test, "MAX_ROWS", 3)


def a_run(graph: dict[str, list[str]], **more: Any) -> Run:
    """An execution of this graph, begun."""
    state = state_of(plan_of(graph, **more))
    born: Any = type("Born", (), {"id": new_id(), "tenant_id": TENANT, "at": now()})()
    for name in ("workflow_id", "version_id", "region", "timeout_seconds"):
        setattr(born, name, None)
    born.namespace, born.priority, born.input, born.meta = "default", 0, "{}", "{}"
    run = Run(owned_of(born), PreparedProgram(state.program, ()), state)
    run.take_in(advance(state, Started("test")))
    run.checkpoints()
    run.flushed()
    return run


def torn(parts: list[Checkpoint]) -> list[int]:
    """Steps whose row and whose event of the end are not in the same checkpoint."""
    found = []
    for part in parts:
        rows = {(row.step, row.status) for row in part.steps}
        told = {
            (int((event.data or "").split('"step":')[1].split(",")[0]), int(ENDS[kind]))
            for event in part.events
            if (kind := EventKind(event.kind)) in ENDS
        }
        found += [step for step, _ in rows ^ told]
    return found


def test_a_row_and_its_event_are_committed_together_when_many_steps_end_at_once():
    """Else a crash in between leaves a step that has ended and of whose end nobody is ever told."""
    run = a_run({key: [] for key in "abcdefgh"})

    for step in range(7):
        run.take_in(advance(run.state, StepSucceeded(step, 1, step, Facts(0.0, str(step)))))
    parts = run.checkpoints()

    assert [len(part.steps) for part in parts] == [3, 3, 1]
    assert torn(parts) == []


def test_steps_that_one_decision_leaves_out_go_in_parts_and_what_follows_waits_for_the_last():
    graph: dict[str, list[str]] = {"a": [], **{f"s{n}": ["a"] for n in range(8)}, "z": ["a"]}
    run = a_run(graph, when={f"s{n}": "{{ false }}" for n in range(8)})

    now_due = run.take_in(advance(run.state, StepSucceeded(0, 1, None)))
    parts = run.checkpoints()

    assert now_due == []
    assert [len(part.steps) for part in parts] == [3, 3, 3]
    assert torn(parts) == []
    after = [[type(one).__name__ for one in run.flushed().after] for _ in parts[:-1]]
    assert after == [[], []]
    assert [one.step for one in run.flushed().after] == [9]


def test_a_message_is_deleted_with_all_that_it_led_to():
    """Three rows wait already when a signal comes: it must not go with them, before its step has its row."""
    wait = {"w": {"kind": StepKind.WAIT, "uses": None, "wait": WaitPlan(signal="go")}}
    run = a_run({**{key: [] for key in "abc"}, "w": []}, steps=wait)
    for step in range(2):
        run.take_in(advance(run.state, StepSucceeded(step, 1, None)))
    run.inbox_read.append(1)

    run.take_in(advance(run.state, SignalReceived(Signal(1, "go", None, Facts(0.0)))))
    run.take_in(advance(run.state, StepSucceeded(2, 1, None)))
    first, *rest = run.checkpoints()

    assert first.inbox_read == (1,)
    assert [row.step for row in first.steps] == [0, 1, 3]
    assert {EventKind.SIGNAL_RECEIVED, EventKind.STEP_COMPLETED} <= {e.kind for e in first.events}
    assert torn([first, *rest]) == []


def test_what_items_give_is_in_their_rows_and_weighs_nothing():
    run = a_run({"a": []})
    before, facts = run.weight, Facts(0.0, '"' + "x" * 1_000 + '"')

    run.take_in([RecordStep(0, 1, StepStatus.COMPLETED, facts=facts, item=7)])
    assert run.weight == before
    run.take_in([RecordStep(0, 1, StepStatus.COMPLETED, facts=facts)])
    assert run.weight > before + 1_000


@pytest.mark.parametrize(
    ("meta", "starts", "is_one"),
    [({}, False, False), ({"parent": "x"}, False, True), ({"children": True}, False, True), ({}, True, True)],
)  # fmt: skip
def test_an_end_says_whether_it_is_one_of_a_family(
    meta: dict[str, Any], starts: bool, is_one: bool
):
    """Its rows are locked in order then; what changes no row of an execution goes the short way."""
    run = a_run({"a": [], "b": ["a"]})
    run.owned = run.owned._replace(meta=meta)
    if starts:
        run.found[0] = cast("ChildRow", SimpleNamespace(id=new_id(), priority=0, size=1))
        run.take_in([StartChild(0, 1)])
        run.checkpoints()

    run.take_in(advance(run.state, StepSucceeded(0, 1, None)))
    [step] = run.checkpoints()
    run.take_in(advance(run.state, StepSucceeded(1, 1, None)))
    [end] = run.checkpoints()

    assert (step.in_family, step.closing) == (False, None)
    assert (end.in_family, end.closing is not None) == (is_one, True)
