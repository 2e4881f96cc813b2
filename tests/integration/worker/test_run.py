"""Executions through a real worker: PostgreSQL, Redis, connectors."""

from __future__ import annotations

from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.engine_room import EngineRoom

THREE = [
    {"id": "a", "uses": "core.noop@1"},
    {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]},
    {"id": "c", "uses": "core.noop@1", "depends_on": ["b"]},
]


async def test_three_steps_one_after_the_other(room: EngineRoom):
    room.worker()

    execution = await room.run(THREE)

    assert (await room.row(execution))["status"] == ExecutionStatus.COMPLETED
    assert await room.steps(execution) == [(step, 0, 1, StepStatus.COMPLETED) for step in range(3)]
    assert await room.events(execution) == [
        "execution_queued",
        "execution_started",
        *["step_started", "step_completed"] * 3,
        "execution_completed",
    ]
