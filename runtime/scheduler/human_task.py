"""Timers of human tasks: warnings, breaches, escalations, expiry, each when its time has come, and once.

A time is a column of the task's row. Whoever looks finds what is due, locks it, and does what the rules say of the
task as it is then; the next look finds nothing of it. So a leader that is killed loses nothing, and two of them do
nothing twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model import human_task_rules as rules
from runtime.model.execution import ExecutionStatus
from runtime.model.human_task import HumanTask
from runtime.model.human_task_rules import Changed
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.scheduler.days import DEFAULT_DAYS
from runtime.store.human_task import HumanTaskStore, Told
from runtime.telemetry.log import get_logger

# An idle process may ask twice a second, and the heartbeat and the sweep do most of that. Whoever looks knows when the
# next time is, and looks again then. What is said meanwhile rings the bell of events: then it looks once in a second.
# A bell that is lost costs ten seconds at most, and only where a time comes sooner.
LOOK_SECONDS: Final = 10.0
RUNG_SECONDS: Final = 1.0
TURN_SECONDS: Final = 0.2
BATCH: Final = 200
_MOST_BATCHES: Final = 50

_log = get_logger("scheduler")


class HumanTaskTimers:
    """Does what is due in one shard."""

    name = "human_tasks"

    every_seconds = TURN_SECONDS

    def __init__(
        self,
        store: HumanTaskStore,
        queue: RedisQueue,
        wakeup: Wakeup,
        clock: Clock,
        *,
        shard: int = 0,
    ) -> None:
        self._store = store
        self._queue = queue
        self._wakeup = wakeup
        self._clock = clock
        self._shard = shard
        self._looked_at = self._due_at = float("-inf")
        self._is_rung = False
        wakeup.on_events(self._ring)

    async def run(self) -> int:
        """Everything that is due; how many entries of histories it came to. Asks nobody before it may be due."""
        now = self._clock.monotonic()
        if now < self._due_at and not (self._is_rung and now - self._looked_at >= RUNG_SECONDS):
            return 0
        total, self._is_rung, self._looked_at, self._due_at = 0, False, now, now
        for _ in range(_MOST_BATCHES):
            found = await self._store.upcoming(self._shard, BATCH)
            due = [one for one in found if one.seconds <= 0]
            done = [await self._serve(one.tenant_id, one.id) for one in due]
            total += sum(done)
            if not any(done):
                later = [one.seconds for one in found if one.seconds > 0]
                self._due_at = now + min([LOOK_SECONDS, *later])
                break
        return total

    def _ring(self) -> None:
        self._is_rung = True

    async def _serve(self, tenant: UUID, id: UUID) -> int:
        """Everything that is due of one task, an entry a transaction; one that fails keeps no other from its turn."""
        count = 0
        try:
            while (found := await self._store.change(tenant, id, rules.tick)) and found.change:
                if found.told is not None and not found.told.n:
                    found = await self._store.change(tenant, id, _end)
                elif found.told is not None and found.task.origin is not None:
                    self._wake(found.task.origin.execution_id, found.told)
                count += 1
        except Exception as error:  # noqa: BLE001 - whatever one task meets, the others have their turn
            _log.warning("human_task_timer_failed", task=str(id), error=str(error))
        return count

    def _wake(self, execution: UUID, told: Told) -> None:
        self._wakeup.publish_inbox(self._shard, [execution])
        if told.status is ExecutionStatus.QUEUED:
            self._queue.add(self._shard, [(execution, class_of(told.priority))])


class HumanTaskSweep:
    """Lets tasks go that stand alone and have ended: they are kept as long as the tenant's executions are."""

    name = "human_task_sweep"
    every_seconds = 300.0

    def __init__(self, store: HumanTaskStore, *, shard: int = 0) -> None:
        self._store = store
        self._shard = shard

    async def run(self) -> int:
        """How many went."""
        total, gone = 0, BATCH
        while gone == BATCH:
            gone = await self._store.sweep(self._shard, BATCH, DEFAULT_DAYS)
            total += gone
        return total


def _end(task: HumanTask, at: datetime) -> Changed | None:
    return rules.end_with_execution(task, at)
