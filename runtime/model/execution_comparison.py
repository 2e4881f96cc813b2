"""ExecutionComparison: what two executions have not in common, as a whole and step by step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.model.execution import Execution, StepExecution


class ExecutionDifference(StrEnum):
    """In what two executions differ as a whole; PATH: which steps ran."""

    VERSION = "version"
    INPUT = "input"
    PATH = "path"
    STATUS = "status"
    OUTPUT = "output"
    ERROR = "error"


class StepDifference(StrEnum):
    """In what the executions of a step differ; PRESENCE: only one version has it.

    Another number of ATTEMPTS alone is no divergence: what came of them is the same.
    """

    PRESENCE = "presence"
    STATUS = "status"
    CODE = "code"
    INPUT = "input"
    OUTPUT = "output"
    ERROR = "error"
    ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class StepComparison:
    """A step of both, or of one, by its key."""

    key: str
    a: StepExecution | None
    b: StepExecution | None
    differences: tuple[StepDifference, ...]

    @property
    def diverges(self) -> bool:
        """Whether from here on the two may go different ways."""
        return any(one is not StepDifference.ATTEMPTS for one in self.differences)


@dataclass(frozen=True, slots=True)
class ExecutionComparison:
    """Two executions beside each other.

    `steps` are all of both: those of `a` in the order in which its plan lets them run, then those that only `b` has.
    The paths are the keys of the steps that ran, in the order of the plan.
    """

    a: Execution
    b: Execution
    differences: tuple[ExecutionDifference, ...]
    path_a: tuple[str, ...]
    path_b: tuple[str, ...]
    steps: tuple[StepComparison, ...]

    @property
    def first_divergence(self) -> StepComparison | None:
        """The first step that diverges: nothing that it depends on does."""
        return next((step for step in self.steps if step.diverges), None)
