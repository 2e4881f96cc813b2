"""BulkOperation: one action done to every execution of a frozen selection; its preview, progress and results."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from resolvers.ids import BulkOperationId
from resolvers.queries import bulk as bulk_of
from runtime.model import bulk as model
from runtime.model.page import Page
from subgraph.directives import access
from subgraph.faces import face
from subgraph.types.actor import Actor
from subgraph.types.execution import Execution
from subgraph.types.node import Node
from subgraph.types.pagination import AFTER, FIRST, PageInfo, page_request
from subgraph.types.status import (
    BulkAction,
    BulkEffect,
    BulkOperationStatus,
    BulkOutcome,
    ExecutionStatus,
)
from subgraph.types.user_error import UserError, attempt, refused


@strawberry.type(description="What became of one execution of a bulk operation.")
class BulkResult:
    """What became of one execution."""

    record: strawberry.Private[model.BulkResult]
    position: int = strawberry.field(description="Its place in the selection, from 1.")
    execution_id: strawberry.ID = strawberry.field(description="The execution's id.")
    outcome: BulkOutcome = strawberry.field(description="Whether it was done.")
    code: str | None = strawberry.field(
        description="Why it was refused, e.g. EXECUTION_FINISHED; stable."
    )
    message: str | None = strawberry.field(description="The same, for people.")
    at: datetime = strawberry.field(description="When it had its turn.")

    @strawberry.field(
        description="The execution, as it is now; null when retention has taken it.",
        directives=access("BulkResult.execution"),
    )
    async def execution(self, info: Info) -> Execution | None:
        """The execution."""
        found = await info.context.loaders.execution.load(self.record.execution_id)
        return Execution.of(found) if found else None

    @classmethod
    def of(cls, result: model.BulkResult) -> Self:
        """From its record."""
        return cls(
            record=result,
            position=result.position,
            execution_id=strawberry.ID(str(result.execution_id)),
            outcome=result.outcome,
            code=result.code,
            message=result.message,
            at=result.at,
        )


@strawberry.type(description="One result in a page.")
class BulkResultEdge:
    """One result in a page."""

    cursor: str = strawberry.field(description="The place of this result in the list.")
    node: BulkResult = strawberry.field(description="The result.")


@strawberry.type(description="A page of results, in the order in which executions had their turn.")
class BulkResultConnection:
    """A page of results."""

    edges: list[BulkResultEdge] = strawberry.field(description="The results with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @classmethod
    def of(cls, page: Page[model.BulkResult]) -> Self:
        """From a page of records."""
        edges = [
            BulkResultEdge(cursor=cursor, node=BulkResult.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))


@face(model.BulkOperation)
@strawberry.federation.type(
    keys=["id"],
    directives=access("BulkOperation"),
    description="An action that is done to each execution of a selection, which its preview has frozen. It goes on "
    "when the process that works on it is lost, and nothing is done twice. It is kept for thirty days.",
)
class BulkOperation(Node):
    """One action on many executions."""

    record: strawberry.Private[model.BulkOperation]
    action: BulkAction = strawberry.field(description="What is done.")
    details: JSON = strawberry.field(
        description="Said with the action: `compensate`, `from_failed_step`, `to_version`, `signal`, `payload`."
    )
    filter: JSON = strawberry.field(description="What the executions were selected by.")
    status: BulkOperationStatus = strawberry.field(description="Whether it runs, and how it ended.")
    total: int = strawberry.field(description="How many executions were selected.")
    done: int = strawberry.field(description="To how many of them it was done.")
    refused: int = strawberry.field(
        description="How many of them refused; `results(onlyRefused: true)` says why."
    )
    created_by: Actor = strawberry.field(description="Who started it.")
    reason: str | None = strawberry.field(
        description="Why, in their words; on every execution's event too."
    )
    created_at: datetime = strawberry.field(description="When the selection was frozen.")
    started_at: datetime | None = strawberry.field(description="When it was started.")
    finished_at: datetime | None = strawberry.field(
        description="When it ended; null while it runs."
    )
    stopped_by: Actor | None = strawberry.field(description="Who asked it to stop.")
    stop_reason: str | None = strawberry.field(description="Why they did, in their words.")

    @strawberry.field(
        description="What became of each execution so far.",
        directives=access("BulkOperation.results"),
    )
    async def results(
        self,
        info: Info,
        first: FIRST = 20,
        after: AFTER = None,
        only_refused: Annotated[
            bool, strawberry.argument(description="Only what was refused.")
        ] = False,
    ) -> BulkResultConnection:
        """What became of each execution so far."""
        page = await bulk_of.results(
            info.context,
            operation=self.record.id,
            page=page_request(first, after),
            only_refused=only_refused,
        )
        return BulkResultConnection.of(page)

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The operation that a gateway refers to."""
        found = await entities.bulk_operation(info.context, id=id)
        return cls.of(found) if found else None

    @classmethod
    def of(cls, operation: model.BulkOperation) -> Self:
        """From its record."""
        said = operation.deed.as_json()
        return cls(
            record=operation,
            id=strawberry.ID(str(BulkOperationId(operation.id))),
            action=operation.deed.action,
            details=JSON({name: value for name, value in said.items() if name != "action"}),
            filter=JSON(operation.filter),
            status=operation.state,
            total=operation.total,
            done=operation.done,
            refused=operation.refused,
            created_by=Actor.of(operation.actor),
            reason=operation.reason,
            created_at=operation.created_at,
            started_at=operation.started_at,
            finished_at=operation.finished_at,
            stopped_by=Actor.of(operation.stopped_by) if operation.stopped_by else None,
            stop_reason=operation.stop_reason,
        )


@strawberry.type(description="One bulk operation in a page.")
class BulkOperationEdge:
    """One bulk operation in a page."""

    cursor: str = strawberry.field(description="The place of this operation in the list.")
    node: BulkOperation = strawberry.field(description="The operation.")


@strawberry.type(description="A page of bulk operations, the newest first.")
class BulkOperationConnection:
    """A page of bulk operations."""

    edges: list[BulkOperationEdge] = strawberry.field(
        description="The operations with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @classmethod
    def of(cls, page: Page[model.BulkOperation]) -> Self:
        """From a page of records."""
        edges = [
            BulkOperationEdge(cursor=cursor, node=BulkOperation.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))


@strawberry.type(
    description="How many of a selection are in a status, and what the action does to them."
)
class BulkShare:
    """How many are in a status, and what happens to them."""

    status: ExecutionStatus = strawberry.field(description="The status.")
    count: int = strawberry.field(description="How many are in it.")
    effect: BulkEffect = strawberry.field(description="What the action does to them.")
    detail: str = strawberry.field(description="The same of one of them, for people.")

    @classmethod
    def of(cls, share: model.BulkShare) -> Self:
        """From its record."""
        return cls(status=share.state, count=share.count, effect=share.effect, detail=share.detail)


@strawberry.type(
    description="What a bulk operation would do. Its selection is frozen: starting it acts on these executions and no "
    "others."
)
class BulkOperationPreview:
    """What a bulk operation would do."""

    record: strawberry.Private[model.BulkPreview]
    total: int = strawberry.field(description="How many executions were selected, exactly.")
    shares: list[BulkShare] = strawberry.field(
        description="The selection by status.", directives=access("BulkOperationPreview.shares")
    )
    token: str = strawberry.field(
        description="Starts it, together with the same filter and action, until it expires."
    )
    expires_at: datetime = strawberry.field(description="Until when it can be started.")

    @strawberry.field(
        description="The newest of them, ten at most.",
        directives=access("BulkOperationPreview.sample"),
    )
    async def sample(self, info: Info) -> list[Execution]:
        """The newest of them."""
        found = await info.context.loaders.execution.load_many(self.record.sample)
        return [Execution.of(one) for one in found if one]

    @classmethod
    def of(cls, preview: model.BulkPreview) -> Self:
        """From its record."""
        return cls(
            record=preview,
            total=preview.total,
            shares=[BulkShare.of(one) for one in preview.shares],
            token=str(BulkOperationId(preview.id)),
            expires_at=preview.expires_at,
        )


@strawberry.type(description="What became of a change of a bulk operation.")
class BulkOperationPayload:
    """What became of a change of a bulk operation."""

    bulk_operation: BulkOperation | None = strawberry.field(
        description="The operation after the change; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("BulkOperationPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.BulkOperation]) -> Self:
        """Do the work and say what became of it."""
        operation, error = await attempt(work)
        return cls(
            bulk_operation=BulkOperation.of(operation) if operation else None,
            errors=refused(error) if error else [],
        )
