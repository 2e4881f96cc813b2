"""A database, the store's classes on it, and a look at the rows past every wall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from runtime.model.checkpoint import Checkpoint, FlushResult
from runtime.store.enqueue import Enqueuer
from runtime.store.execution import ExecutionStore
from runtime.store.flush import Flusher
from runtime.store.pool import Database
from runtime.telemetry.metrics import Metrics
from tests import make

LEASE = 60.0


@dataclass
class StoreRoom:
    """The engine's side of one database."""

    database: Database
    store: ExecutionStore
    enqueuer: Enqueuer
    metrics: Metrics
    sql: Any

    async def queue(self, count: int = 1, **fields: Any) -> list[UUID]:
        """Executions that are queued."""
        rows = [make.enqueue_row(**fields) for _ in range(count)]
        await asyncio.gather(*map(self.enqueuer.enqueue, rows))
        return [row.id for row in rows]

    async def own(self, me: int = 1, count: int = 1, **fields: Any) -> tuple[int, list[UUID]]:
        """A registered worker and executions that it owns: its epoch, their ids."""
        epoch = await self.store.register(0, me, f"host:{me}", LEASE)
        ids = await self.queue(count, **fields)
        await self.store.claim(0, me, epoch, ids)
        return epoch, ids

    async def flush(self, me: int, epoch: int, *checkpoints: Checkpoint) -> list[FlushResult]:
        """The answers to checkpoints that share a batch."""
        flusher = Flusher(self.database, 0, me, epoch, metrics=self.metrics)
        answers: list[FlushResult | None] = [None] * len(checkpoints)
        for number, checkpoint in enumerate(checkpoints):
            flusher.submit(checkpoint, _into(answers, number))
        await flusher.close()
        return [answer for answer in answers if answer is not None]

    async def row(self, execution: UUID) -> Any:
        """A row, past all walls."""
        return await self.sql.fetchrow("select * from workflow_executions where id = $1", execution)

    async def count(self, table: str) -> int:
        """How many rows there are, of all tenants."""
        return int(await self.sql.fetchval(f"select count(*) from {table}"))

    async def expire(self, me: int) -> None:
        """Let a lease run out."""
        await self.sql.execute(
            "update workers set lease_until = now() - interval '1 second' where id = $1", me
        )


def _into(answers: list[Any], number: int) -> Callable[[FlushResult], None]:
    def put(result: FlushResult) -> None:
        answers[number] = result

    return put


@asynccontextmanager
async def store_room(url: str) -> AsyncIterator[StoreRoom]:
    """Everything open on one database."""
    metrics = Metrics()
    database = await Database.open(url)
    sql = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
    enqueuer = Enqueuer(database, 0, metrics=metrics)
    try:
        yield StoreRoom(database, ExecutionStore(database), enqueuer, metrics, sql)
    finally:
        await enqueuer.close()
        await sql.close()
        await database.close()


@pytest.fixture
async def room(database_url: str) -> AsyncIterator[StoreRoom]:
    async with store_room(database_url) as made:
        yield made


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Wait for a condition that only the server knows."""
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.01)
