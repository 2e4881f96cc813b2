"""Reads of what an operator has set."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from resolvers.ids import workflow_uuid
from runtime.model.tenant_settings import TenantSettings


async def tenant_settings(context: Context, *, workflow_id: str | None) -> TenantSettings:
    """Those of the tenant, or of a workflow; an id that can't exist is looked for like any other."""
    workflow = None if workflow_id is None else workflow_uuid(workflow_id) or UUID(int=0)
    return await context.tenant_settings.get(context.who, workflow)
