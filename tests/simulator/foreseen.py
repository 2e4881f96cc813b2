"""What a preview says of each retry and rewind of a seed, and whether the generation that followed did so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from runtime.engine.generation_preview import done, maps_with_kept_items, preview
from runtime.engine.ledger import digest_of
from runtime.engine.program import Program
from runtime.engine.rewinding import with_input
from runtime.engine.state import RunInfo
from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import EventKind as Kind
from runtime.model.generation_preview import PreviewAction
from runtime.model.plan import Plan
from runtime.model.values import Json
from tests.simulator.tables import Execution
from tests.simulator.undoing import generations


def wished(
    e: Execution,
    plan: Plan,
    history: ExecutionHistory,
    said: dict[str, Json],
    given: Json,
    keeps: Callable[[set[int]], list[int]],
) -> dict[str, Json]:
    """What the event of a rewind says that keeps some steps, and gives another input unless that is None, as the service makes it."""
    run, told = RunInfo(e.id, None, e.generation), Mark(Kind.EXECUTION_REWOUND, said)
    again: Any = said["again"]
    program = Program.of(plan)
    calls = {
        step
        for step in done(program, run, history).intersection(again, range(len(plan.steps)))
        if plan.steps[step].uses is not None and plan.steps[step].map is None
    }
    if kept := keeps(calls):
        said = {**said, "keep": [*kept]}
    if given is None:
        return said
    return with_input(said, digest_of(given), maps_with_kept_items(program, run, history, told))


class Foreseen:
    """The steps that were said to run again, by execution and generation."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._runs: dict[tuple[UUID, int], set[int]] = {}

    def foresee(
        self, e: Execution, program: Program, rows: list[StepRecord], marks: list[Mark]
    ) -> None:
        """Look at an execution whose next generation has just begun, as it was before: the last mark told of that."""
        before = ExecutionHistory(tuple(rows), marks=tuple(marks[:-1]))
        run = RunInfo(e.id, None, e.generation - 1)
        found = preview(program, run, before, marks[-1], effect_of=lambda _step: None)
        self._runs[e.id, found.generation] = {
            number for number, step in enumerate(found.steps) if step.action is PreviewAction.RUN
        }

    def compare(self, e: Execution, steps: int) -> None:
        """Nothing else has begun; and where the generation completed, nothing of it has no end."""
        kept: set[int] = set()
        for number, told in enumerate(generations(e)):
            runs = self._runs.get((e.id, number))
            if runs is None:
                continue
            begun = {data["step"] for data in told.of(Kind.STEP_STARTED)}
            ended = {step for step, item, at, _ in e.steps if at == number and item < 0}
            # Whose call is kept calls nobody, and ends when its turn comes.
            kept.update(
                step for one in told.of(Kind.EXECUTION_REWOUND) for step in one.get("keep", ())
            )
            others = {step for step in begun | ended if step < steps} - runs - kept
            if others:
                self._say(
                    f"preview: {e.id} generation {number} ran {others}, which were to be kept"
                )
            left = runs - ended
            if left and told.of(Kind.EXECUTION_COMPLETED):
                self._say(f"preview: {e.id} generation {number} completed without {left}")
