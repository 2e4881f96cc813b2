"""Sweep: the dispatcher. Keeps a bounded, fair window of queued executions in the streams.

The queued rows are the outbox of dispatch: an API process that died between commit and hint, a Redis that
was emptied, a hint that was lost or not given because much waits already, all end here. The window is the
first rows of each tenant with backlog, at most 64 of each while the streams are full, in turns of the ring:
a tenant waits for at most one turn, the sum of all weights, for its next pick. What workers take makes room,
and while there is something to add, passes follow each other at once.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.queue.keys import class_of
from runtime.queue.stream import ENOUGH_WAITING, RedisQueue
from runtime.store.execution import ExecutionStore
from runtime.telemetry.metrics import Metrics

# What was accepted just now is left to its own hint.
OLDER_THAN_SECONDS: Final = 0.5
PER_TENANT_WHEN_DEEP: Final = 64
CHUNK: Final = 1_000
PASSES: Final = 100
BETWEEN_SECONDS: Final = 0.05
# An idle process sends at most two statements a second, and the heartbeat is one of them. What is lost meanwhile a
# worker claims by itself, when its heartbeat says that something waits and Redis is silent.
BUSY_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 10.0


class Sweep:
    """Tops the streams up from the database: generously while they hold little, else a few of each tenant."""

    name = "sweep"

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
        self._last: UUID | None = None
        self.every_seconds = BUSY_SECONDS

    async def run(self) -> int:
        """Add what waits and was not added lately, again while there was some; how many."""
        added = 0
        for _ in range(PASSES):
            fresh = await self._pass()
            added += fresh
            if not fresh:
                break
            await asyncio.sleep(BETWEEN_SECONDS)
        self.every_seconds = BUSY_SECONDS if added else IDLE_SECONDS
        return added

    async def _pass(self) -> int:
        """Once: how many were added. The ring goes on after the tenant that was served last."""
        now = self._clock.monotonic()
        self._added = {one: at for one, at in self._added.items() if now - at < AGAIN_SECONDS}
        depth = await self._queue.depth(self._shard)
        if depth is None:
            return 0
        found = await self._store.queued(
            self._shard,
            older_than_seconds=OLDER_THAN_SECONDS,
            per_tenant=PER_TENANT_WHEN_DEEP if depth > ENOUGH_WAITING else CHUNK,
            limit=CHUNK,
            after=self._last,
        )
        if found:
            self._last = found[-1].tenant_id
        fresh = [(one.id, class_of(one.priority)) for one in found if one.id not in self._added]
        self._queue.add(self._shard, fresh)
        self._added.update((one, now) for one, _ in fresh)
        metrics = self._metrics
        metrics.swept.inc(len(fresh))
        metrics.stream_entries.set(depth)
        metrics.dispatch_tenants.set(len({one.tenant_id for one in found}))
        metrics.dispatch_lag.set(max((one.age_seconds for one in found), default=0.0))
        return len(fresh)
