"""PostgreSQL crashes, Redis goes away: what was acknowledged is finished, and nothing runs twice after its checkpoint."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis
from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.engine_room import EngineRoom, engine_room
from tests.support.steps import CALLS

pytestmark = pytest.mark.chaos

CHAIN = [
    {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}},
    {"id": "b", "uses": "probe.gate@1", "with": {"marker": "b"}, "depends_on": ["a"]},
    {"id": "c", "uses": "probe.echo@1", "with": {"n": 1}, "depends_on": ["b"]},
]


async def restart(server: EmbeddedPostgres, ground_run: Callable[..., Any]) -> None:
    """Crash it (it recovers from its log), and start it again."""
    child = server.child
    assert child is not None
    os.kill(child.pid, signal.SIGQUIT)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, lambda: ground_run(child.wait()))
    await loop.run_in_executor(None, lambda: ground_run(server.start()))


async def finished(room: EngineRoom, executions: list[Any]) -> Counter[int]:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await room.reconnect()
    return Counter([await room.finished(execution, 60.0) for execution in executions])


@pytest.mark.long
async def test_a_crash_of_postgres_loses_nothing_that_was_acknowledged(
    own_postgres: EmbeddedPostgres, redis_url: str, home: Path, ground_run
):
    CALLS.clear()
    async with engine_room(own_postgres.url, redis_url, home) as room:
        room.worker()
        version = await room.publish(CHAIN)
        executions = [await room.enqueue(version) for _ in range(20)]
        await asyncio.wait_for(CALLS.begun["b"].wait(), 20)

        await restart(own_postgres, ground_run)
        CALLS.gates["b"].set()

        assert await finished(room, executions) == {ExecutionStatus.COMPLETED: 20}
        for execution in executions:
            rows = sorted(await room.steps(execution))
            assert rows == [(step, 0, 1, StepStatus.COMPLETED) for step in range(3)]
            assert "execution_completed" in await room.events(execution)


async def test_without_redis_executions_are_found_in_postgres(
    database_url: str, own_redis: EmbeddedRedis, home: Path, ground_run
):
    CALLS.clear()
    CALLS.gates["b"].set()
    async with engine_room(database_url, own_redis.url, home) as room:
        room.worker(beat_seconds=0.2)
        version = await room.publish(CHAIN)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: ground_run(own_redis.stop()))

        executions = [await room.enqueue(version) for _ in range(3)]

        assert await finished(room, executions) == {ExecutionStatus.COMPLETED: 3}
        await loop.run_in_executor(None, lambda: ground_run(own_redis.start()))
