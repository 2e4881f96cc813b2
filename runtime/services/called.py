"""The workflows that a document calls, and those that they call: what validation must know of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from runtime.abi.surroundings import KnownWorkflow
from runtime.definition import called
from runtime.model.page import PageRequest
from runtime.store.workflow import WorkflowStore

# More than that no workflow starts; what lies beyond is not looked at.
_MAX_NAMES: Final = 200
_VERSIONS: Final = 100


class CalledWorkflows:
    """Reads the calls among a tenant's published workflows."""

    def __init__(self, store: WorkflowStore) -> None:
        self._store = store

    async def find(self, tenant: UUID, names: Collection[str]) -> dict[str, KnownWorkflow]:
        """Those of the names that exist, and what can be reached from them, by name."""
        found: dict[str, KnownWorkflow] = {}
        todo = set(names)
        asked: set[str] = set()
        while todo and len(asked) < _MAX_NAMES:
            asked |= todo
            workflows = await self._store.get_many_by_name(tenant, sorted(todo))
            ids = [one.id for one in workflows.values()]
            current = await self._store.current_versions(tenant, ids) if ids else {}
            for name, workflow in workflows.items():
                version = current.get(workflow.id)
                calls = called(version.definition) if version is not None else frozenset()
                wanted = PageRequest(_VERSIONS) if name in names else None
                page = await self._store.versions(tenant, workflow.id, wanted) if wanted else None
                versions = tuple(one.version for one in page.items) if page else ()
                found[name] = KnownWorkflow(versions, calls)
            todo = {call for name in workflows for call in found[name].calls} - asked
        return found
