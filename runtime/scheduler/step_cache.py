"""Step cache: what has expired goes, what is too much, and what has lost its execution."""

from __future__ import annotations

from runtime.store.step_cache import StepCache


class CacheSweep:
    """Deletes in bounded batches; nothing rests on it, since an entry that does not count is never found."""

    name = "step_cache"
    every_seconds = 300.0

    def __init__(self, cache: StepCache) -> None:
        self._cache = cache

    async def run(self) -> int:
        """How many entries went."""
        return await self._cache.sweep()
