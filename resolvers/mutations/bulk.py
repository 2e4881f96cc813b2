"""Starting and stopping bulk operations."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from resolvers.ids import bulk_operation_uuid
from resolvers.words import reason_of
from runtime.model.bulk import BulkDeed, BulkOperation
from runtime.model.execution import ExecutionFilter

# Nobody's: an id that can't exist is looked for like any other, and not found.
_NOBODYS = UUID(int=0)


async def start(
    context: Context, *, token: str, filter: ExecutionFilter, deed: BulkDeed, reason: str | None
) -> BulkOperation:
    """Have it done to what its preview has frozen."""
    key = bulk_operation_uuid(token) or _NOBODYS
    return await context.bulk.start(context.who, key, filter, deed, reason=reason_of(reason))


async def stop(context: Context, *, id: str, reason: str | None) -> BulkOperation:
    """Let it end before its next executions."""
    key = bulk_operation_uuid(id) or _NOBODYS
    return await context.bulk.stop(context.who, key, reason=reason_of(reason))
