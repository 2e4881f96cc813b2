"""GenerationPreview: what the next generation of an execution would do, said before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from runtime.model.execution import StepStatus
from runtime.model.plan import Effect


class PreviewAction(StrEnum):
    """What becomes of a step in the next generation: closed.

    RUN: it runs again when its turn comes, unless a condition, a gateway or a failure of that generation leaves it out.
    REUSE: how it ended, and what it put out, is kept.
    """

    RUN = "run"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True)
class RepeatedCalls:
    """Calls of a step, or of items of a map, that were made or begun in earlier generations and would be made again.

    Of these `calls` so many `completed`, and of so many `in_doubt` nobody knows whether they were made. `effect` is
    what another call does to the outside, None where nobody here can say it: a child has effects of its own, and a
    connector may be unknown to this process. `is_undone`: the step was undone before. `child_id` is the newest child
    of a step that starts one: another child would be started.
    """

    calls: int
    completed: int
    in_doubt: int
    effect: Effect | None
    is_undone: bool = False
    child_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StepPreview:
    """One step: whether it runs again, or how it ended (`status`) when that is kept.

    `kept_items` are the items of a map that are not done again though the map is. `repeats` is None where no call was
    made before, or another one has no effect outside.
    """

    key: str
    type: str
    action: PreviewAction
    status: StepStatus | None = None
    kept_items: int | None = None
    repeats: RepeatedCalls | None = None


@dataclass(frozen=True, slots=True)
class GenerationPreview:
    """The next generation of an execution: its number, and every step in the order of the document."""

    execution_id: UUID
    generation: int
    steps: tuple[StepPreview, ...]

    @property
    def runs(self) -> int:
        """How many steps run again."""
        return sum(step.action is PreviewAction.RUN for step in self.steps)

    @property
    def reuses(self) -> int:
        """Of how many steps the end is kept."""
        return len(self.steps) - self.runs

    @property
    def repeats(self) -> int:
        """How many steps would make calls again that have an effect outside."""
        return sum(step.repeats is not None for step in self.steps)
