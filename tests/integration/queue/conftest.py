"""A link to Redis, and the queue and the bells on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from runtime.queue.link import RedisLink
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.telemetry.metrics import Metrics


@dataclass
class QueueRoom:
    """One process's side of Redis."""

    link: RedisLink
    queue: RedisQueue
    wakeup: Wakeup
    metrics: Metrics

    async def close(self) -> None:
        """Stop hearing, then hang up."""
        await self.wakeup.close()
        await self.link.close()


async def queue_room(url: str) -> QueueRoom:
    """Everything open on one Redis."""
    metrics = Metrics()
    link = await RedisLink.open(url, metrics=metrics)
    return QueueRoom(link, RedisQueue(link), Wakeup(link), metrics)


@pytest.fixture
async def room(redis_url: str) -> AsyncIterator[QueueRoom]:
    made = await queue_room(redis_url)
    yield made
    await made.close()
