"""WorkflowVersion: what runs. Immutable once published; a draft is shown in the same shape."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

import strawberry
from strawberry.scalars import JSON

from resolvers.context import Info
from resolvers.entities import version as find_version
from resolvers.ids import VersionId
from runtime.model import workflow as model
from runtime.model.page import Page
from runtime.model.values import Digest, SemVer
from subgraph.compiled.declare import later
from subgraph.directives import access
from subgraph.faces import connection_face, face, show
from subgraph.types.actor import Actor
from subgraph.types.json import as_json
from subgraph.types.node import Node
from subgraph.types.pagination import PageInfo
from subgraph.types.status import DefinitionFormat, WorkflowVersionState
from subgraph.types.step_definition import StepDefinition, steps_of

if TYPE_CHECKING:
    from subgraph.types.workflow import Workflow


@face(model.WorkflowVersion)
@strawberry.federation.type(
    keys=["id"],
    directives=access("WorkflowVersion"),
    description="An immutable snapshot once published; as a draft, what would be published.",
)
class WorkflowVersion(Node):
    """An immutable snapshot of a workflow."""

    record: strawberry.Private[model.WorkflowVersion]
    version: SemVer = strawberry.field(description="The version's number.")
    state: WorkflowVersionState = strawberry.field(description="Where it is in its life.")
    digest: Digest = strawberry.field(
        description="Digest of the canonical definition: equal digests mean equal behaviour."
    )
    source: str = strawberry.field(
        description="The document as written, in the spelling it came in.",
        directives=access("WorkflowVersion.source"),
    )
    source_format: DefinitionFormat = strawberry.field(description="The spelling it came in.")
    definition: JSON = strawberry.field(
        description="The canonical definition.", directives=access("WorkflowVersion.definition")
    )
    published_at: datetime | None = strawberry.field(
        description="When it was published; null for a draft."
    )
    changelog: str | None = strawberry.field(description="What its author said about it.")

    @strawberry.field(description="The workflow that this is a version of.")
    async def workflow(
        self, info: Info
    ) -> Annotated["Workflow", strawberry.lazy("subgraph.types.workflow")]:
        """The workflow that this is a version of."""
        workflow: Workflow = show(await info.context.loaders.workflow.load(self.record.workflow_id))
        return workflow

    @strawberry.field(description="Who published it; null for a draft.")
    def published_by(self) -> Actor | None:
        """Who published it."""
        return Actor.of(self.record.published_by) if self.record.published_by else None

    @strawberry.field(
        description="JSON Schema of the input that an execution takes.",
        directives=access("WorkflowVersion.inputSchema"),
    )
    def input_schema(self, info: Info) -> JSON | None:
        """JSON Schema of the input."""
        return later(
            info.context.loaders.plan.load(self.record),
            lambda plan: as_json(plan.params_schema) if plan else None,
        )

    @strawberry.field(
        description="The steps in order of the document.",
        directives=access("WorkflowVersion.steps"),
    )
    def steps(self, info: Info) -> list[StepDefinition]:
        """The steps in order of the document."""
        return later(info.context.loaders.plan.load(self.record), steps_of)

    @classmethod
    def of(cls, version: model.WorkflowVersion) -> Self:
        """From its record."""
        return cls(
            record=version,
            id=strawberry.ID(str(VersionId(version.id))),
            version=version.version,
            state=version.state,
            digest=version.digest,
            source=version.source,
            source_format=version.source_format,
            definition=JSON(version.definition),
            published_at=version.published_at,
            changelog=version.changelog,
        )

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The entity of a gateway's reference."""
        found = await find_version(info.context, id=id)
        return cls.of(found) if found else None


@strawberry.type(description="One version in a page.")
class WorkflowVersionEdge:
    """One version in a page."""

    cursor: str = strawberry.field(description="The place of this version in the list.")
    node: WorkflowVersion = strawberry.field(description="The version.")


@connection_face(model.WorkflowVersion)
@strawberry.type(description="A page of a workflow's published versions, highest first.")
class WorkflowVersionConnection:
    """A page of versions."""

    edges: list[WorkflowVersionEdge] = strawberry.field(
        description="The versions with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @classmethod
    def of(cls, page: Page[model.WorkflowVersion]) -> Self:
        """From a page of records."""
        edges = [
            WorkflowVersionEdge(cursor=cursor, node=WorkflowVersion.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))
