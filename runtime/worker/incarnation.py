"""Incarnation: one registered life of a worker on a shard, from its row to its fence.

Everything that is only true while this id and epoch hold the fence hangs on this object: lease, runs,
writer. When the fence falls (taken over, an unknown outcome, a lease that ran out) the whole object is
dropped, and the worker begins a new one under a new id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID

from runtime.model.checkpoint import BeatAnswer, Closing, FlushOutcome, FlushResult
from runtime.model.errors import MaestroError
from runtime.model.execution import TERMINAL, ExecutionStatus
from runtime.store.births import Newborn, Offer
from runtime.store.flush import Flusher
from runtime.store.step_cache import StepCache
from runtime.telemetry.log import get_logger
from runtime.worker import signals
from runtime.worker.admission import Admission, owned_of
from runtime.worker.caching import Caching
from runtime.worker.children import Children
from runtime.worker.duties import Duties
from runtime.worker.executor import Executor
from runtime.worker.helping import Helping
from runtime.worker.keeper import Keeper
from runtime.worker.lease import Lease
from runtime.worker.lending import Lending
from runtime.worker.outputs import Outputs
from runtime.worker.run import Run
from runtime.worker.step_log import StepLogs
from runtime.worker.tools import Seat, Tools
from runtime.worker.trace import purpose_of

CHUNK: Final = 500
BLOCK_MS: Final = 1_000
STATEMENT_SECONDS: Final = 5.0
NEWS_SECONDS: Final = 0.002
ALONE_POLL_SECONDS: Final = 0.2
ALONE_PATIENCE_SECONDS: Final = 3.0

_log = get_logger("worker")


class Incarnation:
    """Claims, runs and checkpoints under one id. `run` returns why it ended."""

    def __init__(self, tools: Tools, seat: Seat, lease: Lease, *, is_again: bool = False) -> None:
        """`is_again`: this worker has lost another seat just now, maybe with the database itself."""
        self.seat = seat
        self._tools = tools
        self._lease = lease
        self._flusher = Flusher(
            tools.database, seat.shard, seat.me, seat.epoch, metrics=tools.metrics
        )
        outputs = Outputs(
            tools.blobs,
            max_bytes=tools.settings.max_output_bytes,
            inline_bytes=tools.settings.inline_bytes,
            loaded_bytes=tools.settings.loaded_bytes,
        )
        self._children = Children(tools, outputs)
        self.executor = Executor(
            flusher=self._flusher,
            lease=lease,
            registry=tools.registry,
            secrets=tools.secrets,
            logs=StepLogs(tools.logs, tools.secrets.mask, tools.clock),
            outputs=outputs,
            children=self._children,
            cache=partial(
                Caching, StepCache(tools.database), metrics=tools.metrics, clock=tools.clock
            ),
            traces=tools.traces,
            settings=tools.settings,
            metrics=tools.metrics,
            clock=tools.clock,
            signals=tools.signals,
            breakers=tools.breakers,
            read_items=partial(tools.store.item_results, seat.shard),
            lend=partial(
                Lending,
                tools.chunks,
                seat,
                settings=tools.settings,
                is_alone=tools.is_alone,
                clock=tools.clock,
            ),
            on_closed=self._closed,
            on_refused=self._refused,
            on_news=self._news,
        )
        self._admission = Admission(tools, seat, self.executor)
        self._helping = Helping(tools, seat, self.executor, self._admission)
        # Held while a statement may change what this seat owns.
        self._owning = asyncio.Lock()
        self._duties = Duties(tools, seat, self.executor, self._admission, lease, self._owning)
        if is_again:
            self._duties.came_back()
        self._keeper = Keeper(
            tools, seat, lease, on_answer=self._heard, on_back=self._duties.came_back
        )
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._room = asyncio.Event()
        self._room.set()
        self._intake: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._readmissions: set[asyncio.Task[None]] = set()
        self._told: set[UUID] = set()
        # Bound once: a line for each end is what this process says most.
        self._log = _log.bind()
        self._finished = {
            status: tools.metrics.finished.labels(status.name.lower()) for status in TERMINAL
        }
        self._bell: asyncio.TimerHandle | None = None
        self._is_ringing = False
        # Places that are offered, or filled by what does not run yet.
        self._offered = 0

    async def run(self) -> str:
        """Work until the fence falls; the reason."""
        stop_hearing = self._tools.wakeup.on_inbox(self._rang)
        self._spawn(self._keeper.keep(), "heartbeat")
        self._intake = [
            self._spawn(self._claim_alone() if self._tools.is_alone else self._claim(), "claim"),
            self._spawn(self._duties.serve(), "duties"),
        ]
        if not self._tools.is_alone:
            self._spawn(self._helping.serve(), "helping")
        try:
            return await asyncio.shield(self._ended)
        finally:
            stop_hearing()
            await self._drop()

    def _rang(self, ids: Sequence[UUID]) -> None:
        self._duties.inbox_rang(ids)
        self.executor.lending.rang(ids)

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let calls under way end, make everything durable, hand the rest over.

        Whoever asks again while that goes on waits for its end.
        """
        if self.executor.is_draining:
            await asyncio.wait((self._ended,))
            return
        self.executor.is_draining = True
        try:
            self.executor.call_off_intents()
            await self._end_intake()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.executor.quiet.wait()
            await self._settle()
            await self._helping.give_back()
            await self._flusher.close()
            self._helping.drop()
            self.executor.drop()
            # Others need not wait for the lease; whatever of this seat still runs in the server comes first.
            with suppress(MaestroError):
                await self._tools.store.leave(self.seat.shard, self.seat.me, self.seat.epoch)
        finally:
            # Also when it is given up half-way: whoever waits must not wait for ever.
            self._end("drained")

    async def _settle(self) -> None:
        """Until everything is durable. What the database refuses is said otherwise: its calls are known only here."""
        while True:
            # Two turns: ends that were just reported become rows, rows become checkpoints.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await self._flusher.flushed()
            if not self._readmissions:
                return
            await asyncio.wait(tuple(self._readmissions))

    async def _end_intake(self) -> None:
        """Take nothing new; a claim that is under way ends first, so that what it took is known."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STATEMENT_SECONDS):
                await self._owning.acquire()
        for task in self._intake:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """No part can fail alone: what it was doing may have changed who owns what."""
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            if not isinstance(error, MaestroError):
                _log.error("worker_defect", task=task.get_name(), exc_info=error)
            self._end(f"{task.get_name()}: {error}")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    async def _drop(self) -> None:
        self._publish()
        self._helping.drop()
        self.executor.drop()
        tasks = set(self._tasks)
        while tasks:
            # A library on the way may swallow one cancellation, so it is repeated.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
        await self._flusher.close()
        await self.executor.join(1.0)

    # --- births ----------------------------------------------------------------------------------

    def offer(self, wanted: int) -> Offer | None:
        """Places for what this process is about to accept; None when there are none now."""
        places = min(wanted, self._free)
        if places <= 0 or self.executor.is_draining or self._ended.done():
            return None
        if not self._lease.allows_calls:
            return None
        self._offered += places

        def told(born: Sequence[Newborn] | None) -> None:
            self._told_of(places, born)

        return Offer(self.seat.me, self.seat.epoch, places, told)

    def _told_of(self, places: int, born: Sequence[Newborn] | None) -> None:
        if born is None:
            # Executions may be owned that nobody begins. As with a flush: go on from what is durable.
            self._end("an acceptance that was to be owned here has an unknown outcome")
            return
        self._offered -= places - len(born)
        self._room.set()
        if not born:
            return
        if self.executor.is_draining or self._ended.done():
            # They are rows of a seat that is left: whoever takes over its executions has them too.
            return
        self._spawn(self._begin(born), "birth")

    async def _begin(self, born: Sequence[Newborn]) -> None:
        await self._admission.admit([owned_of(one) for one in born])
        self._offered -= len(born)

    @property
    def _free(self) -> int:
        return self.executor.room - self._offered - self._duties.coming

    # --- intake ----------------------------------------------------------------------------------

    async def _claim(self) -> None:
        """Queued executions that Redis names, as many as there is room for."""
        tools, seat = self._tools, self.seat
        consumer = f"{seat.me:x}"
        while True:
            await self._room.wait()
            room = self._free
            if room <= 0:
                self._room.clear()
                continue
            entries = await tools.queue.read(seat.shard, consumer, min(room, CHUNK), BLOCK_MS)
            if not entries:
                continue
            self._duties.queue_spoke()
            ids = list({entry.execution_id for entry in entries})
            async with self._owning:
                try:
                    owned = await tools.store.claim(seat.shard, seat.me, seat.epoch, ids)
                except MaestroError:
                    # Whoever was taken for lost may still read hints: others need not wait for what it read.
                    tools.queue.give_back(entries)
                    raise
                tools.queue.ack(entries)
                await self._admission.admit(owned)

    async def _claim_alone(self) -> None:
        """Suspects, one at a time and nothing beside it; ends when none came for a while."""
        tools, seat = self._tools, self.seat
        idle_since = tools.clock.monotonic()
        while tools.clock.monotonic() - idle_since < ALONE_PATIENCE_SECONDS:
            async with self._owning:
                owned = await tools.store.claim_alone(seat.shard, seat.me, seat.epoch)
                await self._admission.admit(owned)
            if not owned:
                await asyncio.sleep(ALONE_POLL_SECONDS)
                continue
            while self.executor.runs:
                self._room.clear()
                await self._room.wait()
            idle_since = tools.clock.monotonic()
        self._end("nothing is left to run alone")

    def _heard(self, answer: BeatAnswer) -> None:
        self.executor.unblock()
        self.executor.weigh()
        if self.executor.room:
            self._room.set()
        self._duties.told(answer)
        self._helping.told(is_lent=answer.lent > 0)

    # --- what the executor reports ---------------------------------------------------------------

    def _news(self, execution_id: UUID, *, is_end: bool) -> None:
        """Ring for those who watch: an end with this turn of the loop, together with all that was committed in it.

        What goes on is told a moment later: its next step is not to wait while Redis is spoken to.
        """
        self._told.add(execution_id)
        if is_end and not self._is_ringing:
            self._is_ringing = True
            self._loop.call_soon(self._publish)
        elif self._bell is None:
            self._bell = self._loop.call_later(NEWS_SECONDS, self._publish)

    def _publish(self) -> None:
        self._is_ringing = False
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None
        told, self._told = self._told, set()
        self._tools.wakeup.publish_events(self.seat.shard, told)

    def _closed(self, run: Run, closing: Closing) -> None:
        tools, status = self._tools, ExecutionStatus(closing.status)
        tools.traces.end_run(run, status)
        self._room.set()
        self._duties.room_grew()
        if not status.is_terminal:
            tools.signals.fire(signals.PARKED)
            return
        self._children.ended(run)
        if "concurrency" in run.owned.meta:
            self._duties.lane_freed()
        seconds = run.owned.age_seconds + tools.clock.monotonic() - run.claimed_at
        self._finished[status].inc()
        tools.metrics.execution_seconds.observe(seconds)
        tools.signals.fire(signals.CLOSED)
        if self._log.is_enabled_for(logging.INFO):
            facts = _summary(run, status, seconds, tools.traces.id_of(run))
            self._log.info("execution_finished", **facts)

    def _refused(self, run: Run, result: FlushResult) -> None:
        if result.outcome is not FlushOutcome.REJECTED:
            if result.outcome is FlushOutcome.FENCED:
                self._tools.metrics.fenced.inc()
                self._tools.signals.fire(signals.FENCED)
            self._end(f"flush {result.outcome}: {result.message}")
            return
        self.executor.forget(run)
        message = result.message or "no reason given"
        task = self._spawn(self._admission.readmit(run, message), "readmit")
        self._readmissions.add(task)
        task.add_done_callback(self._readmissions.discard)


def _summary(
    run: Run, status: ExecutionStatus, seconds: float, trace_id: str | None
) -> dict[str, object]:
    out: dict[str, object] = {
        "execution": str(run.owned.id),
        "workflow": run.prepared.program.plan.name,
        "tenant": run.owned.meta.get("tenant"),
        "status": status.name.lower(),
        "duration_ms": round(seconds * 1000),
        **purpose_of(run),
    }
    if trace_id is not None:
        out["trace_id"] = trace_id
    if run.error is not None:
        out["error"] = run.error.type
        if run.error.step_key is not None:
            out["step"] = run.error.step_key
    return out
