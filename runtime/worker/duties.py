"""Duties: what a heartbeat's answer asks of this worker, one at a time, beside the beat itself.

Dead workers are buried and their executions taken over in chunks; parked executions whose time has
come are woken, also those whose time comes before the next beat, when it comes; messages are read;
and when executions wait although Redis says nothing, they are claimed without it. After an outage
nobody is buried for the length of a lease: the others lost the database too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from runtime.model.checkpoint import BeatAnswer, OwnedExecution, Taken
from runtime.telemetry.log import get_logger
from runtime.worker import signals
from runtime.worker.admission import Admission
from runtime.worker.executor import Executor
from runtime.worker.inbox import receive
from runtime.worker.lease import Lease
from runtime.worker.tools import Seat, Tools
from runtime.worker.undecodable import set_aside

CHUNK: Final = 500
SILENCE_SECONDS: Final = 2.0
FORGET_SECONDS: Final = 30.0
VAIN_CLAIMS: Final = 3
# An alarm rings no more often than this, and a moment late: rung too early it would find nothing.
ALARM_SECONDS: Final = 0.02
LATE_SECONDS: Final = 0.001

_log = get_logger("worker")


class Duties:
    """Does what the database says there is to do."""

    def __init__(
        self,
        tools: Tools,
        seat: Seat,
        executor: Executor,
        admission: Admission,
        lease: Lease,
        owning: asyncio.Lock,
    ) -> None:
        self._tools = tools
        self._seat = seat
        self._executor = executor
        self._admission = admission
        self._lease = lease
        self._owning = owning
        self._answer: BeatAnswer | None = None
        self._rung: set[UUID] = set()
        self._something = asyncio.Event()
        self._spoke_at = tools.clock.monotonic()
        self._forgot_at = float("-inf")
        self._buries_from = float("-inf")
        self._is_more_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self._has_rung = False
        self.coming = 0  # Executions that are owned, or are being asked for, and no runs yet.

    def came_back(self) -> None:
        """The database was away, or all stood still. Who of the others comes back in time as well is not lost."""
        seconds = self._tools.settings.lease_seconds
        self._buries_from = self._tools.clock.monotonic() + seconds

    def told(self, answer: BeatAnswer) -> None:
        """The newest answer; an older one that was not served yet is out of date."""
        self._answer = answer
        self._set_alarm(answer.next_due_seconds)
        self._something.set()

    def inbox_rang(self, ids: Sequence[UUID]) -> None:
        """Somebody left messages for these executions; some may be ours."""
        ours = [one for one in ids if one in self._executor.runs]
        if ours:
            self._rung.update(ours)
            self._something.set()

    def room_grew(self) -> None:
        """Executions have ended: go on with what was due when there was no room."""
        enough = min(CHUNK, self._tools.settings.max_executions // 2)
        if self._is_more_due and self._executor.room >= enough:
            self._something.set()

    def lane_freed(self) -> None:
        """An execution with a place in its lane has ended: the next one need not wait for a heartbeat."""
        self._is_more_due = True
        self._something.set()

    async def _trim(self) -> None:
        """Have the oldest cancelled where a newer one asks for that; their owners hear of it."""
        told = await self._tools.store.trim_lanes(self._seat.shard)
        if told:
            self._tools.wakeup.publish_inbox(self._seat.shard, told)
            self._tools.queue.add(self._seat.shard, [(one, 0) for one in told])

    def _set_alarm(self, seconds: float | None) -> None:
        """Be there when the next parked execution is due; what is due later is told by the next heartbeat."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if seconds is None or seconds > self._tools.settings.beat_seconds:
            return
        seconds = max(seconds, ALARM_SECONDS) + LATE_SECONDS
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._has_rung = True
        self._is_more_due = True
        self._something.set()

    def queue_spoke(self) -> None:
        """Redis has just delivered something."""
        self._spoke_at = self._tools.clock.monotonic()

    async def serve(self) -> None:
        """Serve for ever. Raises what makes this seat unsafe to keep."""
        while True:
            if not await self._called():
                if not self._tools.is_alone:
                    async with self._owning:
                        await self._look_for_the_dead()
                continue
            answer, self._answer = self._answer, None
            ids = self._rung | set(answer.inbox if answer else ())
            self._rung = set()
            if ids:
                await self._read(ids)
            if self._tools.is_alone:
                continue
            if answer is not None:
                async with self._owning:
                    await self._serve(answer)
            if self._is_more_due:
                async with self._owning:
                    await self._wake()
            if self._has_rung:
                self._has_rung = False
                self._set_alarm(await self._tools.store.next_due(self._seat.shard))

    async def _called(self) -> bool:
        """Wait for something to do; False when nothing came for half a beat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._tools.settings.beat_seconds / 2):
                await self._something.wait()
        called = self._something.is_set()
        self._something.clear()
        return called

    async def _look_for_the_dead(self) -> None:
        """Between two beats, while there is work: a lease that has just run out is noticed sooner."""
        if self._executor.runs and await self._bury():
            await self._take_over()

    async def _bury(self) -> int:
        # Whose own lease is over is no better off than those it would bury.
        if self._lease.is_over or self._tools.clock.monotonic() < self._buries_from:
            return 0
        return await self._tools.store.bury(self._seat.shard, self._seat.me)

    async def _serve(self, answer: BeatAnswer) -> None:
        if answer.dead_workers:
            await self._take_over()
        if answer.due:
            await self._trim()
            await self._wake()
        if answer.queued:
            await self._attend_suspects()
        silence = self._tools.clock.monotonic() - self._spoke_at
        if answer.queued and silence > SILENCE_SECONDS:
            await self._claim()

    async def _read(self, ids: set[UUID]) -> None:
        """Messages, of those executions that have some they have not seen."""
        runs = self._executor.runs
        ours = [one for one in ids if one in runs]
        if not ours:
            return
        found = await self._tools.store.messages(ours, shard=self._seat.shard)
        await set_aside(self._tools, self._seat, found, runs)
        for execution_id, messages in found.items():
            run = runs.get(execution_id)
            if run is not None:
                receive(self._executor, run, messages)

    async def _take_over(self) -> None:
        store, seat = self._tools.store, self._seat
        await self._bury()
        taken = 0
        while room := self._room():
            found = await store.takeover(seat.shard, seat.me, seat.epoch, min(room, CHUNK))
            if not found.total:
                break
            taken += found.total
            await self._admission.admit(found.owned)
            self._judged(found)
        if taken:
            _log.warning("taken_over", executions=taken)
            self._tools.metrics.takeovers.inc(taken)
            self._tools.signals.fire(signals.TAKEN_OVER, taken)
            return
        now = self._tools.clock.monotonic()
        if now - self._forgot_at > FORGET_SECONDS:
            self._forgot_at = now
            await store.sweep_workers(seat.shard)
            await self._tools.chunks.sweep(seat.shard)

    def _judged(self, found: Taken) -> None:
        """Say what the poison rule made of them; those who watch the dead hear of their end."""
        if found.suspects:
            _log.warning("suspected", executions=len(found.suspects))
        if found.dead:
            self._tools.metrics.dead_letters.inc(len(found.dead))
            self._tools.wakeup.publish_events(self._seat.shard, found.dead)
            for execution_id in found.dead:
                _log.error("dead_lettered", execution=str(execution_id))

    async def _attend_suspects(self) -> None:
        """Somebody must run what waits to be run alone."""
        quarantine = self._tools.quarantine
        if quarantine is None:
            return
        if waiting := await self._tools.store.suspects(self._seat.shard, limit=quarantine.most):
            await quarantine.attend(waiting)

    async def _wake(self) -> None:
        """Take what is due. Where there is much, PostgreSQL looks for the next ones while the last ones begin."""
        self._is_more_due = False
        asked: asyncio.Task[tuple[list[OwnedExecution], float]] | None = None
        limit = min(self._room(), CHUNK)
        try:
            while limit:
                owned, at = await (self._due(limit) if asked is None else asked)
                asked, is_all = None, len(owned) < limit
                ahead = 0 if is_all else self._ahead(len(owned))
                self.coming = len(owned) + ahead
                if ahead:
                    asked = asyncio.create_task(self._due(ahead), name="due")
                    await asyncio.sleep(0)  # One turn of the loop sends the question.
                await self._admission.admit(owned, at)
                if is_all:
                    return
                self.coming = ahead
                limit = ahead or min(self._room(), CHUNK)
            self._is_more_due = True
        finally:
            self.coming = 0
            if asked is not None:
                asked.cancel()
                # Its fault, if it has one, is that of the seat, which whoever raised here has given up.
                await asyncio.gather(asked, return_exceptions=True)

    async def _due(self, limit: int) -> tuple[list[OwnedExecution], float]:
        """So many of those whose time has come, and when they were handed over: from then on their seconds count."""
        seat = self._seat
        owned = await self._tools.store.due(seat.shard, seat.me, seat.epoch, limit)
        return owned, self._tools.clock.monotonic()

    def _ahead(self, waiting: int) -> int:
        """How many more to ask for while these begin: none when they may be all that there is memory for."""
        if self._executor.weight * 2 > self._tools.settings.resident_bytes:
            return 0
        return max(0, min(self._room() - waiting, CHUNK))

    async def _claim(self) -> None:
        """The database's own backlog without Redis, each tenant's share, as long as there is room."""
        store, seat = self._tools.store, self._seat
        vain = 0
        while (room := self._room()) and vain < VAIN_CLAIMS:
            limit = min(room, CHUNK)
            found = await store.queued(
                seat.shard, older_than_seconds=SILENCE_SECONDS, per_tenant=limit, limit=limit
            )
            if not found:
                return
            ids = [one.id for one in found]
            owned = await store.claim(seat.shard, seat.me, seat.epoch, ids)
            # Another worker was faster; behind what it took there may be more.
            vain = 0 if owned else vain + 1
            await self._admission.admit(owned)

    def _room(self) -> int:
        return self._executor.room
