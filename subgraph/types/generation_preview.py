"""GenerationPreview: what the next generation of an execution would do, before anything happens."""

from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from resolvers.context import Info
from runtime.model import generation_preview as model
from subgraph.compiled.declare import record_field
from subgraph.directives import access
from subgraph.types.status import Effect, PreviewAction, StepStatus
from subgraph.types.step_execution import family_member

if TYPE_CHECKING:
    from subgraph.types.execution import Execution


@strawberry.type(
    description="Calls that were made or begun in earlier generations, and that would be made again."
)
class RepeatedCalls:
    """Calls that would be made again."""

    record: strawberry.Private[model.RepeatedCalls]
    calls: int = record_field(
        "calls", description="How many, of the step or of the items of a map that are done again."
    )
    completed: int = record_field("completed", description="How many of them completed.")
    in_doubt: int = record_field(
        "in_doubt", description="Of how many nobody knows whether they were made."
    )
    effect: Effect | None = record_field(
        "effect",
        description="What another call does to the outside; null where that is not known: a child has effects of its "
        "own, and a connector may be unknown to this server.",
    )
    is_undone: bool = record_field(
        "is_undone", description="Whether the step was undone after it completed."
    )

    @strawberry.field(
        description="The newest child of a step of the kind `workflow`: another one would be started.",
        directives=access("RepeatedCalls.childExecution"),
    )
    def child_execution(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")] | None:
        """The newest child."""
        child: Execution | None = family_member(info, self.record.child_id)
        return child

    @classmethod
    def of(cls, repeated: model.RepeatedCalls) -> Self:
        """From its record."""
        return cls(record=repeated)


@strawberry.type(description="A step in the next generation of an execution.")
class StepPreview:
    """A step in the next generation."""

    record: strawberry.Private[model.StepPreview]
    step_key: str = record_field("key", description="The step's id within the definition.")
    type: str = record_field("type", description="Its connector with its version, or its kind.")
    action: PreviewAction = record_field("action", description="What becomes of it.")
    status: StepStatus | None = record_field(
        "status", description="How it ended, when that is kept; null when it runs again."
    )
    kept_items: int | None = record_field(
        "kept_items",
        description="Of a map that runs again: so many items are kept, and not done again.",
    )
    repeats: RepeatedCalls | None = record_field(
        lambda step: None if step.repeats is None else RepeatedCalls.of(step.repeats),
        description="The calls with an effect outside that would be made again; null when there are none.",
    )

    @classmethod
    def of(cls, step: model.StepPreview) -> Self:
        """From its record."""
        return cls(record=step)


@strawberry.type(
    description="What the next generation of an execution would do; nothing of it has happened."
)
class GenerationPreview:
    """What the next generation would do."""

    record: strawberry.Private[model.GenerationPreview]
    generation: int = record_field("generation", description="The number of that generation.")
    runs: int = record_field("runs", description="How many steps run again.")
    reuses: int = record_field("reuses", description="Of how many steps the end is kept.")
    repeats: int = record_field(
        "repeats",
        description="How many steps would make calls again that have an effect outside.",
    )
    steps: list[StepPreview] = record_field(
        lambda one: [StepPreview.of(step) for step in one.steps],
        description="Every step, in the order of the definition.",
        directives=access("GenerationPreview.steps"),
    )

    @classmethod
    def of(cls, preview: model.GenerationPreview) -> Self:
        """From its record."""
        return cls(record=preview)
