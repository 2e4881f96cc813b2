"""Plans of published versions, compiled once and kept: versions never change, so nothing expires."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.definition import compile_plan
from runtime.model.errors import NotFound, Unavailable
from runtime.model.plan import Plan
from runtime.model.values import Digest, SemVer
from runtime.model.workflow import VersionState
from runtime.store.pool import Database
from runtime.store.statements import statements

_MANY_STEPS: Final = 200
_MOST_STEPS: Final = 100_000  # Of all plans that are kept: a step takes some KiB.
_PLAN: Final = statements("workflow")["plan"]
_VERSIONS: Final = statements("workflow")["versions_to_start"]


class PublishedVersion(NamedTuple):
    """A version of a workflow that executions may start."""

    id: UUID
    workflow_id: UUID
    namespace: str
    version: SemVer
    state: VersionState


class PlanStore:
    """The plans used last; one miss is loaded once for all who ask."""

    def __init__(
        self, database: Database, *, copies: Sequence[Database] = (), limit: int = 512
    ) -> None:
        """`copies` hold copies of the catalog, for when it is away."""
        self._sources = (database, *copies)
        self._limit = limit
        self._steps = 0
        self._plans: OrderedDict[UUID, Plan] = OrderedDict()
        self._loading: dict[UUID, asyncio.Task[Plan]] = {}

    async def get(self, version_id: UUID) -> Plan:
        """The plan of a version; raises NotFound when there is no such version."""
        found = self._plans.get(version_id)
        if found is not None:
            self._plans.move_to_end(version_id)
            return found
        task = self._loading.get(version_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(version_id))
            self._loading[version_id] = task
            task.add_done_callback(lambda done: self._loaded(version_id, done))
        # A caller that gives up must not take the plan away from the others.
        return await asyncio.shield(task)

    def _loaded(self, version_id: UUID, done: asyncio.Task[Plan]) -> None:
        self._loading.pop(version_id, None)
        if not done.cancelled():
            done.exception()  # seen, even when everybody who asked has gone

    async def definition(self, version_id: UUID) -> tuple[dict[str, Any], Digest]:
        """What is stored of a version, and the digest that it was published with; raises NotFound."""
        row = await self._row(version_id)
        if row is None:
            raise NotFound(
                f"There is no workflow version {version_id}.", reason="VERSION_NOT_FOUND"
            )
        return row["definition"], Digest(row["digest"])

    async def _load(self, version_id: UUID) -> Plan:
        definition, digest = await self.definition(version_id)
        # Of as many steps as others should not wait for.
        if len(definition.get("steps", ())) <= _MANY_STEPS:
            plan = compile_plan(definition, digest)
        else:
            plan = await asyncio.to_thread(compile_plan, definition, digest)
        self._plans[version_id] = plan
        self._steps += len(plan.steps)
        while len(self._plans) > self._limit or (
            self._steps > _MOST_STEPS and len(self._plans) > 1
        ):
            _, oldest = self._plans.popitem(last=False)
            self._steps -= len(oldest.steps)
        return plan

    async def versions(self, tenant: UUID, namespace: str, name: str) -> list[PublishedVersion]:
        """What can be started of a workflow of a tenant: that in the namespace, else in `default`, else in any.

        Highest first; none of a workflow that is archived, or of no such workflow.
        """
        rows = await self._rows(_VERSIONS, tenant, name, namespace)
        return [
            PublishedVersion(
                row["id"],
                row["workflow_id"],
                row["namespace"],
                SemVer.parse(row["version"]),
                VersionState(row["state"]),
            )
            for row in rows
        ]

    async def _row(self, version_id: UUID) -> Any:
        rows = await self._rows(_PLAN, version_id)
        return rows[0] if rows else None

    async def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Rows of the catalog, or of a copy while the catalog does not answer."""
        away: Unavailable | None = None
        for database in self._sources:
            try:
                async with database.worker() as connection:
                    rows: list[Any] = await connection.fetch(statement, *arguments)
            except Unavailable as error:
                away = away or error
                continue
            if rows or away is None:
                return rows
        raise away or AssertionError("the catalog answers or is away")
