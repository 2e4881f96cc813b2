"""Workflow: a name, a draft that can be edited, and the versions that were published from it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from resolvers import entities
from resolvers.context import Info
from resolvers.ids import WorkflowId
from resolvers.queries import execution as executions_of
from resolvers.queries import execution_stats as stats_of
from resolvers.queries import workflow as resolve
from runtime.model import execution as execution_model
from runtime.model import workflow as model
from runtime.model.page import Page
from runtime.model.values import SemVer
from subgraph.directives import access
from subgraph.faces import connection_face, face, show_page
from subgraph.types.actor import Actor
from subgraph.types.execution_stats import ExecutionStats
from subgraph.types.inputs.execution import ExecutionFilter, ExecutionOrder
from subgraph.types.inputs.execution_stats import DAY, WINDOW
from subgraph.types.label import LabelEntry, label_entries
from subgraph.types.node import Node
from subgraph.types.pagination import AFTER, FIRST, PageInfo, page_request
from subgraph.types.status import WorkflowStatus
from subgraph.types.workflow_diff import WorkflowDiff
from subgraph.types.workflow_version import WorkflowVersion, WorkflowVersionConnection

if TYPE_CHECKING:
    from subgraph.types.execution import ExecutionConnection


@face(model.Workflow)
@strawberry.federation.type(
    keys=["id", "name"],
    directives=access("Workflow"),
    description="A named definition: a draft that can be edited, and versions that can be run. "
    "As an entity, `name` is looked up in the namespace `default`.",
)
class Workflow(Node):
    """A named definition."""

    record: strawberry.Private[model.Workflow]
    name: str = strawberry.field(description="Unique within the tenant's namespace.")
    namespace: str = strawberry.field(description="The division of the tenant that it lives in.")
    display_name: str | None = strawberry.field(description="A name for people.")
    description: str | None = strawberry.field(description="What it is for.")
    status: WorkflowStatus = strawberry.field(description="Where it is in its life.")
    region: str | None = strawberry.field(
        description="Where its executions run, when that matters."
    )
    created_at: datetime = strawberry.field(description="When it was created.")
    updated_at: datetime = strawberry.field(
        description="When it, its draft or its list of versions last changed."
    )

    @strawberry.field(
        description="Labels, in order of their keys.", directives=access("Workflow.labels")
    )
    def labels(self) -> list[LabelEntry]:
        """Labels, in order of their keys."""
        return label_entries(self.record.labels)

    @strawberry.field(description="Who created it.")
    def created_by(self) -> Actor:
        """Who created it."""
        return Actor.of(self.record.created_by)

    @strawberry.field(
        description="The version that new executions take unless one is named: the highest published "
        "one that is not deprecated. Null before the first is published."
    )
    async def current_version(self, info: Info) -> WorkflowVersion | None:
        """The version that new executions take."""
        found = await info.context.loaders.current_version.load(self.record.id)
        return WorkflowVersion.of(found) if found else None

    @strawberry.field(
        description="What would be published now; null when nothing was changed since."
    )
    async def draft(self, info: Info) -> WorkflowVersion | None:
        """What would be published now."""
        found = await info.context.loaders.draft.load(self.record.id)
        return WorkflowVersion.of(found) if found else None

    @strawberry.field(description="One published version.")
    async def version(
        self,
        info: Info,
        version: Annotated[SemVer, strawberry.argument(description="The version's number.")],
    ) -> WorkflowVersion | None:
        """One published version."""
        found = await resolve.version(info.context, workflow_id=self.record.id, version=version)
        return WorkflowVersion.of(found) if found else None

    @strawberry.field(
        description="Published versions, highest first.", directives=access("Workflow.versions")
    )
    async def versions(
        self, info: Info, first: FIRST = 20, after: AFTER = None
    ) -> WorkflowVersionConnection:
        """Published versions, highest first."""
        page = page_request(first, after)
        return WorkflowVersionConnection.of(
            await resolve.versions(info.context, workflow_id=self.record.id, page=page)
        )

    @strawberry.field(
        description="What changed from one version to another, and what it means for callers.",
        directives=access("Workflow.diff"),
    )
    async def diff(
        self,
        info: Info,
        from_: Annotated[
            SemVer, strawberry.argument(name="from", description="The version before.")
        ],
        to: Annotated[
            SemVer | None,
            strawberry.argument(description="The version after; the draft if absent."),
        ] = None,
    ) -> WorkflowDiff:
        """What changed from one version to another."""
        found = await resolve.diff(info.context, workflow_id=self.record.id, before=from_, after=to)
        return WorkflowDiff.of(found)

    @strawberry.field(
        description="Executions of any version of it.", directives=access("Workflow.executions")
    )
    async def executions(
        self,
        info: Info,
        filter: Annotated[
            ExecutionFilter | None, strawberry.argument(description="Which of them.")
        ] = None,
        order_by: Annotated[
            ExecutionOrder | None, strawberry.argument(description="In which order; newest first.")
        ] = None,
        first: FIRST = 20,
        after: AFTER = None,
    ) -> Annotated["ExecutionConnection", strawberry.lazy("subgraph.types.execution")]:
        """Executions of any version of it."""
        wanted = ExecutionFilter.record(filter, workflow_id=self.record.id)
        page = await executions_of.executions(
            info.context,
            filter=wanted,
            page=page_request(first, after),
            order=ExecutionOrder.record(order_by),
        )
        connection: ExecutionConnection = show_page(
            execution_model.Execution,
            page,
            count=lambda: executions_of.count_executions(info.context, filter=wanted),
        )
        return connection

    @strawberry.field(
        description="Numbers of executions of any version of it.",
        directives=access("Workflow.stats"),
    )
    async def stats(self, info: Info, window: WINDOW = DAY) -> ExecutionStats:
        """Numbers of executions of any version of it."""
        return ExecutionStats.of(
            await stats_of.workflow_stats(info.context, workflow_id=self.record.id, window=window)
        )

    @classmethod
    def of(cls, workflow: model.Workflow) -> Self:
        """From its record."""
        return cls(
            record=workflow,
            id=strawberry.ID(str(WorkflowId(workflow.id))),
            name=workflow.name,
            namespace=workflow.namespace,
            display_name=workflow.display_name,
            description=workflow.description,
            status=workflow.status,
            region=workflow.region,
            created_at=workflow.created_at,
            updated_at=workflow.updated_at,
        )

    @classmethod
    async def resolve_reference(
        cls, info: Info, id: strawberry.ID | None = None, name: str | None = None
    ) -> Self | None:
        """The entity of a gateway's reference."""
        found = await entities.workflow(info.context, id=id, name=name)
        return cls.of(found) if found else None


@strawberry.type(description="One workflow in a page.")
class WorkflowEdge:
    """One workflow in a page."""

    cursor: str = strawberry.field(description="The place of this workflow in the list.")
    node: Workflow = strawberry.field(description="The workflow.")


@connection_face(model.Workflow)
@strawberry.type(description="A page of workflows.")
class WorkflowConnection:
    """A page of workflows."""

    count: strawberry.Private[Callable[[], Awaitable[int]]]
    edges: list[WorkflowEdge] = strawberry.field(description="The workflows with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @strawberry.field(
        description="How many there are in all pages.",
        directives=access("WorkflowConnection.totalCount"),
    )
    async def total_count(self) -> int | None:
        """How many there are in all pages."""
        return await self.count()

    @classmethod
    def of(cls, page: Page[model.Workflow], *, count: Callable[[], Awaitable[int]]) -> Self:
        """From a page of records."""
        edges = [
            WorkflowEdge(cursor=cursor, node=Workflow.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page))
