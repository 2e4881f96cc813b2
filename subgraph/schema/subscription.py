"""Root fields that stream: logs are replayed from a cursor and then live, lists tell the newest states."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from resolvers.context import Info
from resolvers.subscriptions import execution as resolve
from subgraph.directives import access
from subgraph.types.execution_event import ExecutionEvent
from subgraph.types.execution_update import ExecutionUpdate
from subgraph.types.inputs.execution import ExecutionFilter
from subgraph.types.log_line import LogLine
from subgraph.types.pagination import position, size_of
from subgraph.types.status import ExecutionEventType


@strawberry.type(
    description="Streams. Each can go on after the last cursor that a client has seen."
)
class Subscription:
    """Streams."""

    @strawberry.subscription(
        description="Every event of one execution in order, none lost and none twice: starts after "
        "`after`, replays the log, then goes live; ends after the terminal event.",
        directives=access("Subscription.executionEvents"),
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
        context, resume = info.context, info.context.resume
        del info  # with it goes an executor, which would be held for as long as the stream lasts
        events = resolve.execution_events(
            context, id=id, after=position(resume.after or after), kinds=tuple(types or ())
        )
        async for event in events:
            resume.at = str(event.sequence)
            yield ExecutionEvent.of(event)

    @strawberry.subscription(
        description="The executions of a list, and then the newest state of each that comes in, changes, or falls out: "
        "every final state, and no execution more than once a second. First the newest page, or what changed since "
        "`after`; STREAM_LOST when that is not kept any more.",
        directives=access("Subscription.executions"),
    )
    async def executions(
        self,
        info: Info,
        filter: Annotated[
            ExecutionFilter | None, strawberry.argument(description="Which of them.")
        ] = None,
        first: Annotated[
            int | None,
            strawberry.argument(description="How many are shown at first, 1 to 100."),
        ] = 20,
        after: Annotated[
            str | None,
            strawberry.argument(description="The last cursor seen; null for a page at first."),
        ] = None,
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """The executions of a list, and their newest states."""
        context, resume = info.context, info.context.resume
        del info  # with it goes an executor, which would be held for as long as the stream lasts
        changes = resolve.executions(
            context,
            filter=ExecutionFilter.record(filter),
            size=size_of("first", first),
            after=resume.after or after,
        )
        async for change in changes:
            resume.at = change.cursor
            yield ExecutionUpdate.of(change)

    @strawberry.subscription(
        description="What the steps of one execution log, in order: replayed after `after`, then live; "
        "ends with the execution.",
        directives=access("Subscription.executionLogs"),
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
        context, resume = info.context, info.context.resume
        del info  # with it goes an executor, which would be held for as long as the stream lasts
        lines = resolve.execution_logs(
            context, id=id, after=position(resume.after or after), step_key=step_key
        )
        async for line in lines:
            resume.at = str(line.position)
            yield LogLine.of(line)
