"""What is done to many executions, and which preview is started."""

from typing import cast

import strawberry
from strawberry.scalars import JSON

from resolvers.words import storable
from runtime.model import bulk as model
from runtime.model.values import Json, SemVer
from subgraph.types.inputs.execution import ExecutionFilter
from subgraph.types.status import BulkAction


@strawberry.input(
    description="What is done to each execution; each action reads only what is its own."
)
class BulkActionInput:
    """What is done to each execution."""

    type: BulkAction = strawberry.field(description="The action.")
    compensate: bool = strawberry.field(
        default=False, description="CANCEL: undo what it has done, as far as its steps say how."
    )
    from_failed_step: bool = strawberry.field(
        default=True, description="RETRY: keep the results of what completed, or run all again."
    )
    signal: str | None = strawberry.field(default=None, description="SIGNAL: its name.")
    payload: JSON | None = strawberry.field(default=None, description="SIGNAL: what it carries.")
    to_version: SemVer | None = strawberry.field(
        default=None, description="MIGRATE: the version of its workflow that it goes on with."
    )

    def deed(self) -> model.BulkDeed:
        """As services take it."""
        return model.BulkDeed(
            self.type,
            compensate=self.compensate,
            from_failed_step=self.from_failed_step,
            signal=storable("signal", self.signal),
            payload=cast("Json", self.payload),
            to_version=None if self.to_version is None else str(self.to_version),
        )


@strawberry.input(
    description="A previewed bulk operation to start: the token, and what it was given for."
)
class StartBulkOperationInput:
    """A previewed bulk operation to start."""

    token: str = strawberry.field(description="The preview's.")
    filter: ExecutionFilter = strawberry.field(description="As it was previewed.")
    action: BulkActionInput = strawberry.field(description="As it was previewed.")
    reason: str | None = strawberry.field(
        default=None,
        description="Why; stands on the operation and on every execution's event. At most 2,000 characters.",
    )


@strawberry.input(description="A bulk operation to stop.")
class StopBulkOperationInput:
    """A bulk operation to stop."""

    bulk_operation_id: strawberry.ID = strawberry.field(description="Its id.")
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the operation. At most 2,000 characters."
    )
