"""Reads of bulk operations, and their preview."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from resolvers.ids import bulk_operation_uuid
from runtime.model.bulk import BulkDeed, BulkOperation, BulkPreview, BulkResult
from runtime.model.execution import ExecutionFilter
from runtime.model.page import Page, PageRequest


async def preview(context: Context, *, filter: ExecutionFilter, deed: BulkDeed) -> BulkPreview:
    """Freeze the executions of a filter, and say what would be done to them."""
    return await context.bulk.preview(context.who, filter, deed)


async def bulk_operation(context: Context, *, id: str) -> BulkOperation | None:
    """One that was started."""
    key = bulk_operation_uuid(id)
    return await context.loaders.bulk_operation.load(key) if key else None


async def bulk_operations(context: Context, *, page: PageRequest) -> Page[BulkOperation]:
    """A page of the tenant's, the newest first."""
    return await context.bulk.list(context.who, page)


async def results(
    context: Context, *, operation: UUID, page: PageRequest, only_refused: bool
) -> Page[BulkResult]:
    """What became of its executions so far."""
    return await context.bulk.results(context.who, operation, page, only_refused=only_refused)
