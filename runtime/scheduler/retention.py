"""Retention: what has served its time goes: idempotency keys, rows and names of dead workers.

Executions, with their steps, events and logs, go by whole days: `days.py`.
"""

from __future__ import annotations

from typing import Final

from runtime.queue.stream import RedisQueue
from runtime.store.execution import ExecutionStore

KEY_DAYS: Final = 7
CHUNK: Final = 5_000


class Retention:
    """Deletes in bounded batches, so that nothing it does is long."""

    name = "retention"
    every_seconds = 600.0

    def __init__(
        self,
        store: ExecutionStore,
        queue: RedisQueue,
        *,
        shard: int = 0,
        key_days: int = KEY_DAYS,
    ) -> None:
        self._store = store
        self._queue = queue
        self._shard = shard
        self._key_days = key_days

    async def run(self) -> int:
        """How many things went."""
        gone = 0
        while True:
            keys = await self._store.forget_keys(self._shard, keep_days=self._key_days, limit=CHUNK)
            gone += keys
            if keys < CHUNK:
                break
        gone += await self._store.sweep_workers(self._shard)
        gone += await self._queue.forget_consumers(self._shard)
        return gone
