"""The replay of executions of tests, by the service that the graph asks."""

from __future__ import annotations

from uuid import UUID

from runtime.model.execution_replay import ExecutionReplay
from runtime.model.identity import Principal
from runtime.services.replay import ReplayService
from runtime.store.plan import PlanStore
from tests.support.engine_room import TENANT, EngineRoom

DEBUGGER = Principal(TENANT, "test", "ann", frozenset({"executions:read", "executions:debug"}))


def replays_of(room: EngineRoom) -> ReplayService:
    """The service, on the stores of a room."""
    return ReplayService(
        shards=room.shards,
        plans=PlanStore(room.database),
        blobs=room.blobs(),
        registry=room.registry,
        clock=room.clock,
        metrics=room.metrics,
    )


async def replayed(room: EngineRoom, execution: UUID, *, executes: bool = False) -> ExecutionReplay:
    """Replay an execution of the room's tenant."""
    return await replays_of(room).replay(DEBUGGER, execution, executes=executes)
