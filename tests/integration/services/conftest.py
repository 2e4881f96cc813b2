"""The services on real PostgreSQL and Redis, beside an engine room that can start workers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import SystemClock
from runtime.entropy import SystemEntropy
from runtime.model.execution import EnqueueRequest, Execution
from runtime.model.identity import Principal
from runtime.model.workflow import DefinitionFormat, Workflow, WorkflowChange
from runtime.services.changes import Changes, Pace
from runtime.services.doubt import DoubtService
from runtime.services.execution import ExecutionService
from runtime.services.execution_migration import ExecutionMigrationService
from runtime.services.judges import Judges
from runtime.services.workflow import WorkflowService
from runtime.store.change_feed import ChangeFeed
from runtime.store.plan import PlanStore
from runtime.store.tenant import TenantStore
from tests import make
from tests.support.engine_room import EngineRoom, engine_room

NOOP = {"id": "one", "uses": "core.noop@1"}


def document(name: str = "w", version: str | None = "1.0.0", steps: Any = None, **more: Any) -> str:
    """A definition as text."""
    body: dict[str, Any] = {"name": name, **({"version": version} if version else {}), **more}
    return json.dumps({**body, "steps": steps or [NOOP]})


@dataclass
class ServiceRoom:
    """Both services, a caller, and the engine room under them."""

    workflows: WorkflowService
    executions: ExecutionService
    doubts: DoubtService
    engine: EngineRoom
    who: Principal
    changes: Changes
    migrations: ExecutionMigrationService

    async def create(self, name: str = "w", **more: Any) -> Workflow:
        """A workflow with a draft."""
        change = await self.workflows.create(
            self.who, name=name, source=document(name, **more), format=DefinitionFormat.JSON
        )
        assert change.workflow is not None
        return change.workflow

    async def publish(self, name: str = "w", **more: Any) -> WorkflowChange:
        """A workflow with a published version."""
        return await self.workflows.publish(self.who, (await self.create(name, **more)).id)

    async def enqueue(self, name: str = "w", **fields: Any) -> Execution:
        """An accepted execution."""
        request = EnqueueRequest(workflow_name=name, **fields)
        return (await self.executions.enqueue(self.who, request)).execution


@asynccontextmanager
async def service_room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[ServiceRoom]:
    """Everything open on one database and one Redis."""
    async with engine_room(database_url, redis_url, home) as engine:
        changes = Changes(
            ChangeFeed(engine.shards, "test"),
            engine.wakeup,
            Pace(poll=0.2, again=0.01),
        )
        judges = Judges(engine.registry.catalog())
        executions = ExecutionService(
            shards=engine.shards,
            tenants=TenantStore(engine.database),
            store=engine.store,
            enqueuer=engine.enqueuer,
            queue=engine.queue,
            wakeup=engine.wakeup,
            plans=PlanStore(engine.database),
            tracing=engine.tracing,
            metrics=engine.metrics,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            blobs=engine.blobs(),
            changes=changes,
            judges=judges,
            max_input_bytes=1 << 20,
        )
        workflows = WorkflowService(
            database=engine.database,
            registry=engine.registry,
            judges=judges,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            metrics=engine.metrics,
            on_changed=executions.forget_targets,
        )
        doubts = DoubtService(
            engine.shards,
            engine.store,
            executions,
            engine.registry,
            blobs=engine.blobs(),
            max_bytes=1 << 20,
        )
        migrations = ExecutionMigrationService(
            shards=engine.shards,
            plans=PlanStore(engine.database),
            blobs=engine.blobs(),
            judges=judges,
            workflows=workflows,
            executions=executions,
            queue=engine.queue,
            wakeup=engine.wakeup,
        )
        who = make.principal()
        yield ServiceRoom(workflows, executions, doubts, engine, who, changes, migrations)
        await changes.close()
        await judges.close()


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[ServiceRoom]:
    async with service_room(database_url, redis_url, home) as made:
        yield made
