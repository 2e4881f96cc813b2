"""ExecutionReplay: whether an execution's record follows from its decisions, and where it first does not."""

from typing import Self

import strawberry

from runtime.model import execution_replay as model
from subgraph.compiled.declare import record_field
from subgraph.types.scalars import BigInt
from subgraph.types.status import DivergenceKind


@strawberry.type(
    description="The first thing in which a replay and the record of an execution do not agree."
)
class ReplayDivergence:
    """The first thing that does not agree."""

    record: strawberry.Private[model.ReplayDivergence]
    kind: DivergenceKind = record_field("kind", description="What does not agree.")
    step_key: str | None = record_field(
        "step", description="The step's id within the definition; null when it is about no step."
    )
    item: int | None = record_field("item", description="Which item of a map, counted from 0.")
    sequence: BigInt | None = record_field(
        "sequence", description="The `sequence` of the event at which it was found."
    )
    expected: str = record_field(
        "expected",
        description="What follows from the decisions: JSON text, or a digest. Cut to 1,000 characters.",
    )
    found: str = record_field("found", description="What is recorded instead, in the same words.")

    @classmethod
    def of(cls, divergence: model.ReplayDivergence) -> Self:
        """From its record."""
        return cls(record=divergence)


@strawberry.type(
    description="A replay of an execution: its decisions, made once more and compared with its record."
)
class ExecutionReplay:
    """A replay of an execution."""

    record: strawberry.Private[model.ExecutionReplay]
    is_equal: bool = record_field(
        "is_equal", description="Whether everything recorded follows from the decisions."
    )
    events: int = record_field(
        "events", description="Events that were decided again, or explained."
    )
    attempts: int = record_field(
        "attempts", description="Rows of attempts that were decided again."
    )
    inputs: int = record_field(
        "inputs",
        description="Inputs of attempts that were rendered again; their digests are the recorded ones.",
    )
    outputs: int = record_field(
        "outputs",
        description="Stored outputs that were hashed again, in rows and in the blob store.",
    )
    executed: int = record_field(
        "executed", description="Attempts of pure steps that were run again."
    )
    left_out: int = record_field(
        "left_out",
        description="Attempts that completed and were not run again, although that was asked for: not pure, with a "
        "secret in the input, by other code than is there now, or no time was left.",
    )
    divergence: ReplayDivergence | None = record_field(
        lambda one: None if one.divergence is None else ReplayDivergence.of(one.divergence),
        description="The first thing that does not agree; null when everything does.",
    )

    @classmethod
    def of(cls, replay: model.ExecutionReplay) -> Self:
        """From its record."""
        return cls(record=replay)
