"""Partitions: the days ahead exist before anybody writes into them; a missing day would refuse inserts."""

from __future__ import annotations

from typing import Final

from runtime.store.execution import ExecutionStore

DAYS_AHEAD: Final = 8


class Partitions:
    """Makes the daily partitions that are missing."""

    name = "partitions"
    every_seconds = 3_600.0

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store

    async def run(self) -> int:
        """How many were made."""
        return await self._store.make_partitions(days_ahead=DAYS_AHEAD)
