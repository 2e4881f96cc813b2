"""Sweep: queued executions that nobody was told about are told about again.

The queued rows are the outbox of dispatch: an API process that died between commit and hint, a Redis that
was emptied, a hint that was lost, all end here. Each tenant gives its share, so that no tenant's
backlog hides another's; while the backlog is deep, passes follow each other as fast as workers take.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.store.execution import ExecutionStore
from runtime.telemetry.metrics import Metrics

OLDER_THAN_SECONDS: Final = 2.0
PER_TENANT_WHEN_DEEP: Final = 64
CHUNK: Final = 1_000
PASSES: Final = 8
BETWEEN_SECONDS: Final = 0.1
ENOUGH_WAITING: Final = 1_000
AGAIN_SECONDS: Final = 10.0


class Sweep:
    """Tops the streams up from the database: generously while they hold little, else a few of each tenant."""

    name = "sweep"
    every_seconds = 1.0

    def __init__(
        self,
        store: ExecutionStore,
        queue: RedisQueue,
        metrics: Metrics,
        clock: Clock,
        *,
        shard: int = 0,
    ) -> None:
        self._store = store
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._shard = shard
        self._added: dict[UUID, float] = {}

    async def run(self) -> int:
        """Add what waits and was not added lately, again while there is much of it; how many."""
        added = 0
        for _ in range(PASSES):
            found, fresh = await self._pass()
            added += fresh
            if found < CHUNK // 2:
                break
            await asyncio.sleep(BETWEEN_SECONDS)
        return added

    async def _pass(self) -> tuple[int, int]:
        """Once: how many wait within their tenants' shares, and how many of them were added."""
        now = self._clock.monotonic()
        self._added = {one: at for one, at in self._added.items() if now - at < AGAIN_SECONDS}
        depth = await self._queue.depth(self._shard)
        if depth is None:
            return 0, 0
        found = await self._store.queued(
            self._shard,
            older_than_seconds=OLDER_THAN_SECONDS,
            per_tenant=PER_TENANT_WHEN_DEEP if depth > ENOUGH_WAITING else CHUNK,
            limit=CHUNK,
        )
        fresh = [(one, class_of(priority)) for one, priority in found if one not in self._added]
        self._queue.add(self._shard, fresh)
        self._added.update((one, now) for one, _ in fresh)
        self._metrics.swept.inc(len(fresh))
        return len(found), len(fresh)
