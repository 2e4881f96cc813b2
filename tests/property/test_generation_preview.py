"""What a retry or a rewind was said to do is what it does: random graphs, failures, conditions, orders, cancels, one generation after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.advance import advance
from runtime.engine.event import Started
from runtime.engine.generation_preview import begin_again, preview
from runtime.engine.rewinding import rewound_to
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


def begins(world: Generations, how: bool | float) -> tuple[Mark, set[int]]:
    """The event of a retry or of a rewind; the steps that must run again by the graph alone."""
    needs = world.case.needs
    if isinstance(how, bool):
        every = set() if how else set(range(len(needs)))
        return Mark(EventKind.EXECUTION_RETRIED, {"from_failed_step": how}), every
    back = {int(how * len(needs))}
    plan = world.program.plan
    told = Mark(EventKind.EXECUTION_REWOUND, rewound_to(plan, min(back)))
    for _ in needs:
        back |= {step for step, before in enumerate(needs) if back.intersection(before)}
    return told, back


@settings(max_examples=150, deadline=None)
@given(
    cases(),
    # Whether ends are kept, or to which part of the steps it goes back.
    st.lists(st.one_of(st.booleans(), st.floats(0, 0.99)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_a_generation_does_what_was_said_before(
    case: Case, beginnings: list[bool | float], random: Random
):
    world = Generations(case, random)
    world.play()
    for how in beginnings:
        told, back = begins(world, how)
        if world.has_completed() and told.kind is EventKind.EXECUTION_RETRIED:
            continue
        calls = [sum(row.step == step for row in world.rows) for step in range(len(case.needs))]
        foreseen = world.foresee(told)
        runs = {n for n, step in enumerate(foreseen.steps) if step.action is PreviewAction.RUN}
        for number, step in enumerate(foreseen.steps):
            repeated = 0 if step.repeats is None else step.repeats.calls
            assert repeated == (calls[number] if number in runs else 0)

        assert back <= runs
        world.retry(told)
        world.play()

        assert foreseen.generation == world.info.generation
        assert set(world.begun) | world.ended <= runs, "nothing else runs, and nothing kept"
        if world.has_completed():
            assert world.ended == runs, "everything that was said to run has run, or was left out"
        assert runs or how is True
        assert advance(world.state, Started("late")) == []
