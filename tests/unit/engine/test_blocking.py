"""Why a step is not running: a fixture for each cause, with since when, until when, and what would free it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from runtime.engine.blocking import Blocking
from runtime.model.blocker import BlockCause, Blocker, Lane, RunningLimit, Standing, foremost
from runtime.model.event import EventKind as K
from runtime.model.event import ExecutionEvent
from runtime.model.execution import (
    Execution,
    ExecutionError,
    ExecutionStatus,
    StepStatus,
    TriggerKind,
    WaitKind,
)
from runtime.model.identity import SYSTEM, Actor
from runtime.model.plan import InDoubt, Plan
from runtime.model.route import Join, Routes
from tests.support.effort import effort
from tests.support.plans import EXECUTION, plan_of

C, S, E = BlockCause, StepStatus, ExecutionStatus
ANN: Any = {"subject": "ann", "kind": "user"}
BEGIN = datetime.fromisoformat("2026-01-01T12:00:00Z")
CHAIN = plan_of({"a": [], "b": ["a"]})


def second(number: float) -> datetime:
    return BEGIN + timedelta(seconds=number)


def step(index: int = 0, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {"step": index, "key": "abc"[index], "item": -1, "attempt": attempt, **more}


def why(
    *told: Any,
    of: int = 0,
    status: StepStatus = S.READY,
    plan: Plan = CHAIN,
    queued: Any = None,
    standing: Standing | None = None,
    execution: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """The cause by events of which one is told each second, asked at second 60."""
    known = Execution(
        EXECUTION, EXECUTION, EXECUTION, EXECUTION, E.RUNNING, "default", 0, 0, BEGIN, SYSTEM, TriggerKind.API,
    )  # fmt: skip
    events = [
        ExecutionEvent(EXECUTION, EXECUTION, number + 1, kind, second(number), data)
        for number, (kind, data) in enumerate(((K.EXECUTION_QUEUED, queued or {}), *told))
    ]
    blocking = Blocking(plan, replace(known, **execution), events)
    return blocking.of(of, status, standing or Standing(second(60), worker="w1"))


STARTED = (K.EXECUTION_STARTED, {"worker": "w1"})
PAUSED = (K.EXECUTION_PAUSED, {"actor": ANN, "reason": "stocktaking"})
WAITING = (K.EXECUTION_WAITING, {"wait": "timer", "wake_in_ms": 600_000})
RETRYING = (
    K.STEP_RETRYING,
    step(delay_ms=90_000, error={"type": "Busy", "message": "later."}),
)
OPEN = {"type": "breaker.open", "message": "no", "details": {"target": "https://shop"}}
LIMITED = plan_of({"a": [], "b": []}, max_parallel_steps=1)
ASKING = plan_of({"a": []}, steps={"a": {"in_doubt": InDoubt.ASK}})
TAGGED = plan_of({"a": []}, steps={"a": {"runs_on": ("eu", "gpu")}})
BEGUN = (K.STEP_STARTED, step())
ASKED: dict[str, Any] = {
    "task": str(UUID(int=5)),
    "assignees": ["ann"],
    "candidate_groups": ["finance"],
    "quorum": 2,
}
NONE: dict[str, Any] = {}

# The events, what else there is, and: cause, since which second, until which, details.
FIXTURES: dict[str, Any] = {
    "dependency": (
        [STARTED, BEGUN],
        {"of": 1, "status": S.PENDING},
        (C.DEPENDENCY, 0, None, {"steps": ("a",)}),
    ),
    "timer": (
        [STARTED, BEGUN, (K.TIMER_SET, step(for_ms=90_000)), WAITING],
        {"status": S.WAITING, "execution": {"status": E.WAITING}},
        (C.TIMER, 3, 93, NONE),
    ),
    "an instant": (
        [STARTED, BEGUN, (K.TIMER_SET, step(until="2026-01-01T13:00:00+00:00"))],
        {"status": S.WAITING},
        (C.TIMER, 3, 3_600, NONE),
    ),
    "signal": (
        [STARTED, BEGUN, (K.SIGNAL_AWAITED, step(signal="paid"))],
        {"status": S.WAITING},
        (C.SIGNAL, 3, None, {"signal": "paid"}),
    ),
    "signal with a timeout": (
        [STARTED, BEGUN, (K.SIGNAL_AWAITED, step(signal="paid")), (K.TIMER_SET, step(for_ms=90_000))],
        {"status": S.WAITING},
        (C.SIGNAL, 3, 94, {"signal": "paid"}),
    ),
    "child": (
        [STARTED, BEGUN, (K.CHILD_STARTED, step(child="c", workflow="w", version="1.0.0")), WAITING],
        {"status": S.WAITING, "execution": {"status": E.WAITING, "wait": WaitKind.CHILD_EXECUTION}},
        (C.CHILD, 3, None, NONE),
    ),
    "child that is told to stop": (
        [
            STARTED, BEGUN, (K.CHILD_STARTED, step(child="c", workflow="w", version="1.0.0")),
            (K.EXECUTION_CANCEL_REQUESTED, {"actor": ANN, "reason": None}), WAITING,
        ],
        {"status": S.WAITING, "execution": {"status": E.WAITING, "wait": WaitKind.CHILD_EXECUTION}},
        (C.CHILD, 3, None, NONE),
    ),
    "child that has ended": (
        [STARTED, BEGUN, (K.CHILD_STARTED, step(child="c", workflow="w", version="1.0.0")), WAITING],
        {"status": S.WAITING, "execution": {"status": E.QUEUED},
         "standing": Standing(second(60), told_at=second(50))},
        (C.QUEUE, 50, None, {"position": None}),
    ),
    "person": (
        [STARTED, BEGUN, (K.HUMAN_TASK_CREATED, step(**ASKED, expires_in_ms=90_000)), WAITING],
        {"status": S.WAITING, "execution": {"status": E.WAITING, "wait": WaitKind.HUMAN_TASK}},
        (C.PERSON, 3, 93, {"task": UUID(int=5), "assignees": ("ann",), "candidate_groups": ("finance",)}),
    ),
    "person who has answered": (
        [STARTED, BEGUN, (K.HUMAN_TASK_CREATED, step(**ASKED)), WAITING],
        {"status": S.WAITING, "execution": {"status": E.QUEUED},
         "standing": Standing(second(60), told_at=second(50))},
        (C.QUEUE, 50, None, {"position": None}),
    ),
    "person whose answer does not count any more": (
        [
            STARTED, BEGUN, (K.HUMAN_TASK_CREATED, step(**ASKED)),
            (K.EXECUTION_CANCEL_REQUESTED, {"actor": ANN, "reason": None}),
        ],
        {"status": S.WAITING},
        (C.STOPPING, 4, None, NONE),
    ),
    "retry": (
        [STARTED, BEGUN, RETRYING],
        {"status": S.RETRYING},
        (C.RETRY, 3, 93, {"attempt": 2}),
    ),
    "breaker": (
        [STARTED, BEGUN, (K.STEP_RETRYING, step(delay_ms=90_000, error=OPEN))],
        {"status": S.RETRYING},
        (C.BREAKER, 3, 93, {"target": "https://shop", "attempt": 2}),
    ),
    "in doubt": (
        [STARTED, BEGUN, (K.STEP_IN_DOUBT, step(error={"type": "step.timeout", "message": "cut"}))],
        {"status": S.IN_DOUBT, "plan": ASKING},
        (C.IN_DOUBT, 3, None, {"attempt": 1}),
    ),
    "paused": (
        [STARTED, PAUSED],
        {},
        (C.PAUSED, 2, None, {"actor": Actor("ann"), "reason": "stocktaking"}),
    ),
    "paused, its delay over": (
        [STARTED, BEGUN, (K.STEP_RETRYING, step(delay_ms=20_000, error=OPEN)), PAUSED],
        {"status": S.RETRYING},
        (C.PAUSED, 23, None, NONE),
    ),
    "paused, its signal there": (
        [
            STARTED, BEGUN, (K.SIGNAL_AWAITED, step(signal="paid")), PAUSED,
            (K.SIGNAL_RECEIVED, {"n": 1, "name": "paid", "actor": ANN}),
        ],
        {"status": S.WAITING},
        (C.PAUSED, 5, None, NONE),
    ),
    "parallelism": (
        [STARTED, BEGUN],
        {"of": 1, "plan": LIMITED},
        (C.PARALLELISM, 2, None, {"steps": ("a",)}),
    ),
    "scheduled": (
        [],
        {"execution": {"status": E.WAITING, "wait": WaitKind.TIMER},
         "queued": {"wake_at": "2026-01-01T13:00:00+00:00"}},
        (C.SCHEDULED, 0, 3_600, NONE),
    ),
    "queue": (
        [],
        {"execution": {"status": E.QUEUED}, "standing": Standing(second(60), position=7)},
        (C.QUEUE, 0, None, {"position": 7}),
    ),
    "queue, by a message": (
        [STARTED, BEGUN, (K.SIGNAL_AWAITED, step(signal="paid")), WAITING],
        {"of": 1, "plan": plan_of({"a": [], "b": []}), "execution": {"status": E.QUEUED},
         "standing": Standing(second(60), told_at=second(50))},
        (C.QUEUE, 50, None, {"position": None}),
    ),
    "worker missing": (
        [],
        {"execution": {"status": E.QUEUED}, "standing": Standing(second(60), workers=0)},
        (C.WORKER, 0, None, {"worker": None}),
    ),
    "worker lost": (
        [STARTED, BEGUN],
        {"status": S.RUNNING,
         "standing": Standing(second(60), worker="w1", is_lost=True, lost_at=second(55))},
        (C.WORKER, 55, None, {"worker": "w1"}),
    ),
    "quarantine": (
        [STARTED, BEGUN, (K.EXECUTION_TAKEN_OVER, {"worker": None, "losses": 2})],
        {"execution": {"status": E.QUEUED}, "standing": Standing(second(60), losses=2)},
        (C.QUARANTINE, 3, None, NONE),
    ),
    "concurrency": (
        [],
        {"execution": {"status": E.WAITING, "wait": WaitKind.CONCURRENCY_LIMIT},
         "standing": Standing(second(60), lane=Lane("k", 1, (EXECUTION,), 3))},
        (C.CONCURRENCY, 0, None, {"concurrency_key": "k", "holders": (EXECUTION,), "position": 3}),
    ),
    "concurrency, a place is free": (
        [],
        {"execution": {"status": E.WAITING, "wait": WaitKind.CONCURRENCY_LIMIT},
         "standing": Standing(second(60), workers=0, lane=Lane("k", 2, (), None))},
        (C.CONCURRENCY, 0, None, {"holders": (), "position": None}),
    ),
    "running limit": (
        [],
        {"execution": {"status": E.QUEUED},
         "standing": Standing(second(60), position=4, limit=RunningLimit(2, 2, is_of_workflow=True))},
        (C.RUNNING_LIMIT, 0, None, {"limit": 2, "running": 2, "position": 4}),
    ),
    "worker tags": (
        [STARTED, (K.EXECUTION_WAITING, {"wait": "worker_tags", "tags": [["eu", "gpu"]]})],
        {"plan": TAGGED, "execution": {"status": E.WAITING, "wait": WaitKind.WORKER_TAGS}},
        (C.WORKER_TAGS, 2, None, {"tags": ("eu", "gpu"), "worker": None}),
    ),
    "worker tags of its owner": (
        [STARTED, BEGUN],
        {"of": 0, "plan": TAGGED, "standing": Standing(second(60), worker="w1", tags=frozenset({"eu"}))},
        (C.WORKER_TAGS, 0, None, {"tags": ("eu", "gpu"), "worker": "w1"}),
    ),
    "starting": ([STARTED], {}, (C.STARTING, 0, None, {"worker": "w1"})),
    "starting, after its needs": (
        [STARTED, BEGUN, (K.STEP_COMPLETED, step())],
        {"of": 1},
        (C.STARTING, 3, None, NONE),
    ),
    "stopping": (
        [STARTED, BEGUN, (K.EXECUTION_CANCEL_REQUESTED, {"actor": ANN, "reason": None})],
        {"of": 1, "status": S.PENDING},
        (C.STOPPING, 3, None, {"steps": ("a",), "actor": Actor("ann")}),
    ),
    "ended": (
        [STARTED, BEGUN, (K.STEP_FAILED, step(error={"type": "X", "message": "no"}))],
        {"of": 1, "status": S.PENDING,
         "execution": {"status": E.FAILED, "finished_at": second(3),
                       "error": ExecutionError("X", "no", step_key="a")}},
        (C.ENDED, 3, None, {"steps": ("a",)}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXTURES)
def test_a_cause_says_since_when_until_when_and_what_frees_it(name: str):
    told, about, (cause, since, until, details) = FIXTURES[name]

    blocker = why(*told, **about)

    assert blocker is not None
    until_at = None if until is None else second(until)
    assert (blocker.cause, blocker.since, blocker.until) == (cause, second(since), until_at)
    assert {field: getattr(blocker, field) for field in details} == details
    assert blocker.summary.endswith(".")
    assert blocker.frees.endswith(".")


def test_every_cause_has_its_fixture():
    assert {wanted[0] for _, _, wanted in FIXTURES.values()} == set(BlockCause)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (S.RUNNING, [STARTED, BEGUN]),
        (S.COMPLETED, [STARTED, BEGUN, (K.STEP_COMPLETED, step())]),
        (S.SKIPPED, [STARTED, (K.STEP_SKIPPED, step())]),
        (S.FAILED, [STARTED, BEGUN, (K.STEP_FAILED, step(error=OPEN))]),
        # Given up: it stays in doubt, and nobody looks at it again.
        (
            S.IN_DOUBT,
            [STARTED, BEGUN, (K.STEP_IN_DOUBT, step()), (K.STEP_DOUBT_SETTLED, step(error=OPEN))],
        ),
    ],
)
def test_what_runs_or_is_over_has_no_cause(status: StepStatus, told: list[Any]):
    assert why(*told, status=status) is None


def test_a_step_waits_for_its_own_before_it_waits_for_the_end_of_a_pause():
    paused = [STARTED, BEGUN, RETRYING, PAUSED]

    assert why(*paused, status=S.RETRYING).cause is C.RETRY
    late = Standing(second(93), worker="w1")
    assert why(*paused, status=S.RETRYING, standing=late).cause is C.PAUSED
    resumed = [*paused, (K.EXECUTION_RESUMED, {"actor": ANN})]
    assert why(*resumed, status=S.RETRYING, standing=late).cause is C.STARTING


def test_a_join_names_only_what_it_still_waits_for():
    plan = plan_of(
        {"a": [], "b": [], "c": ["a", "b"]},
        routes=Routes(joins={2: Join(wants=2)}, followed=frozenset({0, 1})),
    )

    blocker = why(STARTED, BEGUN, (K.STEP_COMPLETED, step()), of=2, status=S.PENDING, plan=plan)

    assert blocker.steps == ("b",)
    assert "2 of its steps" in blocker.summary


def test_of_many_steps_that_are_waited_for_the_first_are_named_and_all_are_counted():
    graph: dict[str, list[str]] = {f"s{number}": [] for number in range(25)}
    plan = plan_of({**graph, "end": list(graph)})

    blocker = why(STARTED, of=25, status=S.PENDING, plan=plan)

    assert len(blocker.steps) == 20
    assert "and 5 more" in blocker.summary


def test_a_new_generation_begins_to_wait_anew():
    told = [STARTED, PAUSED, (K.EXECUTION_CANCELLED, {}), (K.EXECUTION_RETRIED, {}), STARTED]

    blocker = why(*told, of=1, status=S.PENDING)

    assert (blocker.cause, blocker.since) == (C.DEPENDENCY, second(4))


def test_of_an_execution_the_cause_counts_that_ends_first():
    def one(cause: BlockCause, until: float | None = None) -> Blocker:
        return Blocker(cause, cause.value, BEGIN, "", "", None if until is None else second(until))

    waits = [one(C.DEPENDENCY), one(C.SIGNAL), one(C.TIMER, 50), one(C.RETRY, 20)]

    assert foremost(waits) is waits[3]
    assert foremost(waits[:2]) is waits[1]
    assert foremost([]) is None


def test_causes_of_all_steps_take_linear_effort():
    """A caller may ask for those of 20,000 steps at once, and whoever answers it answers nobody else meanwhile."""
    count, places = 6_000, 200
    wide = plan_of({f"s{one}": [] for one in range(count)}, max_parallel_steps=places)
    begun = [
        ExecutionEvent(
            EXECUTION, EXECUTION, 2 + one, K.STEP_STARTED, second(1), step(one % 3) | {"step": one}
        )
        for one in range(places)
    ]
    known = Execution(
        EXECUTION, EXECUTION, EXECUTION, EXECUTION, E.RUNNING, "default", 0, 0, BEGIN, SYSTEM, TriggerKind.API,
    )  # fmt: skip
    stop = ExecutionEvent(
        EXECUTION, EXECUTION, 900, K.EXECUTION_CANCEL_REQUESTED, second(2), {"actor": ANN}
    )
    queued = ExecutionEvent(EXECUTION, EXECUTION, 1, K.EXECUTION_QUEUED, BEGIN, {})

    for more, cause in (([], C.PARALLELISM), ([stop], C.STOPPING)):
        blocking = Blocking(wide, known, [queued, *begun, *more])
        with effort() as spent:
            causes = {
                found.cause
                for one in range(places, count)
                if (found := blocking.of(one, S.READY, Standing(second(60), worker="w1")))
            }
        assert causes == {cause}
        assert spent.seconds < 2


def test_causes_of_all_that_undoes_steps_take_linear_effort():
    """As they are asked for in the middle of it: half of the steps have been undone."""
    count = 6_000
    keys = [f"s{one}" for one in range(count)]
    plan = plan_of({key: [] for key in keys}, compensate={key: {} for key in keys})
    known = Execution(
        EXECUTION, EXECUTION, EXECUTION, EXECUTION, E.RUNNING, "default", 0, 0, BEGIN, SYSTEM, TriggerKind.API,
    )  # fmt: skip
    order = [*reversed(range(count))]
    told: list[tuple[K, Any]] = [
        (K.EXECUTION_COMPENSATING, {"status": "failed", "steps": order, "keys": []})
    ]
    told += [
        (K.STEP_COMPLETED, {"step": count + one, "item": -1, "attempt": 1})
        for one in order[: count // 2]
    ]
    events = [
        ExecutionEvent(EXECUTION, EXECUTION, number, kind, second(1), data)
        for number, (kind, data) in enumerate([(K.EXECUTION_QUEUED, {}), *told], 1)
    ]
    blocking, now = Blocking(plan, known, events), order[count // 2]
    with effort() as spent:
        found = [
            blocking.of(count + one, S.PENDING, Standing(second(60), worker="w1"))
            for one in range(now + 1)
        ]
    assert [one.cause if one else None for one in found] == [C.DEPENDENCY] * now + [C.STARTING]
    assert {one.steps for one in found[:now] if one} == {(f"s{now}:compensate",)}
    assert spent.seconds < 2


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ((), "no worker of its shard has these tags"),
        ((frozenset({"eu"}), frozenset({"gpu"})), "no worker of its shard has these tags"),
        ((frozenset({"eu", "gpu", "x"}),), "waits for a worker that has these tags"),
    ],
)
def test_missing_tags_say_whether_some_worker_has_them(fleet: Any, words: str):
    parked = (K.EXECUTION_WAITING, {"wait": "worker_tags", "tags": [["eu", "gpu"]]})
    about: Any = {"status": E.WAITING, "wait": WaitKind.WORKER_TAGS}
    standing = Standing(second(60), workers=0, fleet=fleet)

    blocker = why(STARTED, parked, plan=TAGGED, execution=about, standing=standing)

    assert words in blocker.summary
    assert ("mc worker --tags eu,gpu" in blocker.frees) is ("no worker" in words)


def test_an_owner_with_the_tags_is_about_to_start_it():
    standing = Standing(second(60), worker="w1", tags=frozenset({"eu", "gpu"}))

    assert why(STARTED, plan=TAGGED, standing=standing).cause is C.STARTING
