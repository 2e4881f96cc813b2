"""LogLine: one line that a step logged in one attempt."""

from datetime import datetime
from typing import Self

import strawberry
from strawberry.scalars import JSON

from resolvers.context import Info
from resolvers.queries import execution as resolve
from runtime.model import event as model
from runtime.model.page import Page
from subgraph.directives import access
from subgraph.types.pagination import PageInfo


@strawberry.type(description="One line that a step logged.")
class LogLine:
    """One line that a step logged."""

    record: strawberry.Private[model.LogLine]
    cursor: str = strawberry.field(
        description="The line's place in its execution's log; reading goes on after it anywhere."
    )
    at: datetime = strawberry.field(description="When it was logged.")
    level: str = strawberry.field(description="debug, info, warning or error.")
    message: str = strawberry.field(description="The line itself, secrets masked.")
    fields: JSON | None = strawberry.field(
        description="Structured facts of the line.", directives=access("LogLine.fields")
    )
    stack: str | None = strawberry.field(
        description="The stack that was logged with it; null without the scope `executions:debug`.",
        directives=access("LogLine.stack"),
    )
    attempt: int = strawberry.field(description="The attempt that logged it, from 1.")
    generation: int = strawberry.field(description="The generation that logged it, from 0.")
    map_index: int | None = strawberry.field(
        description="Of a map's item that logged it, its place in the list; null otherwise."
    )

    @strawberry.field(description="The step that logged it.")
    async def step_key(self, info: Info) -> str | None:
        """The step that logged it."""
        steps = await resolve.steps(info.context, execution_id=self.record.execution_id)
        return next((step.key for step in steps if step.index == self.record.step), None)

    @classmethod
    def of(cls, line: model.LogLine) -> Self:
        """From its record."""
        return cls(
            record=line,
            cursor=str(line.position),
            at=line.at,
            level=line.level,
            message=line.message,
            fields=None if line.fields is None else JSON(line.fields),
            stack=line.stack,
            attempt=line.attempt,
            generation=line.generation,
            map_index=line.item if line.item >= 0 else None,
        )


@strawberry.type(description="One log line in a page.")
class LogEdge:
    """One log line in a page."""

    cursor: str = strawberry.field(description="The place of this line in the log.")
    node: LogLine = strawberry.field(description="The line.")


@strawberry.type(description="A page of log lines, oldest first.")
class LogConnection:
    """A page of log lines."""

    edges: list[LogEdge] = strawberry.field(description="The lines with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the log.")

    @classmethod
    def of(cls, page: Page[model.LogLine]) -> Self:
        """From a page of records."""
        edges = [
            LogEdge(cursor=cursor, node=LogLine.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))
