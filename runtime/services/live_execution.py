"""Executions as a live list: how they are read, in the tenant's own view and by the filter of their list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from runtime.model.execution import Execution, ExecutionFilter
from runtime.model.page import PageRequest
from runtime.store.execution_list import ExecutionList
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore


class LiveExecutions:
    """A `Noun` of `live.py`; an execution belongs to itself."""

    def __init__(self, shards: Shards, tenants: TenantStore, listing: ExecutionList) -> None:
        self._shards = shards
        self._tenants = tenants
        self._list = listing

    async def page(self, tenant: UUID, wanted: ExecutionFilter, size: int) -> Sequence[Execution]:
        """The newest."""
        known = await self._tenants.get(tenant) if self._shards.count > 1 else None
        homes = self._shards.of_tenant(tenant, spread=known is not None and known.spread)
        return (await self._list.page(tenant, wanted, PageRequest(size), homes)).items

    async def matching(
        self, tenant: UUID, wanted: ExecutionFilter, executions: Sequence[UUID]
    ) -> Sequence[Execution]:
        """Those of them that are in the list."""
        return await self._list.matching(tenant, wanted, executions)

    async def ever_matching(
        self, tenant: UUID, wanted: ExecutionFilter, executions: Sequence[UUID]
    ) -> Sequence[Execution]:
        """Those of them that differ from the list in what changes at most: their state and their end."""
        lasting = replace(wanted, state=(), finished_from=None, finished_to=None)
        return await self._list.matching(tenant, lasting, executions)

    def key(self, record: Execution) -> UUID:
        """Its id."""
        return record.id

    def owner(self, record: Execution) -> UUID:
        """Itself."""
        return record.id
