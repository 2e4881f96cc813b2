"""Schedulers: one for each database of the shard map; each leads where it holds the lock; none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runtime.scheduler.loop import Scheduler


class Schedulers:
    """All schedulers of this process, as one."""

    def __init__(self, parts: Sequence[Scheduler]) -> None:
        self.parts = tuple(parts)

    async def run(self) -> None:
        """Stand for leader everywhere, until `stop`."""
        tasks = [asyncio.create_task(part.run()) for part in self.parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                if not task.cancelling():  # a second one would break into its good order
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End; other processes may lead at once."""
        for part in self.parts:
            await part.stop()
