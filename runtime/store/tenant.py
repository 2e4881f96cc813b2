"""Tenants: a token names one, rows carry its id. Names never move to another id, so they are cached."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from runtime.model.identity import Actor
from runtime.model.tenant_settings import SettingName, TenantSettings
from runtime.model.values import Json
from runtime.store.pool import Database
from runtime.store.statements import statements
from runtime.store.workflow import actor_json

_RECORD: Final = statements("workflow")["event"]
_SQL: Final = statements("tenant")
_MOST_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; `spread` ones have their executions on all shards."""

    id: UUID
    name: str
    spread: bool = False


class TenantStore:
    """Finds tenants by name or id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_name: dict[str, Tenant] = {}
        self._by_id: dict[UUID, Tenant] = {}

    async def resolve(self, name: str, *, create: bool) -> UUID | None:
        """The id of a tenant; None when there is no such tenant and none is to be made."""
        known = self._by_name.get(name)
        if known is None:
            known = await self._find(name, create=create)
        return known.id if known else None

    async def get(self, tenant_id: UUID) -> Tenant | None:
        """A tenant by its id."""
        known = self._by_id.get(tenant_id)
        if known is None:
            async with self._database.engine() as connection:
                row = await connection.fetchrow(_SQL["get"], tenant_id)
            known = self._remember(Tenant(*row)) if row else None
        return known

    async def settings(self, tenant_id: UUID) -> dict[str, object]:
        """What an operator has set for a tenant, as it is now."""
        async with self._database.engine() as connection:
            found = await connection.fetchval(_SQL["settings"], tenant_id)
        return found if isinstance(found, dict) else {}

    async def shown_settings(self, tenant_id: UUID, workflow: UUID | None) -> TenantSettings | None:
        """What is set for a tenant, or for a workflow of it; None when there is no such workflow."""
        async with self._database.engine() as connection:
            if workflow is None:
                said = await connection.fetchval(_SQL["settings"], tenant_id)
            else:
                said = await connection.fetchval(_SQL["settings_of_workflow"], tenant_id, workflow)
        return None if said is None else _shown(workflow, said)

    async def change_settings(
        self,
        tenant_id: UUID,
        workflow: UUID | None,
        values: Mapping[SettingName, int],
        gone: Collection[SettingName],
        *,
        actor: Actor,
        reason: str | None,
    ) -> TenantSettings | None:
        """Set some and take others away, and record who did and why, in one transaction; None for no such workflow."""
        noun, subject = ("tenant", tenant_id) if workflow is None else ("workflow", workflow)
        async with self._database.engine() as connection, connection.transaction():
            before = await connection.fetchval(_SQL[f"lock_{noun}"], tenant_id, subject)
            if before is None:
                return None
            kept = {name: value for name, value in before.items() if name not in gone}
            after = {**kept, **{name.value: value for name, value in values.items()}}
            if after != before:
                await connection.execute(_SQL[f"set_{noun}"], tenant_id, subject, after)
                said = {
                    "before": _only(before, {*values, *gone}),
                    "after": _only(after, {*values, *gone}),
                    "reason": reason,
                }
                await connection.execute(
                    _RECORD, tenant_id, noun, subject, "settings", actor_json(actor), said
                )
        return _shown(workflow, after)

    async def _find(self, name: str, *, create: bool) -> Tenant | None:
        async with self._database.engine() as connection:
            row = await connection.fetchrow(_SQL["find"], name)
            if row is None and create:
                await connection.execute(_SQL["create"], name)
                row = await connection.fetchrow(_SQL["find"], name)
        return self._remember(Tenant(*row)) if row else None

    def _remember(self, tenant: Tenant) -> Tenant:
        if len(self._by_id) >= _MOST_KNOWN:
            self._by_id.clear()
            self._by_name.clear()
        self._by_name[tenant.name] = self._by_id[tenant.id] = tenant
        return tenant


def _shown(workflow: UUID | None, said: Mapping[str, Any]) -> TenantSettings:
    """What of settings is a number; anything else limits nothing, and is not shown."""
    numbers: dict[str, int] = {}
    for name in SettingName:
        value = said.get(name.value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name.value] = int(value)
    return TenantSettings(workflow, **numbers)


def _only(said: Mapping[str, Json], names: Collection[SettingName]) -> dict[str, Json]:
    return {name.value: said.get(name.value) for name in sorted(names)}
