"""Children of an execution: those that its steps have started, in the order in which they did."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

import strawberry

from resolvers.context import Info
from runtime.model.event import ExecutionEvent
from runtime.model.page import Page
from subgraph.compiled.declare import record_field
from subgraph.types.pagination import PageInfo
from subgraph.types.step_execution import family_member

if TYPE_CHECKING:
    from subgraph.types.execution import Execution


@strawberry.type(description="One child in a page.")
class ChildEdge:
    """One child in a page."""

    record: strawberry.Private[ExecutionEvent]
    cursor: str = record_field(
        lambda event: str(event.sequence),
        description="The place of its start in the log of its parent, as in `events`.",
    )
    step_key: str = record_field(
        lambda event: str(event.field("key")), description="The step that has started it."
    )
    attempt: int = record_field(
        lambda event: event.field("attempt"), description="The attempt of that step, from 1."
    )
    started_at: datetime = record_field("at", description="When it was started.")

    @strawberry.field(description="The child as it is now; null when it is kept no longer.")
    def node(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")] | None:
        """The child as it is now."""
        child: Execution | None = family_member(info, UUID(str(self.record.field("child"))))
        return child


@strawberry.type(description="A page of children, in the order in which they were started.")
class ChildConnection:
    """A page of children."""

    edges: list[ChildEdge] = strawberry.field(description="The children with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies among all children.")

    @classmethod
    def of(cls, page: Page[ExecutionEvent]) -> Self:
        """From a page of the events that tell of them."""
        return cls(
            edges=[ChildEdge(record=event) for event in page.items],
            page_info=PageInfo.of(page),
        )
