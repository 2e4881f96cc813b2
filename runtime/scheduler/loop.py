"""Scheduler: any number of processes may run one; the one that holds the leader's lock acts.

Losing the lock, or PostgreSQL, stops the duties at once. Two leaders for a moment would do no harm (each
duty may run twice), only work for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from runtime.abi.blob import BlobStore
from runtime.clock import Clock
from runtime.model.errors import MaestroError
from runtime.queue.stream import RedisQueue
from runtime.scheduler.blobs import BlobRelease
from runtime.scheduler.copies import Copies
from runtime.scheduler.counters import Counters
from runtime.scheduler.days import DEFAULT_DAYS, Days
from runtime.scheduler.feed import Feed
from runtime.scheduler.partitions import Partitions
from runtime.scheduler.retention import Retention
from runtime.scheduler.step_cache import CacheSweep
from runtime.scheduler.sweep import Sweep
from runtime.store.blob import BlobRetention
from runtime.store.catalog_copy import CatalogCopies
from runtime.store.event_bus import EventBusStore
from runtime.store.execution import ExecutionStore
from runtime.store.execution_stats import CounterFolds
from runtime.store.leadership import Leadership
from runtime.store.pool import Database
from runtime.store.retention import RetentionStore
from runtime.store.step_cache import StepCache
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

# With the heartbeat and the sweep at most two statements a second in a process that does all and has nothing to do.
PROVE_SECONDS: Final = 3.0
AFTER_FAILURE_SECONDS: Final = 60.0

_log = get_logger("scheduler")


class Duty(Protocol):
    """Something that is due again and again. Each duty is a file of this folder."""

    name: str
    every_seconds: float

    async def run(self) -> int:
        """Do it once; how much there was to do."""


class Scheduler:
    """Leads when it can, and then serves its duties."""

    def __init__(
        self,
        *,
        database: Database,
        store: ExecutionStore,
        queue: RedisQueue,
        blobs: BlobStore,
        metrics: Metrics,
        clock: Clock,
        shards: Sequence[int] = (0,),
        catalog: Database | None = None,
        others: Sequence[Duty] = (),
    ) -> None:
        """`shards` are those of the database; `catalog` is another one that holds the catalog."""
        self.is_leader = asyncio.Event()
        self._leadership = Leadership(database)
        copies = CatalogCopies(catalog, database) if catalog else None
        self._duties: Sequence[Duty] = (
            *(Sweep(store, queue, metrics, clock, shard=shard) for shard in shards),
            Partitions(store),
            *(Retention(store, queue, shard=shard) for shard in shards),
            *(Feed(EventBusStore(database), shard=shard) for shard in shards),
            Days(
                RetentionStore(database, default_days=DEFAULT_DAYS),
                metrics,
                clock,
                copies=copies,
            ),
            BlobRelease(BlobRetention(database, blobs), metrics),
            Counters(CounterFolds(database)),
            CacheSweep(StepCache(database)),
            *((Copies(copies),) if copies else ()),
            *others,
        )
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Stand for leader, and lead, until `stop`."""
        try:
            while not self._stopping.is_set():
                await self._stand()
                await self._pause(PROVE_SECONDS)
        finally:
            await self._step_down()
            self._leadership.give_up()

    async def stop(self) -> None:
        """End; another process may lead at once."""
        self._stopping.set()

    async def _stand(self) -> None:
        try:
            leads = await self._leadership.hold()
        except MaestroError:
            leads = False
        if leads and not self._tasks:
            _log.info("scheduler_leads")
            self.is_leader.set()
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(self._serve(duty), name=duty.name) for duty in self._duties
            ]
        elif not leads:
            await self._step_down()

    async def _step_down(self) -> None:
        self.is_leader.clear()
        tasks, self._tasks = set(self._tasks), []
        while tasks:
            # A library on the way may swallow one cancellation, so it is repeated.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)

    async def _serve(self, duty: Duty) -> None:
        """A duty that fails is served again within a minute, and does not stop the others."""
        while True:
            most = float("inf")
            try:
                count = await duty.run()
                _log.debug("duty_done", duty=duty.name, count=count)
            except Exception as error:  # noqa: BLE001 - whatever one duty meets, the others go on
                _log.warning("duty_failed", duty=duty.name, error=str(error))
                most = AFTER_FAILURE_SECONDS
            await asyncio.sleep(min(duty.every_seconds, most))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
