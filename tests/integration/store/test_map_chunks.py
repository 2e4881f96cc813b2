"""Chunks of maps in the database: each is one helper's, whatever the planner knows of the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from runtime.store.map_chunk import MapChunks
from tests.support.engine_room import EngineRoom, engine_room

OWNER, HELPER = (0, 1, 1), (0, 2, 1)


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[EngineRoom]:
    async with engine_room(database_url, redis_url, home) as made:
        yield made


@pytest.fixture
async def execution(room: EngineRoom) -> UUID:
    """One that the owner runs, beside a helper."""
    step = {"id": "a", "uses": "probe.echo@1", "with": {"value": 1}}
    made = await room.enqueue(await room.publish([step]), hint=False)
    for _, worker, epoch in (OWNER, HELPER):
        await room.sql.execute(
            "insert into workers (id, shard, epoch, lease_until, host, tags) "
            "values ($1, 0, $2, now() + interval '1 hour', 'test', '{}')",
            worker,
            epoch,
        )
    await room.sql.execute("update workflow_executions set status = 1, owner = 1")
    return made


async def test_who_takes_a_chunk_takes_one(room: EngineRoom, execution: UUID):
    """What is taken without being told to the helper would be run by nobody. The planner knows the table as empty."""
    chunks = MapChunks(room.database)
    await room.sql.execute("vacuum analyze map_chunks")
    for number in (1, 2, 3):
        assert await chunks.lend(OWNER, execution, number, 0, [(number, 1)])

    for taken in (1, 2, 3):
        chunk = await chunks.take(HELPER)
        assert chunk is not None
        assert chunk.key.number == taken
        assert len(await chunks.held(HELPER)) == taken
    assert await chunks.take(HELPER) is None


async def test_a_helper_that_has_just_taken_a_chunk_is_not_lost(
    room: EngineRoom, execution: UUID, database_url: str
):
    """The owner looks for what nobody took in the moment in which somebody takes it."""
    chunks = MapChunks(room.database)
    await chunks.lend(OWNER, execution, 1, 0, [(1, 1)])
    helper = await asyncpg.connect(database_url)
    try:
        taking = helper.transaction()
        await taking.start()
        await helper.execute("select maestro.mc_chunk_take(0::smallint, 2::bigint, 1::bigint)")
        looks = asyncio.create_task(chunks.back(OWNER, execution, patience_seconds=0.0))
        await until_somebody_waits(room)
        await taking.commit()
        (found,) = await looks
    finally:
        await helper.close()

    assert (found.is_back, found.is_lost) == (False, False)
    assert len(await chunks.held(HELPER)) == 1


async def until_somebody_waits(room: EngineRoom) -> None:
    async with asyncio.timeout(10):
        while not await room.sql.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
