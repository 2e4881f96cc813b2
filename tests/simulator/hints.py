"""Redis: streams that hold hints and bells that are rung, both of which can lose, double and forget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from uuid import UUID

from runtime.queue.stream import QueueEntry
from tests.simulator.loop import PROCESS, Process
from tests.simulator.server import Server


class Redis:
    """What all processes share; emptied at any moment."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.entries: list[tuple[int, UUID]] = []
        self.listeners: list[tuple[Process, Callable[[Sequence[UUID]], None]]] = []
        self.filled = asyncio.Event()
        self._number = 0

    def flush_all(self) -> None:
        self.entries.clear()

    def put(self, execution: UUID) -> None:
        weather = self.server.weather
        if self.server.chance(weather.lost_hint):
            return
        for _ in range(2 if self.server.chance(weather.double_hint) else 1):
            self._number += 1
            self.entries.append((self._number, execution))
        self.filled.set()

    def take(self, count: int) -> list[QueueEntry]:
        found = [QueueEntry("q", str(n).encode(), one) for n, one in self.entries[:count]]
        if not self.server.chance(self.server.weather.double_hint):
            del self.entries[:count]
        if not self.entries:
            self.filled.clear()
        return found


class SimQueue:
    """Stands where RedisQueue stands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, shard: int, entries: Iterable[tuple[UUID, int]]) -> None:
        for execution, _ in entries:
            server = self._redis.server
            server.later(server.delay(), self._redis.put, execution)

    async def read(self, shard: int, consumer: str, count: int, block_ms: int) -> list[QueueEntry]:
        await asyncio.sleep(self._redis.server.delay())
        if not self._redis.entries:
            with suppress(TimeoutError):
                async with asyncio.timeout(block_ms / 1000):
                    await self._redis.filled.wait()
        return self._redis.take(count)

    def ack(self, entries: Sequence[QueueEntry]) -> None:
        """Entries went with their delivery."""

    def give_back(self, entries: Sequence[QueueEntry]) -> None:
        """Here they are lost: nothing that is promised rests on a hint."""

    def take_turns(self, shard: int, tenants: Collection[UUID]) -> None:
        """Nobody gives hints for tenants here."""

    async def depth(self, shard: int) -> int | None:
        await asyncio.sleep(self._redis.server.delay())
        return len(self._redis.entries)

    async def forget_consumers(self, shard: int) -> int:
        return 0


class SimWakeup:
    """Stands where Wakeup stands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def on_inbox(self, callback: Callable[[Sequence[UUID]], None]) -> Callable[[], None]:
        entry = (PROCESS.get(), callback)
        self._redis.listeners.append(entry)
        return lambda: self._redis.listeners.remove(entry)

    def publish_inbox(self, shard: int, ids: Iterable[UUID]) -> None:
        told, server = list(ids), self._redis.server
        for process, callback in self._redis.listeners:
            if not server.chance(server.weather.lost_hint):
                loop = server.loop
                loop.call_later(server.delay(), callback, told, context=process.context)

    def publish_events(self, shard: int, ids: Iterable[UUID]) -> None:
        """Nobody watches here."""

    def publish_logs(self, shard: int, ids: Iterable[UUID]) -> None:
        """Nobody watches here."""
