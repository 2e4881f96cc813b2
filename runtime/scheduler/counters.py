"""Counters: what checkpoints have appended to the counters of executions is added up.

Numbers are exact without it; folding keeps reading them cheap. More often while there is much to fold.
"""

from __future__ import annotations

from typing import Final

from runtime.store.execution_stats import CounterFolds

CHUNK: Final = 5_000
_IDLE_SECONDS: Final = 30.0
_BUSY_SECONDS: Final = 2.0
_BUSY: Final = 1_000


class Counters:
    """Folds in bounded batches, so that retention never waits for it long."""

    name = "counters"

    def __init__(self, store: CounterFolds) -> None:
        self._store = store
        self.every_seconds = _IDLE_SECONDS

    async def run(self) -> int:
        """How many rows were folded."""
        folded = 0
        while True:
            rows = await self._store.fold(CHUNK)
            folded += rows
            if rows < CHUNK:
                break
        self.every_seconds = _BUSY_SECONDS if folded >= _BUSY else _IDLE_SECONDS
        return folded
