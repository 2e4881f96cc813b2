"""A rewind in the core: what runs again, what is kept; a rebuild, the past and a preview mean the same steps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.generation_preview import preview
from runtime.engine.replay import rebuild
from runtime.engine.rewinding import rests_on, rewound_to
from runtime.engine.undoing import renewed_by
from runtime.model.checkpoint import COMPLETED_ITEMS, ExecutionHistory, Mark, StepRecord
from runtime.model.event import EventKind as E
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.generation_preview import GenerationPreview, PreviewAction
from runtime.model.plan import Effect
from runtime.model.values import Digest
from tests.support.plans import plan_of
from tests.unit.engine.test_routes import after, case, route
from tests.unit.engine.test_undoing import NO, Played, saga

DIAMOND: dict[str, Any] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}
ROUTED: Any = [
    {"id": "ask", "uses": "core.fail@1", "with": {"message": "no"}, "on_error": {"goto": "rescue"}},
    {"id": "usual", "uses": "core.noop@1", "depends_on": ["ask"]},
    {"id": "rescue", "uses": "core.noop@1", "depends_on": ["ask"]},
    route(case("params.n > 0", "left"), depends_on=["usual"], **{"else": "right"}),
    after("left", "route", uses="core.noop@1"),
    after("right", "route", uses="core.noop@1"),
]


def completed(**more: Any) -> Played:
    return Played(plan_of(DIAMOND, **more)).ok("a", "e", "b", "c", "d")


def foreseen(one: Played, key: str) -> GenerationPreview:
    told = Mark(E.EXECUTION_REWOUND, rewound_to(one.plan, one.number(key)))
    history = ExecutionHistory(tuple(one.rows), marks=tuple(one.marks))
    return preview(one.program, one.info, history, told, effect_of=lambda _step: Effect.IDEMPOTENT)


def runs(found: GenerationPreview) -> list[str]:
    return [step.key for step in found.steps if step.action is PreviewAction.RUN]


@pytest.mark.parametrize(
    ("key", "behind"),
    [("a", "bcd"), ("b", "d"), ("c", "d"), ("d", ""), ("e", "")],
)
def test_a_step_and_what_rests_on_it_run_again_and_everything_else_is_kept(key: str, behind: str):
    one = completed()
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.COMPLETED
    before = foreseen(one, key)

    one.rewound(key)

    begun = [*one.begun]
    while one.begun:
        begun_now = one.begun
        for step in begun_now:
            one.ok(step)
            begun += one.begun
    assert begun == sorted(set(begun))
    assert runs(before) == begun == sorted({key, *behind})
    assert one.finish is not None
    assert one.finish.status is ExecutionStatus.COMPLETED


def test_every_way_that_leads_on_counts_taken_or_not():
    plan = compile_plan({"name": "x", "steps": ROUTED}, Digest.of(b"routed"))
    keys = [step.key for step in plan.steps]

    assert [keys[one] for one in rests_on(plan, keys.index("route"))] == ["left", "right"]
    assert [keys[one] for one in rests_on(plan, 0)] == keys[1:]
    assert rewound_to(plan, 3)["again"] == [*rests_on(plan, 3)]


def test_what_failed_elsewhere_runs_again_too():
    one = Played(plan_of(DIAMOND)).ok("a", "b").bad("e", NO)
    one.tell()

    assert runs(foreseen(one, "b")) == ["b", "c", "d", "e"]
    assert one.rewound("b").state.status[0] == StepStatus.COMPLETED


def test_a_takeover_after_a_rewind_makes_the_same_state_again():
    one = completed().rewound("b").ok("b")

    one.lost()

    assert one.begun == ["d"]
    assert one.past.steps[1, -1].status is StepStatus.COMPLETED


def test_the_past_knows_what_a_rewind_took_back():
    one = completed()
    assert one.past.status is ExecutionStatus.COMPLETED

    one.rewound("c")
    shown = one.past

    assert {step for step, _ in shown.steps} == {0, 1, 2, 4}
    assert shown.steps[2, -1].status is StepStatus.RUNNING
    assert shown.generation == 1


def test_outputs_of_the_generation_before_are_those_of_what_is_kept():
    one = completed().rewound("d")

    assert one.state.outputs == {0: "out of a", 1: "out of b", 2: "out of c", 4: "out of e"}


def test_a_rewind_after_another_one_counts_from_the_newest_ends():
    one = completed().rewound("b").ok("b").bad("d", NO)

    assert runs(foreseen(one, "d")) == ["d"]
    assert one.rewound("a").begun == ["a"]
    assert one.ok("a").begun == ["b", "c"]


def test_a_retry_keeps_what_the_rewind_had_kept_and_not_what_it_took_back():
    one = completed().rewound("a").bad("a", NO)

    one.retried()

    assert one.begun == ["a"]
    assert one.state.status[4] == StepStatus.COMPLETED


def test_what_was_undone_runs_again_where_a_rewind_is_to_a_later_step():
    one = saga().ok("a", "b", "c").bad("d").ok("c:compensate", "b:compensate", "a:compensate")

    assert runs(foreseen(one, "d")) == ["a", "b", "c", "d"]


def test_a_step_is_undone_for_what_it_did_in_the_newest_generation():
    one = Played(plan_of({"a": [], "b": ["a"]}, compensate={"a": {}})).ok("a", "b")

    one.rewound("a").ok("a").bad("b", NO)

    assert one.begun == ["a:compensate"]
    one.ok("a:compensate")
    assert one.undone == ["a"]


def test_what_counts_no_more_says_up_to_which_generation():
    marks = [
        Mark(E.EXECUTION_REWOUND, {"step": 1, "again": [3]}),
        Mark(E.EXECUTION_RETRIED, {"from_failed_step": True}),
        Mark(E.EXECUTION_REWOUND, {"step": 3, "again": []}),
    ]

    assert renewed_by(marks).before == {1: 0, 3: 2}
    assert renewed_by(marks).now == set()


def test_of_a_map_that_is_rewound_no_item_is_kept():
    each: dict[str, Any] = {
        "id": "each", "type": "map", "for_each": [0] * 4, "task": {"uses": "core.noop@1"},
    }  # fmt: skip
    plan = compile_plan({"name": "x", "steps": [each]}, Digest.of(json.dumps(each).encode()))
    done = StepRecord(0, COMPLETED_ITEMS, 0, 0, StepStatus.COMPLETED, False, 0.0, [[0, 4]])
    ended = StepRecord(0, -1, 0, 1, StepStatus.COMPLETED, False, 0.0, {"in": "sha256:00"})
    one = Played(plan)
    opened = Mark(E.MAP_OPENED, {"step": 0, "attempt": 1, "items": 4})
    told = Mark(E.EXECUTION_REWOUND, rewound_to(plan, 0))

    state = rebuild(
        one.program, one.info._replace(generation=1), [ended, done], [told.data],
        is_begun=False, marks=[opened, told],
    ).state  # fmt: skip

    assert (state.kept, state.status[0]) == ({}, StepStatus.PENDING)
