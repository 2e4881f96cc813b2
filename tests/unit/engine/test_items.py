"""Maps: which items run when, what becomes of a failure, and that a rebuild goes on where it was."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from runtime.definition import compile_plan
from runtime.engine.advance import advance, proceed
from runtime.engine.command import (
    Command,
    Finish,
    JoinItems,
    LoadBlob,
    LookUp,
    RecordEvent,
    RecordStep,
    RunStep,
    ScheduleRetry,
    StopStep,
)
from runtime.engine.event import (
    BlobLoaded,
    CancelRequested,
    DoubtJudged,
    ItemsJoined,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Started,
    StepDeferred,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.program import Program
from runtime.engine.replay import Rebuilt, rebuild
from runtime.engine.retry import idempotency_key
from runtime.engine.state import ExecutionState, Phase, RunInfo
from runtime.model.blob import BlobRef
from runtime.model.checkpoint import COMPLETED_ITEMS, Mark, StepRecord
from runtime.model.errors import StepErrorKind
from runtime.model.event import MARKS, EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import MAX_ITEMS, Effect
from runtime.model.values import Digest
from tests.support.plans import EXECUTION

BROKEN = StepError("Broken", "it broke")
BUSY = StepError("Busy", "later", StepErrorKind.TRANSIENT)
CUT = StepError("step.timeout", "too late", StepErrorKind.TIMEOUT)


class Played:
    """An execution told by hand; what it records is kept as rows and marks."""

    def __init__(self, *steps: dict[str, Any], params: Any = None, **top: Any):
        definition: dict[str, Any] = {"name": "x", "steps": list(steps), **top}
        self.plan = compile_plan(definition, Digest.of(json.dumps(definition).encode()))
        self.params = params or {}
        self.rows: list[StepRecord] = []
        self.marks: list[Mark] = []
        self.events: list[tuple[EventKind, Any]] = []
        self.commands: list[Command] = []
        self.finish: Finish | None = None
        self.begin(0)

    def begin(self, generation: int) -> None:
        self.run = RunInfo(EXECUTION, self.params, generation)
        self.state = ExecutionState(Program.of(self.plan), self.run)
        self.note(advance(self.state, Started("w")))

    def note(self, commands: list[Command]) -> None:
        self.commands = commands
        for one in commands:
            match one:
                case RecordStep():
                    row = self._row(one)
                    self.rows.append(row)
                case RecordEvent():
                    self.events.append((one.kind, one.data))
                    if one.kind in MARKS:
                        self.marks.append(Mark(one.kind, one.data))
                case Finish():
                    self.finish = one
                case _:
                    pass

    def _row(self, one: RecordStep) -> StepRecord:
        result: dict[str, Any] = {"output": json.loads(one.facts.output)}
        if one.error is not None:
            result = {"error": one.error.as_json()}
        result |= {"late": True} if one.is_late else {}
        result |= {"stopped": True} if '"stopped":true' in one.facts.tail else {}
        result |= {} if one.retry_in_ms is None else {"retry_in_ms": one.retry_in_ms}
        status, key = int(one.status), (one.step, one.item, self.run.generation, one.attempt)
        self.rows = [row for row in self.rows if tuple(row)[:4] != key]
        return StepRecord(*key, status, one.is_open, 0.0, result)

    def tell(self, event: Any) -> list[Command]:
        self.note(advance(self.state, event))
        return self.commands

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.commands if isinstance(one, kind)]

    def items(self, kind: type = RunStep) -> list[int]:
        return [one.item for one in self.of(kind)]

    def end(self, item: int, step: int = 0, attempt: int = 1) -> list[Command]:
        return self.tell(StepSucceeded(step, attempt, item, item=item))

    def fail(self, item: int, error: StepError = BROKEN, *, attempt: int = 1) -> list[Command]:
        return self.tell(StepFailed(0, attempt, error, Effect.IDEMPOTENT, item=item))

    def stored(self) -> list[StepRecord]:
        """The rows as a replay reads them: completed items as ranges."""
        ranges: defaultdict[tuple[int, int], list[Any]] = defaultdict(list)
        others = []
        for row in self.rows:
            if row.item >= 0 and row.status == StepStatus.COMPLETED:
                ranges[row.step, row.generation].append([row.item, row.item + 1])
            else:
                others.append(row)
        return others + [
            StepRecord(step, COMPLETED_ITEMS, generation, 0, 6, False, 0.0, found)
            for (step, generation), found in ranges.items()
        ]

    def lose(self) -> Rebuilt:
        """The worker is lost; another one goes on with what is stored."""
        retries = [mark.data for mark in self.marks if mark.kind == EventKind.EXECUTION_RETRIED]
        found = rebuild(self.state.program, self.run, self.stored(), retries, marks=self.marks)
        self.state = found.state
        self.note(proceed(self.state))
        return found

    def retry(self, *, from_failed_step: bool = True) -> None:
        self.finish = None
        data: dict[str, Any] = {"from_failed_step": from_failed_step}
        self.marks.append(Mark(EventKind.EXECUTION_RETRIED, data))
        self.run = self.run._replace(generation=self.run.generation + 1)
        self.lose()


def over(values: Any, **more: Any) -> dict[str, Any]:
    task = {"uses": "core.set@1", "with": {"x": "{{ item }}"}, **more.pop("task", {})}
    return {"id": "each", "type": "map", "for_each": values, "task": task, **more}


def test_items_begin_in_order_and_no_more_at_once_than_may_be():
    played = Played(over([5, 6, 7, 8], max_concurrency=2))
    begun = [played.items(), played.end(1) and played.items(), played.end(0) and played.items()]

    assert begun == [[0, 1], [2], [3]]
    played.end(2)
    assert played.of(JoinItems) == []
    played.end(3)
    assert played.of(JoinItems) == [JoinItems(0, 1)]


def test_the_joined_output_is_that_of_the_step():
    after = {"id": "b", "uses": "core.noop@1", "depends_on": ["each"]}
    played = Played(over([5]), after)
    played.end(0)
    played.tell(ItemsJoined(0, 1, [50]))

    assert played.state.outputs[0] == [50]
    assert played.of(RunStep) == [RunStep(1, 1)]
    assert (played.state.busy, played.state.running, played.state.fans) == (1, 1, {})


def test_a_map_over_nothing_joins_at_once():
    played = Played(over([]))

    assert played.of(JoinItems) == [JoinItems(0, 1)]
    played.tell(ItemsJoined(0, 1, []))
    assert played.finish is not None
    assert played.finish.status is ExecutionStatus.COMPLETED


@pytest.mark.parametrize(
    ("list_", "type_"),
    [
        ("{{ params.text }}", "map.no_list"),
        ("{{ params.many }}", "map.too_many_items"),
        ("{{ params.none.x }}", "expression"),
    ],
)
def test_what_is_no_list_fails_the_step(list_: str, type_: str):
    played = Played(over(list_), params={"text": "abc", "many": [1] * (MAX_ITEMS + 1)})

    assert played.finish is not None
    assert played.finish.error is not None
    assert played.finish.error.type == type_


def test_a_large_list_is_asked_for_before_anything_is_said():
    ref = BlobRef("sha256:" + "0" * 64, 100)
    played = Played(over("{{ params.list }}"), params=ref)
    assert played.of(LoadBlob) == [LoadBlob(ref)]
    assert [kind for kind, _ in played.events] == [EventKind.EXECUTION_STARTED]

    played.tell(BlobLoaded(ref, {"list": [1, 2]}))

    assert played.items() == [0, 1]


def test_the_first_failure_stops_what_runs_and_skips_the_rest():
    played = Played(over([1, 2, 3, 4], max_concurrency=3))
    played.fail(1)

    assert played.items(StopStep) == [0, 2]
    assert played.items() == []
    cancelled = StepError("step.cancelled", "stopped", StepErrorKind.CANCELLED)
    played.fail(0, cancelled)
    assert played.of(Finish) == []
    played.end(2)
    assert played.finish is not None
    assert played.finish.error is not None
    assert played.finish.error.message == "item 1 failed: it broke"
    assert played.finish.error.details == {"item": 1}
    assert {row.item: row.status for row in played.rows} == {1: 7, 0: 9, 2: 6, -1: 7}


def test_a_failed_map_may_be_provided_for():
    after = {"id": "b", "uses": "core.noop@1", "depends_on": ["each"]}
    played = Played(over([1, 2], on_error="continue"), after)
    played.fail(0)
    played.end(1)

    assert played.of(RunStep) == [RunStep(1, 1)]


def test_collecting_goes_on_to_the_last_item():
    played = Played(over([1, 2, 3], max_concurrency=1, failure_policy="collect"))
    played.fail(0)
    assert played.items() == [1]
    played.end(1)
    played.fail(2, CUT)

    assert played.of(JoinItems) == [JoinItems(0, 1)]
    assert list(played.state.fans[0].ends) == [7, 6, 10]


def test_an_item_is_repeated_by_the_policy_and_keeps_its_place():
    retry = {"max_attempts": 2, "initial": "1s", "jitter": "none"}
    played = Played(over([1, 2], max_concurrency=1, task={"retry": retry}))
    played.fail(0, BUSY)
    assert played.of(ScheduleRetry) == [ScheduleRetry(0, 1, 1000, 0)]
    assert played.items() == []
    assert played.state.is_idle

    played.tell(RetryDue(0, 1, 0))
    assert played.of(RunStep) == [RunStep(0, 2, 0)]
    played.fail(0, BUSY, attempt=2)
    assert played.finish is not None


def test_what_the_task_does_not_say_the_step_says_for_it():
    step = over([1], timeout="2s", retry={"max_attempts": 5}, task={"timeout": "1s"})
    plan = Played(step).plan.steps[0]

    assert (plan.retry.max_attempts, plan.timeout and plan.timeout.seconds) == (5, 1.0)


def test_a_deferred_item_does_not_count_the_attempt():
    played = Played(over([1], task={"retry": {"max_attempts": 1}}))
    played.tell(StepDeferred(0, 1, BUSY, 0))
    (delay,) = played.of(ScheduleRetry)
    assert (delay.attempt, delay.item) == (1, 0)

    played.tell(RetryDue(0, 1, 0))
    played.end(0, attempt=2)
    assert played.of(JoinItems)


def test_every_item_has_a_key_of_its_own():
    keys = {idempotency_key(EXECUTION, 0, item, 1) for item in (-1, 0, 1)}

    assert keys == {f"{EXECUTION}.s.0{tail}.g1" for tail in ("", ".0", ".1")}


def test_a_pause_begins_no_item_and_keeps_what_comes_due():
    retry = {"max_attempts": 2, "initial": "1s", "jitter": "none"}
    played = Played(over([1, 2, 3], max_concurrency=2, task={"retry": retry}))
    played.fail(0, BUSY)
    played.tell(PauseRequested(None, None))
    played.end(1)
    played.tell(RetryDue(0, 1, 0))
    assert played.items() == []
    assert played.state.is_idle

    played.tell(ResumeRequested(None, None))
    assert played.of(RunStep) == [RunStep(0, 2, 0), RunStep(0, 1, 2)]


def test_a_cancel_stops_the_items_that_run():
    played = Played(over([1, 2, 3], max_concurrency=2))
    played.tell(CancelRequested(None, None))
    assert played.items(StopStep) == [0, 1]

    played.end(0)
    played.fail(1)
    assert played.finish is not None
    assert played.finish.status is ExecutionStatus.CANCELLED


def test_a_step_that_fails_stops_the_items_of_others():
    played = Played(over([1, 2]), {"id": "b", "uses": "core.noop@1"})
    played.tell(StepFailed(1, 1, BROKEN))

    assert [(one.step, one.item) for one in played.of(StopStep)] == [(0, 0), (0, 1)]


def test_max_parallel_steps_counts_a_map_once():
    played = Played(over([1, 2]), {"id": "b", "uses": "core.noop@1"}, max_parallel_steps=1)

    assert [(one.step, one.item) for one in played.of(RunStep)] == [(0, 0), (0, 1)]


def test_whoever_comes_next_goes_on_with_the_items_that_are_left():
    played = Played(over([1, 2, 3, 4], max_concurrency=2))
    played.end(1)
    played.lose()

    assert played.items() == [0, 2]
    assert EventKind.MAP_OPENED not in [kind for kind, _ in played.events[-2:]]
    assert played.rows[0].item == 1


def test_whoever_comes_next_joins_what_has_ended():
    played = Played(over([1, 2]))
    played.end(0)
    played.end(1)
    played.lose()

    assert played.of(JoinItems) == [JoinItems(0, 1)]


def test_whoever_comes_next_knows_the_retries_and_how_often_it_was_tried():
    retry = {"max_attempts": 2, "initial": "1s", "jitter": "none"}
    played = Played(over([1, 2], max_concurrency=1, task={"retry": retry}))
    played.fail(0, BUSY)
    found = played.lose()

    assert [(one.event, one.in_seconds) for one in found.due] == [(RetryDue(0, 1, 0), 1.0)]
    assert played.items() == []
    played.tell(RetryDue(0, 1, 0))
    played.fail(0, BUSY, attempt=2)
    assert played.finish is not None


def test_whoever_comes_next_ends_a_map_of_which_an_item_failed():
    played = Played(over([1, 2, 3], max_concurrency=2))
    played.fail(0)
    played.lose()

    assert played.items() == []
    assert played.finish is not None
    assert played.finish.error is not None
    assert played.finish.error.details == {"item": 0}


def test_a_retry_does_the_failed_item_alone():
    played = Played(over([1, 2, 3], max_concurrency=3))
    played.end(0)
    played.fail(1)
    played.end(2)
    assert played.finish is not None
    played.retry()

    assert played.of(RunStep) == [RunStep(0, 1, 1)]
    opened = [data for kind, data in played.events if kind is EventKind.MAP_OPENED]
    assert [one["kept"] for one in opened] == [0, 2]
    played.end(1)
    assert played.of(JoinItems)


def test_a_retry_from_the_start_does_all_items_again():
    played = Played(over([1, 2]))
    played.end(0)
    played.fail(1)
    played.retry(from_failed_step=False)

    assert played.items() == [0, 1]


def at_most_once(**more: Any) -> Played:
    task = {"effect": "at_most_once", **more}
    played = Played(over([1, 2], max_concurrency=1, task=task))
    played.tell(StepFailed(0, 1, CUT, Effect.AT_MOST_ONCE, item=0))
    return played


def test_a_call_of_an_item_that_was_cut_off_is_in_doubt():
    played = at_most_once()

    assert played.of(LookUp) == [LookUp(0, 1, 0)]
    assert played.rows[-1].is_open
    assert played.state.doubts.keys() == {(0, 0)}
    played.tell(DoubtJudged(0, 1, Verdict.MADE, 5, item=0))
    assert played.items() == [1]
    assert played.state.doubts == {}


def test_an_item_that_nobody_knows_of_ends_its_map():
    played = at_most_once()
    played.tell(DoubtJudged(0, 1, Verdict.UNKNOWN, item=0))

    assert played.finish is not None
    assert {row.item: row.status for row in played.rows} == {0: 5, -1: 7}


def test_an_item_waits_for_a_person_and_a_cancel_ends_that():
    played = at_most_once(in_doubt="ask")
    played.tell(DoubtJudged(0, 1, Verdict.UNKNOWN, item=0))
    assert played.state.is_idle
    played.tell(CancelRequested(None, None))

    assert played.finish is not None
    assert (EventKind.STEP_DOUBT_SETTLED, 0) in [
        (kind, data and data.get("item")) for kind, data in played.events
    ]


def test_a_person_lets_an_item_begin_once_more():
    played = at_most_once(in_doubt="ask")
    played.tell(DoubtJudged(0, 1, Verdict.UNKNOWN, item=0))
    word = DoubtJudged(0, 1, Verdict.NOT_MADE, actor={"subject": "ann"}, item=0)
    played.tell(word)

    assert played.of(RunStep) == [RunStep(0, 2, 0)]
    assert played.state.fans[0].live[0].tries == 1


def test_whoever_comes_next_doubts_a_call_that_was_announced():
    played = Played(over([1, 2], max_concurrency=1, task={"effect": "at_most_once"}))
    intent = StepRecord(0, 0, 0, 1, int(StepStatus.RUNNING), True, 0.0, {})
    played.rows.append(intent)
    found = played.lose()

    (due,) = found.due
    played.tell(due.event)
    assert played.of(LookUp) == [LookUp(0, 1, 0)]
    assert played.items() == []


def test_a_doubt_that_rows_tell_of_begins_nothing():
    """What else the rows tell of is told first: a refused outcome, a message."""
    played = Played(over([1, 2, 3], max_concurrency=2, task={"effect": "at_most_once"}))
    played.rows.append(StepRecord(0, 0, 0, 1, int(StepStatus.RUNNING), True, 0.0, {}))
    retries: list[Any] = []
    found = rebuild(played.state.program, played.run, played.stored(), retries, marks=played.marks)
    played.state = found.state

    played.tell(found.due[0].event)
    assert (played.of(LookUp), played.items()) == ([LookUp(0, 1, 0)], [])
    played.note(proceed(played.state))
    assert played.items() == [1]


def test_late_words_of_an_item_change_nothing():
    played = Played(over([1, 2], max_concurrency=2))
    played.end(0)
    assert played.end(0) == []
    assert played.end(1, attempt=2) == []
    assert played.tell(RetryDue(0, 1, 1)) == []
    played.end(1)
    played.tell(ItemsJoined(0, 1, []))
    assert played.state.phase is Phase.CLOSED


def test_what_is_kept_of_a_hundred_thousand_items_is_a_byte_each():
    played = Played(over("{{ range(100000) }}", max_concurrency=10))
    fan = played.state.fans[0]
    for item in range(1_000):
        played.rows.clear()
        played.end(item)

    assert len(fan.ends) == MAX_ITEMS
    assert (len(fan.live), fan.left) == (10, MAX_ITEMS - 1_000)
    assert fan.again == []
