"""What is called safe goes on with the other version to the end that its own graph says; nothing is done twice or left."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st

from runtime.engine.advance import advance, proceed
from runtime.engine.event import RetryDue, Started
from runtime.engine.migration import obstacles_to
from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.model.checkpoint import ExecutionHistory
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.execution_migration import MigrationFinding, MigrationObstacle
from tests.property.test_engine import Case, World, cases


class Migrated(World):
    """The same world, whose execution goes on with another graph."""

    def begun(self) -> set[int]:
        named = (mark.data.get("step") for mark in self.marks if isinstance(mark.data, dict))
        return {step for step in named if isinstance(step, int)}

    def history(self) -> ExecutionHistory:
        return ExecutionHistory(tuple(self.rows), marks=tuple(self.marks))

    def obstacles(self, other: Case) -> tuple[MigrationFinding, ...]:
        new = Program.of(other.plan)
        return obstacles_to(self.program, new, self.info, self.history(), self.begun())

    def status(self) -> ExecutionStatus | None:
        return None if self.finish is None else self.finish.status

    def begin(self, turns: int) -> None:
        self.carry_out(advance(self.state, Started("w")))
        for _ in range(turns):
            if self.finish is None:
                self.turn()

    def move(self, other: Case) -> None:
        self.case, self.program = other, Program.of(other.plan)
        found = rebuild(self.program, self.info, self.rows, marks=self.marks)
        self.state, self.running, self.stopping = found.state, set(), set()
        due = [one.event for one in found.due if isinstance(one.event, RetryDue)]
        self.retries = {(one.step, one.attempt) for one in due}
        self.carry_out(proceed(self.state))
        while self.finish is None:
            self.turn()


def edited(case: Case, random: Random) -> Case:
    """The same graph after some changes: steps that come, go, wait for others, have other conditions."""
    needs = [list(one) for one in case.needs]
    failures, conditions = list(case.failures), list(case.conditions)
    for _ in range(random.randint(0, 3)):
        what = random.choice(("more", "less", "needs", "condition", "condition"))
        if what == "more":
            needs.append([one for one in range(len(needs)) if random.random() < 0.3])
            failures.append(random.choice((0, 0, 1)))
            conditions.append(random.choice((None, True, False)))
        elif what == "less" and len(needs) > 1 and not any(len(needs) - 1 in n for n in needs):
            needs.pop(), failures.pop(), conditions.pop()
        elif what == "needs":
            # Of what comes behind it in no order of the graph: it stays one without circles.
            step = random.randrange(len(needs))
            needs[step] = [one for one in needs[step] if random.random() < 0.6]
        elif what == "condition":
            conditions[random.randrange(len(needs))] = random.choice((None, True, False))
    stubborn = [False] * len(needs)
    return replace(case, needs=needs, failures=failures, conditions=conditions, stubborn=stubborn)


@settings(max_examples=400, deadline=None)
@given(cases(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_what_is_safe_goes_on_to_the_end_of_the_other_graph(case: Case, turns: int, random: Random):
    case.cancel_after = None
    world = Migrated(case, random)
    world.begin(turns)
    if world.status() is not None:
        return
    other = edited(case, random)
    begun, found = world.begun(), world.obstacles(other)
    known = set(range(len(other.needs)))
    same = begun <= known and all(
        (set(case.needs[step]), case.conditions[step])
        == (set(other.needs[step]), other.conditions[step])
        for step in begun
    )
    if world.state.ending is not None:
        event("ending")
        assert [one.obstacle for one in found] == [MigrationObstacle.ENDING]
        return
    event("refused" if found else "safe, edited" if other != case else "safe")
    # Refused is what has begun and is another one there, and nothing else; a step that is ready has not begun.
    assert (not found) is same
    if found:
        assert {one.step_key for one in found} <= {f"s{step}" for step in begun}
        return
    done = {row.step for row in world.rows if row.status == StepStatus.COMPLETED}
    ran = len(world.ran)

    world.move(other)

    expected = other.expected()
    wanted = ExecutionStatus.FAILED if expected is None else ExecutionStatus.COMPLETED
    assert world.status() is wanted
    assert not done & {step for step, _ in world.ran[ran:]}, "nothing that completed runs again"
    if expected is not None:
        ends = {r.step: StepStatus(r.status) for r in world.rows if "retry_in_ms" not in r.result}
        assert ends == expected


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_same_graph_is_always_safe_until_the_execution_ends(
    case: Case, turns: int, random: Random
):
    case.cancel_after = None
    world = Migrated(case, random)
    world.begin(turns)

    found = world.obstacles(case)

    if world.finish is None and world.state.ending is None:
        assert found == ()
