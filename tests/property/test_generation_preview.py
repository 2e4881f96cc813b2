"""What a retry was said to do is what it does: random graphs, failures, conditions, orders, cancels, one generation after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.advance import advance
from runtime.engine.event import Started
from runtime.engine.generation_preview import begin_again, preview
from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.generation_preview import GenerationPreview, PreviewAction
from runtime.model.plan import Effect
from tests.property.test_engine import Case, World, cases


@dataclass
class Generations(World):
    """The same world, which goes on with a next generation when one has ended."""

    begun: list[int] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)

    def row(self, command) -> StepRecord:
        found = super().row(command)
        self.ended.add(command.step)
        result: Any = found.result
        said = {**result, "in": "sha256:00"}
        return found._replace(generation=self.info.generation, result=said)

    def start(self, step: int, attempt: int) -> None:
        self.begun.append(step)
        self.running.add((step, attempt))

    def has_completed(self) -> bool:
        assert self.finish is not None
        return self.finish.status is ExecutionStatus.COMPLETED

    @property
    def history(self) -> ExecutionHistory:
        return ExecutionHistory(tuple(self.rows), marks=tuple(self.marks))

    def foresee(self, told: Mark) -> GenerationPreview:
        return preview(
            self.program, self.info, self.history, told, effect_of=lambda _step: Effect.IDEMPOTENT
        )

    def retry(self, told: Mark) -> None:
        self.state = begin_again(self.program, self.info, self.history, told)
        self.info = self.info._replace(generation=self.info.generation + 1)
        self.marks.append(told)
        self.finish, self.begun, self.ended, self.case.cancel_after = None, [], set(), None
        self.running, self.stopping, self.retries = set(), set(), set()
        if self.random.random() < 0.5:
            self.case.failures = [0] * len(self.case.needs)


@settings(max_examples=150, deadline=None)
@given(cases(), st.lists(st.booleans(), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_a_retry_does_what_was_said_before(case: Case, retries: list[bool], random: Random):
    world = Generations(case, random)
    world.play()
    for is_kept in retries:
        if world.has_completed():
            return
        told = Mark(EventKind.EXECUTION_RETRIED, {"from_failed_step": is_kept})
        calls = [sum(row.step == step for row in world.rows) for step in range(len(case.needs))]
        foreseen = world.foresee(told)
        runs = {n for n, step in enumerate(foreseen.steps) if step.action is PreviewAction.RUN}
        for number, step in enumerate(foreseen.steps):
            repeated = 0 if step.repeats is None else step.repeats.calls
            assert repeated == (calls[number] if number in runs else 0)

        world.retry(told)
        world.play()

        assert foreseen.generation == world.info.generation
        assert set(world.begun) | world.ended <= runs, "nothing else runs, and nothing kept"
        if world.has_completed():
            assert world.ended == runs, "everything that was said to run has run, or was left out"
        assert runs or is_kept
        assert advance(world.state, Started("late")) == []
