"""What the mutations of executions answer."""

from collections.abc import Awaitable, Sequence
from typing import Self

import strawberry

from runtime.model import execution as model
from runtime.model.errors import MaestroError, Unavailable
from subgraph.context import OperationContext
from subgraph.directives import access
from subgraph.errors import said
from subgraph.types.execution import Execution
from subgraph.types.user_error import UserError, attempt, refused


@strawberry.type(description="What became of a change of an execution.")
class ExecutionPayload:
    """What became of a change of an execution."""

    execution: Execution | None = strawberry.field(
        description="The execution after the change; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("ExecutionPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.Execution]) -> Self:
        """Do the work and say what became of it."""
        execution, error = await attempt(work)
        return cls(
            execution=Execution.of(execution) if execution else None,
            errors=refused(error) if error else [],
        )


@strawberry.type(description="What became of one execution to start.")
class EnqueueExecutionPayload:
    """What became of one execution to start."""

    execution: Execution | None = strawberry.field(
        description="The execution, durable when this is read; null when it was refused."
    )
    created: bool = strawberry.field(
        description="False when its idempotency key was known: then this is the first answer again."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("EnqueueExecutionPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.Enqueued]) -> Self:
        """Do the work and say what became of it."""
        done, error = await attempt(work)
        return cls.of(done or error, path=("input",))

    @classmethod
    def of(cls, outcome: model.Enqueued | MaestroError | None, *, path: Sequence[str]) -> Self:
        """From what became of it; `path` is where its input stands among the arguments."""
        if isinstance(outcome, model.Enqueued):
            return cls(
                execution=Execution.of(outcome.execution), created=outcome.created, errors=[]
            )
        errors = refused(outcome, path=path) if outcome else []
        return cls(execution=None, created=False, errors=errors)


@strawberry.type(description="What became of several executions to start.")
class EnqueueExecutionsPayload:
    """What became of several executions to start."""

    outcomes: strawberry.Private[Sequence[model.Enqueued | MaestroError]]
    created_count: int = strawberry.field(description="How many were newly accepted.")
    errors: list[UserError] = strawberry.field(
        description="Why the whole request was refused; empty when it was looked at.",
        directives=access("EnqueueExecutionsPayload.errors"),
    )

    @strawberry.field(
        description="One per input, in their order; each is accepted or refused by itself.",
        directives=access("EnqueueExecutionsPayload.results"),
    )
    def results(self, info: strawberry.Info[OperationContext]) -> list[EnqueueExecutionPayload]:
        """One per input, in their order."""
        return [
            EnqueueExecutionPayload.of(
                _told(outcome, info.context.trace_id), path=("input", str(place))
            )
            for place, outcome in enumerate(self.outcomes)
        ]

    @classmethod
    async def answer(cls, work: Awaitable[Sequence[model.Enqueued | MaestroError]]) -> Self:
        """Do the work and say what became of each."""
        done, error = await attempt(work)
        if done is None:
            return cls(outcomes=(), created_count=0, errors=refused(error) if error else [])
        away = [one for one in done if isinstance(one, Unavailable)]
        if away and len(away) == len(done):
            raise away[0]
        created = sum(isinstance(one, model.Enqueued) and one.created for one in done)
        return cls(outcomes=done, created_count=created, errors=[])


def _told(outcome: model.Enqueued | MaestroError, trace_id: str) -> model.Enqueued | MaestroError:
    """What a caller hears of it: a database that is away is not named."""
    if isinstance(outcome, Unavailable):
        return Unavailable(said(outcome, trace_id), reason=outcome.reason)
    return outcome
