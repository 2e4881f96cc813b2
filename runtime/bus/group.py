"""Buses: one for each database of the shard map that this process serves; none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runtime.bus.loop import Bus


class Buses:
    """All buses of this process, as one."""

    def __init__(self, parts: Sequence[Bus]) -> None:
        self.parts = tuple(parts)

    async def run(self) -> None:
        """Tell the handlers, until `stop`."""
        tasks = [asyncio.create_task(part.run()) for part in self.parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                if not task.cancelling():  # a second one would break into its good order
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End; other processes may run the handlers at once."""
        for part in self.parts:
            await part.stop()
