"""Executions as a live list: how they are read, in the tenant's own view and by the filter of their list."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from runtime.model.execution import Execution, ExecutionFilter
from runtime.model.page import PageRequest
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_record import ExecutionRecords
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore


class LiveExecutions:
    """A `Noun` of `live.py`; an execution belongs to itself."""

    def __init__(
        self,
        shards: Shards,
        tenants: TenantStore,
        listing: ExecutionList,
        records: ExecutionRecords,
    ) -> None:
        self._shards = shards
        self._tenants = tenants
        self._list = listing
        self._records = records

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

    async def all_of(self, tenant: UUID, executions: Sequence[UUID]) -> Sequence[Execution]:
        """Those of them that are there."""
        return tuple((await self._records.get_many(tenant, executions)).values())

    def key(self, record: Execution) -> UUID:
        """Its id."""
        return record.id

    def owner(self, record: Execution) -> UUID:
        """Itself."""
        return record.id
