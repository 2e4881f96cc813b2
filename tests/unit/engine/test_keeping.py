"""Steps that a rewind keeps, in the core: they hold back what is behind them, end in their turn, and call nobody."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.engine.keeping import called_in, kept_until
from runtime.engine.rewinding import rewound_to
from runtime.model.checkpoint import Mark
from runtime.model.event import EventKind as E
from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.plans import plan_of
from tests.unit.engine.test_undoing import NO, Played

CHAIN: dict[str, Any] = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}


def rewound(one: Played, key: str, *keep: str) -> Played:
    told = rewound_to(one.plan, one.number(key))
    return one.begun_again(E.EXECUTION_REWOUND, {**told, "keep": [*map(one.number, keep)]})


def chain() -> Played:
    return Played(plan_of(CHAIN)).ok("a", "b", "c", "d")


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_kept_step_ends_in_its_turn_and_nothing_behind_it_begins_before(is_lost: bool):
    one = rewound(chain(), "b", "c")
    assert one.begun == ["b"]
    assert one.state.status[2] == StepStatus.PENDING
    assert (2, -1) not in one.past.steps

    if is_lost:
        one.lost()
    one.ok("b")

    assert one.begun == ["d"]
    assert one.state.outputs[2] == "out of c"
    source = {"execution": str(one.info.id), "step": "c", "generation": 0}
    assert one.told(E.STEP_COMPLETED)[-1]["cached_from"] == source
    assert one.past.steps[2, -1].status is StepStatus.COMPLETED
    if is_lost:
        assert one.lost().begun == ["d"]
    one.ok("d")
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.COMPLETED


def test_it_is_kept_over_a_retry_and_not_when_all_begins_anew():
    one = rewound(chain(), "b", "c").bad("b", NO)
    one.tell()

    one.retried()
    assert one.ok("b").begun == ["d"]
    one.bad("d", NO).tell()
    one.retried(from_failed_step=False)
    assert one.ok("a", "b").begun == ["c"]


def test_it_is_left_out_by_a_condition_as_any_other():
    plan = plan_of(CHAIN, when={"c": "execution.generation == 0"})
    one = rewound(Played(plan).ok("a", "b", "c", "d"), "b", "c").ok("b")

    assert one.state.status[2] == StepStatus.SKIPPED


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        ((), {2: 0}),
        ((Mark(E.EXECUTION_RETRIED, {}),), {2: 0}),
        ((Mark(E.EXECUTION_RETRIED, {"from_failed_step": False}),), {}),
        ((Mark(E.EXECUTION_REWOUND, {"step": 3, "again": [4]}),), {2: 0}),
        ((Mark(E.EXECUTION_REWOUND, {"step": 1, "again": [2]}),), {}),
        ((Mark(E.EXECUTION_REWOUND, {"step": 1, "again": [2], "keep": [2]}),), {2: 1}),
        ((Mark(E.STEP_COMPENSATED, {"step": 2}),), {}),
        ((Mark(E.STEP_COMPENSATED, {"step": 1, "again": [2]}),), {}),
    ],
)
def test_how_long_a_step_is_kept(later: tuple[Mark, ...], kept: dict[int, int]):
    first = Mark(E.EXECUTION_REWOUND, {"step": 1, "again": [2], "keep": [2]})

    assert kept_until([first, *later]) == kept


def test_whose_call_gave_an_output_is_read_from_its_row():
    assert called_in({"cached_from": {"generation": 1}}, 3) == 1
    others: Any = ({"cached_from": {"execution": "x"}}, {}, None)
    for other in others:
        assert called_in(other, 3) == 3
