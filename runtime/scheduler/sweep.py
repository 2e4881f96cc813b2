"""Sweep: the dispatcher. Keeps a bounded, fair window of queued executions in the streams.

The queued rows are the outbox of dispatch: an API process that died between commit and hint, a Redis that
was emptied, a hint that was lost or not given because its tenant is to wait for its turn, all end here. The window is
what workers take in about two passes, and grows and shrinks with that: nobody who comes waits behind more. It is
filled by turns of the ring of tenants with backlog: a tenant waits for at most one turn, the sum of all weights, for
its next pick. While executions wait behind others, a tenant with more than its share of the window is given no hints
of its own: what it enqueues comes by its turns alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.checkpoint import QueuedExecution
from runtime.queue.keys import class_of
from runtime.queue.stream import CROWD, RedisQueue
from runtime.store.execution import ExecutionStore
from runtime.telemetry.metrics import Metrics

# What was accepted just now is left to its own hint, unless tenants take turns.
OLDER_THAN_SECONDS: Final = 0.5
LEAST_WINDOW: Final = 64
MOST_WINDOW: Final = 1_000
PASSES: Final = 100
BETWEEN_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 0.25
# An idle process sends at most two statements a second, and the heartbeat is one of them. What is lost meanwhile a
# worker claims by itself, when its heartbeat says that something waits and Redis is silent.
BUSY_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 10.0
# What has a limit may be turned away by the claim that counts: it is handed out again sooner.
LIMITED_AGAIN_SECONDS: Final = 0.5


class Sweep:
    """Tops the streams up from the database, as fast as workers take from them."""

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
        self._window = LEAST_WINDOW
        self._is_cut = False
        self._is_held = False
        self._depth = 0
        self._crowded_until = float("-inf")
        self._due_at = float("-inf")
        self._forgets_at = float("-inf")
        self.every_seconds = LOOK_SECONDS

    async def run(self) -> int:
        """Add what waits and is not in the streams, again while that is of use; how many."""
        added = 0
        self.every_seconds = LOOK_SECONDS
        for _ in range(PASSES):
            depth = await self._queue.depth(self._shard)
            now = self._clock.monotonic()
            if depth is None:
                break
            has_moved, self._depth = depth != self._depth, depth
            was_crowded, is_crowded = now < self._crowded_until, depth >= CROWD
            if is_crowded:
                self._crowded_until = now + BUSY_SECONDS
            # Nobody is told when somebody with a limit has ended: it is looked for while others wait for that.
            is_busy = self._is_held or (has_moved and (was_crowded or is_crowded))
            if not is_busy and now < self._due_at:
                break
            fresh = await self._pass(depth, now, takes_turns=was_crowded and is_crowded)
            added += fresh
            self._due_at = now + (BUSY_SECONDS if added else IDLE_SECONDS)
            if fresh:
                # Another pass at once; what this one added has moved nothing yet.
                self._due_at = now
            await asyncio.sleep(BETWEEN_SECONDS)
        else:
            self.every_seconds = BETWEEN_SECONDS
        return added

    async def _pass(self, depth: int, now: float, *, takes_turns: bool) -> int:
        """Once: how many were added. The ring goes on after the tenant that was served last."""
        self._resize(depth)
        found = await self._store.queued(
            self._shard,
            older_than_seconds=0.0 if now < self._crowded_until else OLDER_THAN_SECONDS,
            per_tenant=self._window,
            limit=self._window,
            after=self._last,
        )
        self._is_cut = any(one.fills_share for one in found)
        if found:
            self._last = found[-1].tenant_id
        self._forget(found, depth, now)
        fresh = self._chosen(found, self._window - depth)
        self._queue.add(self._shard, [(one.id, class_of(one.priority)) for one in fresh])
        sooner = AGAIN_SECONDS - LIMITED_AGAIN_SECONDS
        self._added.update((one.id, now - sooner * one.is_limited) for one in fresh)
        held = 0
        if self._is_held or any(one.is_limited for one in found):
            held = await self._store.held_back(self._shard)
            self._is_held = held > 0 or any(one.is_limited for one in found)
        full = {one.tenant_id for one in found if one.fills_share}
        self._queue.take_turns(self._shard, full if takes_turns else ())
        metrics = self._metrics
        metrics.swept.inc(len(fresh))
        metrics.stream_entries.set(depth)
        metrics.dispatch_tenants.set(len({one.tenant_id for one in found}))
        metrics.dispatch_held.set(held)
        metrics.dispatch_lag.set(max((one.age_seconds for one in found), default=0.0))
        return len(fresh)

    def _resize(self, depth: int) -> None:
        """Between a quarter and a half is to be left when the next pass comes."""
        if self._is_cut and depth < self._window // 4:
            self._window = min(MOST_WINDOW, self._window * 2)
        elif depth > self._window // 2:
            self._window = max(LEAST_WINDOW, self._window * 3 // 4)

    def _forget(self, found: Sequence[QueuedExecution], depth: int, now: float) -> None:
        """What was added long ago is added again, unless the streams are full: then it may well be in them yet."""
        if now < self._forgets_at:
            return
        self._forgets_at = now + BUSY_SECONDS
        waits = {one.id for one in found} if depth >= self._window else ()
        self._added = {
            one: at for one, at in self._added.items() if now - at < AGAIN_SECONDS or one in waits
        }

    def _chosen(self, found: Sequence[QueuedExecution], room: int) -> list[QueuedExecution]:
        """As many as there is room for, and of who has nothing in the streams one in any case."""
        present = {one.tenant_id for one in found if one.id in self._added}
        chosen: list[QueuedExecution] = []
        for one in found:
            if one.id not in self._added and (len(chosen) < room or one.tenant_id not in present):
                chosen.append(one)
                present.add(one.tenant_id)
        return chosen
