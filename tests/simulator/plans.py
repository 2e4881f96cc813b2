"""Published versions of one seed, behind the simulated database."""

from __future__ import annotations

from uuid import UUID

from runtime.model.plan import Plan
from runtime.store.plan import PublishedVersion
from runtime.store.statements import statements
from tests.simulator.children import published
from tests.simulator.server import SimDatabase


class SimPlans:
    """Stands where PlanStore stands: the first look at a version asks the server."""

    def __init__(self, database: SimDatabase, plans: dict[UUID, Plan]) -> None:
        self._database = database
        self._plans = plans

    async def get(self, version: UUID) -> Plan:
        async with self._database.engine() as connection:
            await connection.fetchrow(statements("workflow")["plan"], version)
        return self._plans[version]

    async def versions(self, tenant: UUID, namespace: str, name: str) -> list[PublishedVersion]:
        async with self._database.engine() as connection:
            statement = statements("workflow")["versions_to_start"]
            await connection.fetch(statement, tenant, name, namespace)
        return published(name)
