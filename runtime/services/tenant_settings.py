"""TenantSettingsService: what an operator has set for a tenant and its workflows; each change leaves an event."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from runtime.model.errors import NotFound
from runtime.model.identity import Principal
from runtime.model.tenant_settings import SettingName, TenantSettings, check_change
from runtime.services.access import READ_EXECUTIONS, WRITE_SETTINGS, require
from runtime.store.tenant import TenantStore


class TenantSettingsService:
    """Shows and changes them; changing has a scope that no role holds: nobody sets his own share by his role."""

    def __init__(self, tenants: TenantStore) -> None:
        self._tenants = tenants

    async def get(self, who: Principal, workflow: UUID | None = None) -> TenantSettings:
        """Those of the caller's tenant, or of a workflow of it; raises NotFound."""
        require(who, READ_EXECUTIONS)
        found = await self._tenants.shown_settings(who.tenant_id, workflow)
        if found is None:
            raise _unknown()
        return found

    async def change(
        self,
        who: Principal,
        workflow: UUID | None,
        values: Mapping[SettingName, int],
        gone: frozenset[SettingName] = frozenset(),
        *,
        reason: str | None = None,
    ) -> TenantSettings:
        """Set some and take others away; what is not named stays. Raises BadInput, NotFound."""
        require(who, READ_EXECUTIONS)
        require(who, WRITE_SETTINGS)
        check_change(values, gone, of_workflow=workflow is not None)
        found = await self._tenants.change_settings(
            who.tenant_id, workflow, values, gone, actor=who.actor, reason=reason
        )
        if found is None:
            raise _unknown()
        return found


def _unknown() -> NotFound:
    return NotFound("There is no such workflow.", reason="WORKFLOW_NOT_FOUND", path=("workflowId",))
