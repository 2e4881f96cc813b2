"""ExecutionError: why an execution or a step failed."""

from typing import Self

import strawberry
from strawberry.scalars import JSON

from runtime.model import execution as model


@strawberry.type(description="Why an execution or a step failed.")
class ExecutionError:
    """Why an execution or a step failed."""

    type: str = strawberry.field(description="The class of the error, as retry policies name it.")
    message: str = strawberry.field(description="What went wrong, for people.")
    retryable: bool = strawberry.field(description="Whether trying again could help.")
    step_key: str | None = strawberry.field(description="The step that failed, when it was one.")
    details: JSON | None = strawberry.field(description="Facts that the connector gave with it.")

    @classmethod
    def of(cls, error: model.ExecutionError | None) -> Self | None:
        """From its record."""
        if error is None:
            return None
        return cls(
            type=error.type,
            message=error.message,
            retryable=error.retryable,
            step_key=error.step_key,
            details=None if error.details is None else JSON(error.details),
        )
