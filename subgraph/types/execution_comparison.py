"""ExecutionComparison: two executions beside each other, and where they first part."""

from typing import Annotated, Self

import strawberry

from runtime.model import execution_comparison as model
from subgraph.compiled.declare import record_field
from subgraph.directives import access
from subgraph.types.execution import Execution
from subgraph.types.status import ExecutionDifference, StepDifference
from subgraph.types.step_execution import StepExecution


@strawberry.type(description="A step of two executions, by its key.")
class StepComparison:
    """A step of two executions."""

    record: strawberry.Private[model.StepComparison]
    step_key: str = record_field("key", description="The step's id within the definition.")
    differences: list[StepDifference] = record_field(
        lambda step: list(step.differences),
        description="In what it differs; empty when it does not. Inputs and outputs are compared by their digests, "
        "times are not compared.",
        directives=access("StepComparison.differences"),
    )
    a: StepExecution | None = record_field(
        lambda step: None if step.a is None else StepExecution.of(step.a),
        description="It in the first execution; null when that has no such step.",
    )
    b: StepExecution | None = record_field(
        lambda step: None if step.b is None else StepExecution.of(step.b),
        description="It in the second execution; null when that has no such step.",
    )

    @classmethod
    def of(cls, step: model.StepComparison) -> Self:
        """From its record."""
        return cls(record=step)


@strawberry.type(description="Two executions beside each other.")
class ExecutionComparison:
    """Two executions beside each other."""

    record: strawberry.Private[model.ExecutionComparison]
    a: Execution = record_field(lambda one: Execution.of(one.a), description="The first.")
    b: Execution = record_field(lambda one: Execution.of(one.b), description="The second.")
    differences: list[ExecutionDifference] = record_field(
        lambda one: list(one.differences),
        description="In what they differ as a whole; empty when they do not.",
        directives=access("ExecutionComparison.differences"),
    )
    path_a: list[str] = record_field(
        lambda one: list(one.path_a),
        description="The steps that ran in the first, in order of the plan.",
        directives=access("ExecutionComparison.pathA"),
    )
    path_b: list[str] = record_field(
        lambda one: list(one.path_b),
        description="The steps that ran in the second, in order of the plan.",
        directives=access("ExecutionComparison.pathB"),
    )
    first_divergence: StepComparison | None = record_field(
        lambda one: (
            None if one.first_divergence is None else StepComparison.of(one.first_divergence)
        ),
        description="The first step that differs in more than its number of attempts, in an order in which the steps "
        "of the first could run: nothing that it depends on differs so. Null when none does.",
    )

    @strawberry.field(
        description="Steps of both: those of the first in an order in which they could run, then those that only the "
        "second has.",
        directives=access("ExecutionComparison.steps"),
    )
    def steps(
        self,
        all: Annotated[
            bool, strawberry.argument(description="Also those that do not differ.")
        ] = False,
    ) -> list[StepComparison]:
        """Steps of both."""
        return [StepComparison.of(one) for one in self.record.steps if all or one.differences]

    @classmethod
    def of(cls, comparison: model.ExecutionComparison) -> Self:
        """From its record."""
        return cls(record=comparison)
