"""Previews of migrations of executions."""

from __future__ import annotations

from resolvers.context import Context
from resolvers.ids import workflow_uuid
from runtime.model.errors import NotFound
from runtime.model.execution_migration import MigrationPreview
from runtime.model.page import Page, PageRequest
from runtime.model.values import SemVer


async def migration_preview(
    context: Context, *, workflow_id: str, before: SemVer, after: SemVer, page: PageRequest
) -> Page[MigrationPreview]:
    """What a migration of each execution of a version would come to now."""
    key = workflow_uuid(workflow_id)
    if key is None:
        raise NotFound(f"There is no workflow {workflow_id[:64]!r}.", reason="WORKFLOW_NOT_FOUND")
    return await context.migrations.preview(context.who, key, before, after, page)
