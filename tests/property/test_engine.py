"""Random graphs, failures, conditions, orders and crashes against the core, with an end computed independently."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.advance import advance, proceed
from runtime.engine.command import Finish, RecordEvent, RecordStep, RunStep, ScheduleRetry, StopStep
from runtime.engine.event import (
    CancelRequested,
    RetryDue,
    Started,
    StepError,
    StepFailed,
    StepSucceeded,
)
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.state import ExecutionState, RunInfo
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.plan import Backoff, Effect, Jitter, RetryPolicy
from runtime.model.values import Duration
from tests.support.plans import EXECUTION, plan_of

RETRY = RetryPolicy(3, Backoff.FIXED, Duration(10), 2.0, Duration(10), Jitter.FULL)
CANCELLED = StepError("cancelled", "stopped", StepErrorKind.CANCELLED)


@dataclass
class Case:
    """A graph and how its steps behave: `failures[i]` attempts fail before one succeeds."""

    needs: list[list[int]]
    failures: list[int]
    conditions: list[bool | None]
    max_parallel: int | None
    cancel_after: int | None
    stubborn: list[bool]

    @property
    def plan(self):
        key = "s{}".format
        return plan_of(
            {key(i): [key(n) for n in needs] for i, needs in enumerate(self.needs)},
            when={key(i): str(c).lower() for i, c in enumerate(self.conditions) if c is not None},
            retry={key(i): RETRY for i in range(len(self.needs))},
            max_parallel_steps=self.max_parallel,
        )

    def expected(self) -> dict[int, StepStatus] | None:
        """How each step ends when nobody cancels; None when some step fails for good."""
        ends: dict[int, StepStatus] = {}
        while len(ends) < len(self.needs):
            for step, needs in enumerate(self.needs):
                if step in ends or not all(need in ends for need in needs):
                    continue
                lost = needs and all(ends[need] is StepStatus.SKIPPED for need in needs)
                skipped = lost or self.conditions[step] is False
                ends[step] = StepStatus.SKIPPED if skipped else StepStatus.COMPLETED
        runs = [step for step, end in ends.items() if end is StepStatus.COMPLETED]
        return None if any(self.failures[step] >= RETRY.max_attempts for step in runs) else ends


@st.composite
def cases(draw):
    count = draw(st.integers(1, 9))
    order = draw(st.permutations(range(count)))
    needs: list[list[int]] = [[] for _ in range(count)]
    for place, step in enumerate(order):
        if place:
            needs[step] = draw(st.lists(st.sampled_from(order[:place]), unique=True, max_size=4))
    return Case(
        needs=needs,
        failures=draw(
            st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=count, max_size=count)
        ),
        conditions=draw(
            st.lists(st.sampled_from([None, None, True, False]), min_size=count, max_size=count)
        ),
        max_parallel=draw(st.sampled_from([None, None, 1, 2])),
        cancel_after=draw(st.sampled_from([None, None, None, 0, 3])),
        stubborn=draw(st.lists(st.booleans(), min_size=count, max_size=count)),
    )


@dataclass
class World:
    """Carries commands out as a worker would: what follows from a completion waits for its commit."""

    case: Case
    random: Random
    rows: list[Any] = field(default_factory=list)
    running: set[tuple[int, int]] = field(default_factory=set)
    stopping: set[int] = field(default_factory=set)
    retries: set[tuple[int, int]] = field(default_factory=set)
    ran: list[tuple[int, int]] = field(default_factory=list)
    finish: Finish | None = None
    crashes: int = 0
    marks: list[Mark] = field(default_factory=list)

    def __post_init__(self):
        self.program = Program.of(self.case.plan)
        self.info = RunInfo(EXECUTION, {})
        self.state = ExecutionState(self.program, self.info)

    def carry_out(self, commands) -> None:
        later = []
        for command in commands:
            match command:
                case RecordStep():
                    self.rows.append(self.row(command))
                case RunStep() | ScheduleRetry():
                    later.append(command)
                case StopStep():
                    self.stopping.add(command.step)
                case Finish():
                    assert self.finish is None
                    self.finish = command
                case RecordEvent():
                    self.marks.append(Mark(command.kind, command.data))
        for command in later:
            if isinstance(command, ScheduleRetry):
                self.retries.add((command.step, command.attempt))
                continue
            self.start(command.step, command.attempt)

    def row(self, command: RecordStep) -> StepRecord:
        result: dict[str, Any] = {"output": command.step}
        if command.error is not None:
            result = {"error": command.error.as_json()}
        if command.retry_in_ms is not None:
            result["retry_in_ms"] = command.retry_in_ms
        if command.status is StepStatus.CANCELLED:
            result["stopped"] = True
        if command.is_late:
            result["late"] = True
        status = int(command.status)
        return StepRecord(command.step, -1, 0, command.attempt, status, False, 0.0, result)

    def start(self, step: int, attempt: int) -> None:
        ended = {
            row.step
            for row in self.rows
            if row.status in {StepStatus.COMPLETED, StepStatus.SKIPPED}
        }
        assert set(self.case.needs[step]) <= ended, "a step starts only after its dependencies"
        assert step not in ended, "no step runs after its completion is durable"
        assert all((row.step, row.attempt) != (step, attempt) for row in self.rows)
        limit = self.case.max_parallel
        self.running.add((step, attempt))
        assert limit is None or len(self.running) <= limit
        self.ran.append((step, attempt))

    def turn(self) -> None:
        """One thing happens: a call ends or a retry is due."""
        choices = [("end", *call) for call in sorted(self.running)]
        choices += [("due", *retry) for retry in sorted(self.retries)]
        kind, step, attempt = self.random.choice(choices)
        if kind == "due":
            self.retries.discard((step, attempt))
            self.carry_out(advance(self.state, RetryDue(step, attempt)))
            return
        self.running.discard((step, attempt))
        if step in self.stopping and not self.case.stubborn[step]:
            self.carry_out(advance(self.state, StepFailed(step, attempt, CANCELLED)))
        elif attempt <= self.case.failures[step]:
            error = StepError(f"Busy {step}", "later", StepErrorKind.TRANSIENT)
            self.carry_out(advance(self.state, StepFailed(step, attempt, error, Effect.PURE)))
        else:
            self.carry_out(advance(self.state, StepSucceeded(step, attempt, step)))

    def crash(self) -> None:
        """The worker is lost; another one rebuilds the state from the rows, in any order."""
        rows = list(self.rows)
        self.random.shuffle(rows)
        found = rebuild(self.program, self.info, rows, marks=self.marks)
        assert durable(found.state) == durable(self.state)
        assert found.state.ending == self.state.ending
        self.crashes += 1
        self.state, self.running, self.stopping = found.state, set(), set()
        self.retries = {
            (due.event.step, due.event.attempt)
            for due in found.due
            if isinstance(due.event, RetryDue)
        }
        self.carry_out(proceed(self.state))

    def play(self, crash_chance: float = 0.0) -> None:
        self.carry_out(advance(self.state, Started("w")))
        turns = 0
        while self.finish is None:
            turns += 1
            assert turns < 500, "it terminates"
            if self.case.cancel_after == turns - 1:
                self.carry_out(advance(self.state, CancelRequested(None, None)))
            elif self.crashes < 6 and self.random.random() < crash_chance:
                self.crash()
            else:
                self.turn()


def durable(state: ExecutionState):
    """What a state knows that is in rows: a running attempt is as if it had not begun."""
    if state.ending is not None:
        # Nothing starts any more, so whether a step was stopped or had not begun makes no difference.
        return state.pending, state.outputs, state.skipped_needs
    running = int(StepStatus.RUNNING)
    status = [int(StepStatus.PENDING) if s == running else s for s in state.status]
    # Between two attempts and in the second of them look the same from the rows.
    status = [
        int(StepStatus.RETRYING) if was == running and state.attempt[i] > 1 else now
        for i, (was, now) in enumerate(zip(state.status, status, strict=True))
    ]
    attempts = [
        attempt - (was == running) for was, attempt in zip(state.status, state.attempt, strict=True)
    ]
    return status, attempts, state.pending, state.outputs, state.skipped_needs, state.open_steps


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_every_order_of_events_leads_to_the_expected_end(case: Case, random: Random):
    world = World(case, random)
    world.play()

    assert world.finish is not None
    expected = case.expected()
    if world.finish.status is not ExecutionStatus.CANCELLED:
        wanted = ExecutionStatus.FAILED if expected is None else ExecutionStatus.COMPLETED
        assert world.finish.status is wanted
    if world.finish.status is ExecutionStatus.COMPLETED:
        ends = {
            row.step: StepStatus(row.status)
            for row in world.rows
            if "retry_in_ms" not in row.result
        }
        assert ends == expected
    assert len(set(world.ran)) == len(world.ran), "no attempt runs twice"


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_crashes_at_any_moment_change_nothing_about_the_end(case: Case, random: Random):
    world = World(case, random)
    world.play(crash_chance=0.3)

    assert world.finish is not None
    expected = case.expected()
    wanted = ExecutionStatus.FAILED if expected is None else ExecutionStatus.COMPLETED
    if any(mark.kind is EventKind.EXECUTION_CANCEL_REQUESTED for mark in world.marks):
        wanted = ExecutionStatus.CANCELLED
    assert world.finish.status is wanted
    successes = [row.step for row in world.rows if row.status == StepStatus.COMPLETED]
    assert len(set(successes)) == len(successes), "one completion per step"


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_no_edge_is_visited_twice(case: Case, random: Random):
    world = World(case, random)
    world.play()

    assert world.state.edge_visits <= sum(map(len, case.needs))


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_a_replay_gives_the_same_delays(case: Case, random: Random):
    delays: list[dict[tuple[int, int], object]] = []
    for _ in range(2):
        world = World(case, random)
        world.play()
        delays.append(
            {
                (row.step, row.attempt): row.result["retry_in_ms"]
                for row in world.rows
                if "retry_in_ms" in row.result
            }
        )

    common = delays[0].keys() & delays[1].keys()
    assert all(delays[0][key] == delays[1][key] for key in common)
