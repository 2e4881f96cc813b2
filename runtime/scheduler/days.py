"""Days: an old day of executions is replaced by what must be kept of it, and its disk space goes back.

What is kept: executions that have not ended, that are held, or that ended too recently for their workflow or tenant.
Killed at any point, a day is begun again, or only swept when it was exchanged already. A day that is in use at the
moment of the exchange is tried again a few times, then in the next turn.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.errors import Unavailable
from runtime.store.catalog_copy import CatalogCopies
from runtime.store.retention import DueDay, RetentionStore
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

DEFAULT_DAYS: Final = 30
CHUNK: Final = 10_000
FEW: Final = 100
ROUNDS: Final = 10
TRIES: Final = 20
PAUSE_SECONDS: Final = 0.25

_log = get_logger("scheduler")


class Days:
    """Looks at each old day once a day, and again when a retention setting or a hold changed."""

    name = "days"
    every_seconds = 600.0

    def __init__(
        self,
        store: RetentionStore,
        metrics: Metrics,
        clock: Clock,
        *,
        copies: CatalogCopies | None = None,
    ) -> None:
        """`copies` brings settings and holds from the catalog, where that is another database."""
        self._store = store
        self._copies = copies
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> int:
        """How many executions were dropped; raises Unavailable when the tables of a day were not to be had."""
        dropped, refusal = 0, None
        try:
            if self._copies is not None:
                await self._copies.refresh()
            for due in await self._store.due():
                try:
                    dropped += await self._serve(due)
                except Unavailable as error:
                    # A vacuum that goes through a day keeps that day only.
                    refusal = error
        finally:
            self._store.close()
        if refusal is not None:
            raise refusal
        return dropped

    async def _serve(self, due: DueDay) -> int:
        begin = self._clock.monotonic()
        if not due.is_exchanged and not await self._replace(due):
            return 0
        swept = await self._sweep(due)
        outcome = await self._store.outcome(due)
        self._metrics.days_dropped.inc()
        self._metrics.executions_dropped.inc(outcome.dropped)
        self._metrics.bytes_freed.inc(outcome.freed)
        _log.info(
            "day_dropped",
            day=due.day.isoformat(),
            dropped=outcome.dropped,
            kept=outcome.kept,
            bytes=outcome.freed,
            swept=swept,
            seconds=round(self._clock.monotonic() - begin, 3),
        )
        return outcome.dropped

    async def _replace(self, due: DueDay) -> bool:
        """Whether the day was exchanged; not when all of it stays, or a setting changed meanwhile."""
        if not await self._store.watch(due):
            return False
        await self._store.copy(due)
        for _ in range(ROUNDS):
            if await self._store.catch_up(due) <= FEW:
                break
        for _ in range(TRIES - 1):
            try:
                return await self._exchange(due)
            except Unavailable:
                await asyncio.sleep(PAUSE_SECONDS)
                await self._store.catch_up(due)
        return await self._exchange(due)

    async def _exchange(self, due: DueDay) -> bool:
        """By settings and holds as they are now; without an answer of the catalog nothing is dropped."""
        async with nullcontext() if self._copies is None else self._copies.still():
            return await self._store.exchange(due)

    async def _sweep(self, due: DueDay) -> int:
        after: UUID | None = None
        swept = 0
        while True:
            after, gone = await self._store.sweep(due, after, CHUNK)
            swept += gone
            if after is None:
                return swept
