"""PostgreSQL or Redis dies while running: a clear sentence, soon; and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis
from runtime.model.errors import Unavailable
from runtime.services.health import HealthService
from runtime.store.migrate import migrate, shipped
from tests.integration.services.conftest import service_room


@pytest.fixture
async def servers(tmp_path: Path, ground_folder: Path):
    sockets = ground_folder / "outage"
    sockets.mkdir(exist_ok=True, mode=0o700)
    postgres = EmbeddedPostgres(tmp_path / "postgres", sockets, overrides={"max_connections": "60"})
    redis = EmbeddedRedis(tmp_path / "redis", sockets)
    await postgres.start()
    await redis.start()
    await migrate(postgres.url)
    yield postgres, redis
    for server in (redis, postgres):
        with contextlib.suppress(Exception):
            await server.stop()


async def test_postgres_dies_and_comes_back(servers, home):
    postgres, redis = servers
    async with service_room(postgres.url, redis.url, home) as room:
        await room.publish()
        acknowledged = await room.enqueue()
        health = HealthService(
            shards=room.engine.shards, link=room.engine.link, metrics=room.engine.metrics
        )

        await postgres.stop()
        async with asyncio.timeout(12):
            for attempt in (room.enqueue(), room.executions.find(room.who, acknowledged.id)):
                with pytest.raises(Unavailable, match="PostgreSQL"):
                    await attempt
            answers = await health.check()
        assert (answers["redis"], "PostgreSQL" in str(answers["postgresql"])) == (None, True)

        await postgres.start()
        async with asyncio.timeout(15):
            while await health.check() != {"postgresql": None, "redis": None, "schema": None}:
                await asyncio.sleep(0.05)
        assert await room.executions.find(room.who, acknowledged.id) == acknowledged
        assert (await room.enqueue()).id != acknowledged.id


async def test_redis_dies_and_enqueues_go_on(servers, home):
    postgres, redis = servers
    async with service_room(postgres.url, redis.url, home) as room:
        await room.publish()
        health = HealthService(
            shards=room.engine.shards, link=room.engine.link, metrics=room.engine.metrics
        )

        await redis.stop()
        async with asyncio.timeout(3):
            executions = [await room.enqueue() for _ in range(20)]
        answers = await health.check()

        # /readyz is open: it names what is missing, and not where that is.
        assert answers["redis"] == "Redis does not answer."
        assert (answers["postgresql"], answers["schema"]) == (None, None)
        queued = await room.engine.store.queued(0, older_than_seconds=-1, per_tenant=100, limit=100)
        assert {one.id for one in queued} == {execution.id for execution in executions}


async def test_pending_migrations_are_named(room):
    await room.engine.sql.execute("delete from migrations where name like '0002%'")
    health = HealthService(
        shards=room.engine.shards, link=room.engine.link, metrics=room.engine.metrics
    )

    answers = await health.check()

    await room.engine.sql.execute(
        "insert into migrations (name, sha256) select '0002_pre_hot_functions', $1",
        _digest("0002_pre_hot_functions"),
    )
    assert "0002_pre_hot_functions" in str(answers["schema"])


def _digest(name: str) -> str:
    return next(migration.sha256 for migration in shipped() if migration.name == name)
