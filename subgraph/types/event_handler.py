"""EventHandler: who is told of what happened, and how far behind."""

from datetime import datetime
from typing import Self

import strawberry

from runtime.model import event_handler as model
from runtime.model.values import Duration
from subgraph.directives import access
from subgraph.types.status import EventHandlerState


@strawberry.type(description="An event on which a handler went on failing: it was passed by.")
class PassedEvent:
    """An event that was passed by."""

    event_id: str = strawberry.field(description="The event's id, as the handler is told it.")
    kind: str = strawberry.field(description="What happened, e.g. execution_failed.")
    attempts: int = strawberry.field(description="How often it was tried.")
    error: str = strawberry.field(description="What the handler said the last time.")
    at: datetime = strawberry.field(description="When it was passed by.")

    @classmethod
    def of(cls, one: model.PassedBy) -> Self:
        """From its record."""
        return cls(
            event_id=one.event_id,
            kind=one.kind,
            attempts=one.attempts,
            error=one.error,
            at=one.at,
        )


@strawberry.type(
    description="One that is told of what happened after its commit, on one stream of one shard."
)
class EventHandler:
    """One that is told of what happened."""

    name: str = strawberry.field(description="The name under which its place is kept.")
    stream: str = strawberry.field(description="`execution`, or `domain`: workflows.")
    shard: int = strawberry.field(description="The shard; -1 where the stream has none.")
    state: EventHandlerState = strawberry.field(description="How it does.")
    lag: Duration = strawberry.field(description="How old the next event is that it is to hear of.")
    attempts: int = strawberry.field(description="How often it failed in a row.")
    error: str | None = strawberry.field(
        description="What it said then; null also when that was about events of other tenants."
    )
    failed_at: datetime | None = strawberry.field(description="When it failed last, while it does.")
    missed_until: datetime | None = strawberry.field(
        description="Events up to then were deleted before it had them, and it has not been told yet."
    )
    passed_by: list[PassedEvent] = strawberry.field(
        description="Events of the tenant that it could not take, the newest first; at most 100 of all handlers.",
        directives=access("EventHandler.passedBy"),
    )

    @classmethod
    def of(cls, one: model.HandlerStatus) -> Self:
        """From its record."""
        return cls(
            name=one.handler,
            stream=one.stream,
            shard=one.shard,
            state=one.state,
            lag=Duration(round(one.lag_seconds * 1000)),
            attempts=one.attempts,
            error=one.error,
            failed_at=one.failed_at,
            missed_until=one.missed_until,
            passed_by=[PassedEvent.of(event) for event in one.passed_by],
        )
