"""Changes of what an operator has set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import workflow_uuid
from resolvers.words import reason_of
from runtime.model.tenant_settings import SettingName, TenantSettings


async def update(
    context: Context,
    *,
    workflow_id: str | None,
    values: Mapping[SettingName, int],
    unset: Iterable[SettingName],
    reason: str | None,
) -> TenantSettings:
    """Set some and take others away."""
    workflow = None if workflow_id is None else workflow_uuid(workflow_id) or UUID(int=0)
    return await context.tenant_settings.change(
        context.who, workflow, values, frozenset(unset), reason=reason_of(reason)
    )
