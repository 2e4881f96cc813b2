"""ExecutionError: why an execution or a step failed."""

from typing import Self
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.context import Info
from resolvers.queries import execution as resolve
from runtime.model import execution as model
from subgraph.compiled.declare import later
from subgraph.directives import access


@strawberry.type(description="Why an execution or a step failed.")
class ExecutionError:
    """Why an execution or a step failed."""

    record: strawberry.Private[model.ExecutionError]
    # Of the whole execution: the stack stands with its step.
    execution_id: strawberry.Private[UUID | None]
    at: strawberry.Private[int | None]
    type: str = strawberry.field(description="The class of the error, as retry policies name it.")
    message: str = strawberry.field(description="What went wrong, for people.")
    retryable: bool = strawberry.field(description="Whether trying again could help.")
    step_key: str | None = strawberry.field(description="The step that failed, when it was one.")
    details: JSON | None = strawberry.field(description="Facts that the connector gave with it.")

    @strawberry.field(
        description="Where it was raised in the code of who wrote the step, secrets masked, at most 4 KiB; null for "
        "connectors that come with the engine, and without the scope `executions:debug`.",
        directives=access("ExecutionError.stack"),
    )
    def stack(self, info: Info) -> str | None:
        """Where it was raised."""
        if self.execution_id is None or self.step_key is None:
            return self.record.stack
        found: str | None = later(
            resolve.stack(
                info.context,
                execution_id=self.execution_id,
                step_key=self.step_key,
                at=self.at,
            ),
            lambda stack: stack,
        )
        return found

    @classmethod
    def of(
        cls,
        error: model.ExecutionError | None,
        *,
        execution_id: UUID | None = None,
        at: int | None = None,
    ) -> Self | None:
        """From its record; with an id, it is that of a whole execution, or what it was `at` an event."""
        if error is None:
            return None
        return cls(
            record=error,
            execution_id=execution_id,
            at=at,
            type=error.type,
            message=error.message,
            retryable=error.retryable,
            step_key=error.step_key,
            details=None if error.details is None else JSON(error.details),
        )
