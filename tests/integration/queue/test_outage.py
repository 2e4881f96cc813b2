"""Redis dies while running: nobody waits for it, and its return is noticed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from runtime.embedded.redis import EmbeddedRedis
from runtime.model.errors import Unavailable
from runtime.queue.stream import QueueEntry
from tests import make
from tests.integration.queue.conftest import queue_room


@pytest.fixture
async def server(tmp_path, ground_folder: Path):
    made = EmbeddedRedis(tmp_path / "redis", ground_folder)
    await made.start()
    yield made
    await made.stop()


async def test_away_and_back(server):
    room = await queue_room(server.url)
    await room.queue.read(0, "c", 1, 0)

    await server.stop()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    room.queue.add(0, [(make.new_id(), 1)] * 1_000)
    room.wakeup.publish_events(0, [make.new_id()])
    assert await room.queue.read(0, "c", 1, 100) == []
    assert await room.queue.depth(0) is None
    with pytest.raises(Unavailable):
        await room.link.ping()
    assert loop.time() - begun < 5
    assert _up(room) == 0

    await server.start()
    execution = make.new_id()
    async with asyncio.timeout(10):
        found: list[QueueEntry] = []
        while execution not in [entry.execution_id for entry in found]:
            room.queue.add(0, [(execution, 1)])
            found += await room.queue.read(0, "c", 100, 200)
        await room.wakeup.connected.wait()

    assert _up(room) == 1
    await room.close()


def _up(room):
    return room.metrics.registry.get_sample_value("maestro_dependency_up", {"dependency": "redis"})


async def test_closing_waits_for_what_is_being_asked(redis_url: str, monkeypatch):
    """Else a connection that is just being made is made behind the back of who closes them, and stays."""
    monkeypatch.setattr("runtime.queue.link._CLOSE_SECONDS", 60.0)
    room = await queue_room(redis_url)
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(client: Any) -> Any:
        begun.set()
        await gate.wait()
        return await client.ping()

    asking = asyncio.create_task(room.link.ask(slow, seconds=60.0))
    await begun.wait()
    close, was_answered = room.link.client.aclose, []

    async def aclose() -> None:
        was_answered.append(asking.done())
        await close()

    monkeypatch.setattr(room.link.client, "aclose", aclose)
    await room.wakeup.close()
    closing = asyncio.create_task(room.link.close())
    asyncio.get_running_loop().call_later(0.05, gate.set)
    await closing

    assert was_answered == [True]
    assert await asking
    with pytest.raises(Unavailable):
        await room.link.ping()
