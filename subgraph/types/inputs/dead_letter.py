"""What lists of dead letters can be narrowed to, and what is decided about them."""

from uuid import UUID

import strawberry

from resolvers.ids import execution_uuid
from runtime.model import dead_letter as model
from subgraph.types.inputs.filters import TimeRange, listed, word
from subgraph.types.status import DeadLetterStatus


@strawberry.input(description="Which dead letters are meant; what is left out does not restrict.")
class DeadLetterFilter:
    """Which dead letters are meant."""

    status: list[DeadLetterStatus] | None = strawberry.field(
        default=None, description="In one of these statuses."
    )
    execution_id: strawberry.ID | None = strawberry.field(
        default=None, description="Of this execution."
    )
    queue: str | None = strawberry.field(default=None, description="From this queue.")
    created: TimeRange | None = strawberry.field(default=None, description="Died in this range.")

    @staticmethod
    def record(given: "DeadLetterFilter | None") -> model.DeadLetterFilter:
        """As services take it."""
        if given is None:
            return model.DeadLetterFilter()
        created = given.created or TimeRange()
        # The nil UUID is nobody's: an id that can't exist matches nothing instead of restricting nothing.
        execution = given.execution_id and (execution_uuid(given.execution_id) or UUID(int=0))
        return model.DeadLetterFilter(
            status=listed("status", given.status),
            execution_id=execution or None,
            queue=word("queue", given.queue),
            created_from=created.from_,
            created_to=created.to,
        )


@strawberry.input(description="Dead letters to decide about: by their ids, or by a filter.")
class DeadLetterActionInput:
    """Dead letters to decide about."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="These; at most 1,000."
    )
    filter: DeadLetterFilter | None = strawberry.field(
        default=None,
        description="Or the newest open ones that this lets through and that can be decided so.",
    )
    reason: str | None = strawberry.field(
        default=None,
        description="Why; stands on the dead letter and on the event. At most 2,000 characters.",
    )
    limit: int = strawberry.field(
        default=100, description="With a filter, at most this many; 1 to 1,000."
    )
