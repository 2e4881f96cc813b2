"""Blobs: what no execution refers to any more is deleted, after retention has dropped the executions.

Day by day, in bounded batches. Each batch is one transaction that ends after the blobs are gone, so that an
interruption leaves references without a blob, never a blob without a reference.
"""

from __future__ import annotations

from typing import Final

from runtime.store.blob import BlobRetention
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

CHUNK: Final = 500
LEFT_BEHIND_SECONDS: Final = 86_400.0

_log = get_logger("scheduler")


class BlobRelease:
    """Looks at each day once more whenever its executions have changed."""

    name = "blobs"
    every_seconds = 600.0

    def __init__(self, store: BlobRetention, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def run(self) -> int:
        """How many blobs went."""
        released = 0
        try:
            for due in await self._store.days():
                while True:
                    gone, blobs = await self._store.release(due.day, CHUNK)
                    released += blobs
                    if gone < CHUNK:
                        break
                await self._store.released(due)
            await self._store.tidy(LEFT_BEHIND_SECONDS)
        finally:
            self._store.close()
        if released:
            self._metrics.blobs_released.inc(released)
            _log.info("blobs_released", blobs=released)
        return released
