"""MigrationPreview: whether executions could go on with another version of their workflow."""

from typing import Self

import strawberry

from resolvers.context import Info
from runtime.model import execution_migration as model
from runtime.model.page import Page
from subgraph.compiled.declare import record_field
from subgraph.directives import access
from subgraph.types.execution import Execution
from subgraph.types.pagination import PageInfo
from subgraph.types.status import MigrationObstacle, MigrationVerdict


@strawberry.type(
    description="One thing that keeps an execution from going on with another version."
)
class MigrationFinding:
    """One obstacle."""

    record: strawberry.Private[model.MigrationFinding]
    obstacle: MigrationObstacle = record_field("obstacle", description="What it is; stable.")
    message: str = record_field("message", description="The same in one sentence, for people.")
    step_key: str | None = record_field(
        "step_key", description="The step of the present version that it is about."
    )

    @classmethod
    def of(cls, finding: model.MigrationFinding) -> Self:
        """From its record."""
        return cls(record=finding)


@strawberry.type(
    description="What a migration of one execution to another version of its workflow would come to; nothing has "
    "happened."
)
class MigrationPreview:
    """What a migration would come to."""

    record: strawberry.Private[model.MigrationPreview]
    execution_id: strawberry.ID = record_field(
        lambda one: strawberry.ID(str(one.execution_id)), description="The execution's id."
    )
    verdict: MigrationVerdict = record_field("verdict", description="Whether it could go on.")
    findings: list[MigrationFinding] = record_field(
        lambda one: [MigrationFinding.of(finding) for finding in one.findings],
        description="What stands in its way; empty when it is safe.",
        directives=access("MigrationPreview.findings"),
    )

    @strawberry.field(
        description="The execution, as it is now.", directives=access("MigrationPreview.execution")
    )
    async def execution(self, info: Info) -> Execution | None:
        """The execution."""
        found = await info.context.loaders.execution.load(self.record.execution_id)
        return Execution.of(found) if found else None

    @classmethod
    def of(cls, preview: model.MigrationPreview) -> Self:
        """From its record."""
        return cls(record=preview)


@strawberry.type(description="One preview in a page.")
class MigrationPreviewEdge:
    """One preview in a page."""

    cursor: str = strawberry.field(description="The place of this execution in the list.")
    node: MigrationPreview = strawberry.field(description="The preview.")


@strawberry.type(description="A page of previews, of the newest executions first.")
class MigrationPreviewConnection:
    """A page of previews."""

    edges: list[MigrationPreviewEdge] = strawberry.field(
        description="The previews with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @classmethod
    def of(cls, page: Page[model.MigrationPreview]) -> Self:
        """From a page of records."""
        edges = [
            MigrationPreviewEdge(cursor=cursor, node=MigrationPreview.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))
