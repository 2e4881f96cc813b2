"""Root fields that stream: every subscription replays from a cursor and then goes live."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from resolvers.context import Info
from resolvers.subscriptions import execution as resolve
from subgraph.directives import access
from subgraph.types.execution_event import ExecutionEvent
from subgraph.types.log_line import LogLine
from subgraph.types.pagination import position
from subgraph.types.status import ExecutionEventType


@strawberry.type(
    description="Streams. Each can go on after the last cursor that a client has seen."
)
class Subscription:
    """Streams."""

    @strawberry.subscription(
        description="Every event of one execution in order, none lost and none twice: starts after "
        "`after`, replays the log, then goes live; ends after the terminal event.",
        directives=[*access("Subscription.executionEvents")],
    )
    async def execution_events(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")],
        after: Annotated[
            str | None, strawberry.argument(description="The last cursor seen; null for all.")
        ] = None,
        types: Annotated[
            list[ExecutionEventType] | None, strawberry.argument(description="Only these kinds.")
        ] = None,
    ) -> AsyncGenerator[ExecutionEvent, None]:
        """Every event of one execution."""
        resume = info.context.resume
        events = resolve.execution_events(
            info.context, id=id, after=position(resume.after or after), kinds=tuple(types or ())
        )
        async for event in events:
            # What hangs on an event is asked for anew: the execution has moved on since the last one.
            info.context.loaders.forget()
            resume.at = str(event.sequence)
            yield ExecutionEvent.of(event)

    @strawberry.subscription(
        description="What the steps of one execution log, in order: replayed after `after`, then live; "
        "ends with the execution.",
        directives=[*access("Subscription.executionLogs")],
    )
    async def execution_logs(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")],
        after: Annotated[
            str | None, strawberry.argument(description="The last cursor seen; null for all.")
        ] = None,
        step_key: Annotated[
            str | None, strawberry.argument(description="Only what this step logs.")
        ] = None,
    ) -> AsyncGenerator[LogLine, None]:
        """What the steps of one execution log."""
        resume = info.context.resume
        lines = resolve.execution_logs(
            info.context, id=id, after=position(resume.after or after), step_key=step_key
        )
        async for line in lines:
            resume.at = str(line.position)
            yield LogLine.of(line)
