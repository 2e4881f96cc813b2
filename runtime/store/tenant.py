"""Tenants: a token names one, rows carry its id. Names never move to another id, so they are cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runtime.store.pool import Database
from runtime.store.statements import statements

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
