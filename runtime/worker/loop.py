"""Worker: begins an incarnation, and another one whenever that has ended, until it is told to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from runtime.clock import Clock
from runtime.connectors.registry import Registry
from runtime.entropy import Entropy
from runtime.model.errors import MaestroError, SetupError
from runtime.queue.breaker import SharedBreakers
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.secrets.file import FileSecrets
from runtime.settings import WorkerSettings
from runtime.store.births import Offer
from runtime.store.blob import Blobs
from runtime.store.execution import ExecutionStore
from runtime.store.log import LogWriter
from runtime.store.map_chunk import MapChunks
from runtime.store.plan import PlanStore
from runtime.store.pool import Database
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.worker import signals
from runtime.worker.breaker import Breakers
from runtime.worker.incarnation import Incarnation
from runtime.worker.lease import Lease
from runtime.worker.prepared import Programs
from runtime.worker.quarantine import Quarantine
from runtime.worker.tools import JudgeInput, Seat, Tools
from runtime.worker.trace import Traces

_AGAIN_SECONDS: Final = (0.05, 0.2, 0.5, 1.0)
_ID_BITS: Final = 62

_log = get_logger("worker")


class Worker:
    """Runs executions of one shard. `signals` says what happens inside, for tests."""

    def __init__(
        self,
        *,
        database: Database,
        store: ExecutionStore,
        queue: RedisQueue,
        wakeup: Wakeup,
        plans: PlanStore,
        judge: JudgeInput,
        registry: Registry,
        secrets: FileSecrets,
        logs: LogWriter,
        blobs: Blobs,
        settings: WorkerSettings,
        tracing: Tracing,
        metrics: Metrics,
        clock: Clock,
        entropy: Entropy,
        host: str,
        shard: int = 0,
        quarantine: Quarantine | None = None,
        is_alone: bool = False,
        shared_breakers: SharedBreakers | None = None,
    ) -> None:
        self.signals = signals.Signals()
        self._tools = Tools(
            database=database,
            store=store,
            queue=queue,
            wakeup=wakeup,
            programs=Programs(plans, registry, metrics, worker=host),
            registry=registry,
            secrets=secrets,
            chunks=MapChunks(database),
            logs=logs,
            blobs=blobs,
            settings=settings,
            traces=Traces(tracing),
            metrics=metrics,
            plans=plans,
            judge=judge,
            clock=clock,
            entropy=entropy,
            signals=self.signals,
            name=host,
            breakers=Breakers(shared_breakers, metrics=metrics, clock=clock, rule=settings.breaker),
            shard=shard,
            quarantine=quarantine,
            is_alone=is_alone,
        )
        self._entropy = entropy
        self._shard = shard
        self._current: Incarnation | None = None
        self._last_seat: Seat | None = None
        self._has_begun = False
        self._stopping = asyncio.Event()
        metrics.running.labels(str(shard)).set_function(lambda: self.executions)

    @property
    def executions(self) -> int:
        """How many executions this worker owns now."""
        return 0 if self._current is None else len(self._current.executor.runs)

    def offer(self, wanted: int) -> Offer | None:
        """Places for executions that this process is about to accept, owned by this worker from then on."""
        return None if self._current is None else self._current.offer(wanted)

    async def run(self) -> None:
        """Work until `stop`."""
        listening = asyncio.create_task(self._tools.breakers.listen(), name="breakers")
        try:
            await self._run()
        finally:
            listening.cancel()
            self._tools.breakers.close()

    async def _run(self) -> None:
        failures, is_told, clock = 0, False, self._tools.clock
        while not self._stopping.is_set():
            try:
                incarnation = await self._begin()
            except SetupError:
                raise
            except Exception as error:  # noqa: BLE001 - what passes must not end a worker for ever
                if not is_told:
                    defect = None if isinstance(error, MaestroError) else error
                    _log.warning("worker_waits", reason=str(error), exc_info=defect)
                    is_told = True
                failures += 1
                await self._pause_after(failures)
                continue
            is_told, begun_at = False, clock.monotonic()
            self._current = incarnation
            if self._stopping.is_set():
                await incarnation.drain(0.0)
            try:
                reason = await incarnation.run()
            finally:
                self._current = None
            if self._tools.is_alone:
                # One incarnation is all there is: what it knows of itself may be the poison's doing.
                await self._let_go()
                return
            if not self._stopping.is_set():
                _log.warning("worker_begins_again", reason=reason)
                # Whatever ended one that did not outlive its lease may end the next one as well.
                lived = clock.monotonic() - begun_at
                failures = 1 if lived >= self._tools.settings.lease_seconds else failures + 1
                await self._pause_after(failures)
                if self._stopping.is_set():
                    await self._let_go()

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Take nothing new, finish what runs within the time, hand the rest over."""
        self._stopping.set()
        if self._current is not None:
            seconds = self._tools.settings.drain_seconds if drain_seconds is None else drain_seconds
            await self._current.drain(seconds)
        if self._tools.quarantine is not None:
            await self._tools.quarantine.close(self._tools.settings.drain_seconds)

    async def _let_go(self) -> None:
        """Free the last seat, if it is still ours, so that nobody counts it as lost."""
        last, self._last_seat = self._last_seat, None
        if last is not None:
            with suppress(MaestroError):
                await self._tools.store.leave(last.shard, last.me, last.epoch)

    async def _begin(self) -> Incarnation:
        """Register under a new id.

        What the last one held is given free first, so that nobody waits for its lease; that waits
        for whatever of it still runs in the server.
        """
        tools, settings = self._tools, self._tools.settings
        if self._last_seat is not None:
            last = self._last_seat
            await tools.store.leave(last.shard, last.me, last.epoch)
            self._last_seat = None
        me = self._entropy.bits(_ID_BITS) + 1
        lease = Lease(
            tools.clock,
            seconds=settings.lease_seconds,
            margin_seconds=settings.lease_margin_seconds,
        )
        epoch = await tools.store.register(
            self._shard, me, tools.name, settings.lease_seconds, settings.tags or ()
        )
        self._last_seat = Seat(self._shard, me, epoch)
        self.signals.fire(signals.REGISTERED)
        is_again, self._has_begun = self._has_begun, True
        return Incarnation(tools, self._last_seat, lease, is_again=is_again)

    async def _pause_after(self, failures: int) -> None:
        await self._pause(_AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS)) - 1])

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
