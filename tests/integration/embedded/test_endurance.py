"""Kills without end: whatever PostgreSQL has acknowledged is there afterwards, however often it is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import asyncpg
import pytest

from runtime.embedded import EmbeddedServices, embedded_services
from tests.support.processes import eventually

KILLS = 8


async def write_until_killed(url: str, acknowledged: list[int]) -> None:
    """Insert one row after the other and note each that was acknowledged."""
    connection = await asyncpg.connect(url)
    try:
        while True:
            number = len(acknowledged) and acknowledged[-1] + 1
            await connection.execute("insert into kept values ($1) on conflict do nothing", number)
            acknowledged.append(number)
    finally:
        connection.terminate()


async def kill_once(found: EmbeddedServices, acknowledged: list[int], chance: random.Random):
    assert found.database_url is not None
    writer = asyncio.create_task(write_until_killed(found.database_url, acknowledged))
    enough = len(acknowledged) + chance.randrange(1, 200)
    await eventually(lambda: len(acknowledged) >= enough, seconds=30)

    os.kill(found.pids["PostgreSQL"], signal.SIGKILL)

    with pytest.raises(
        (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
    ):
        await writer


async def is_back(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except (OSError, asyncpg.PostgresError):
        return False
    return True


@pytest.mark.long
@pytest.mark.chaos
async def test_no_acknowledged_row_is_lost_by_any_kill(made_home: Path):
    acknowledged: list[int] = []
    chance = random.Random(20)
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        url = found.database_url
        assert url is not None
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept (number bigint primary key)")
        await connection.close()

        for _ in range(KILLS):
            await kill_once(found, acknowledged, chance)
            await eventually(lambda: is_back(url), seconds=60)

        connection = await asyncpg.connect(url)
        kept = {row["number"] for row in await connection.fetch("select number from kept")}
        await connection.close()
    assert set(acknowledged) - kept == set()
    assert len(acknowledged) >= KILLS
