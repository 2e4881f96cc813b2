"""Timers of a worker's executions: the delays before next attempts, and the times of waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime.clock import Clock
from runtime.engine.command import BeginWait, RecordStep, ScheduleRetry
from runtime.engine.event import Facts, RetryDue, TimerDue
from runtime.engine.fan import place_of
from runtime.telemetry.metrics import Metrics
from runtime.worker.run import Run
from runtime.worker.waiting import seconds_until, waited


class Timers:
    """Tells runs what is due: `retried` of the end of a delay, `waited` of that of a wait."""

    def __init__(
        self,
        *,
        retried: Callable[[Run, RetryDue], None],
        waited: Callable[[Run, TimerDue], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._retried = retried
        self._waited = waited
        self._metrics = metrics
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def retry_at(self, run: Run, due: RetryDue, seconds: float) -> None:
        """Tell the run that a retry is due, later."""
        when = self._loop.time() + seconds
        timer = self._loop.call_at(when, self._retry, run, due)
        run.retries[place_of(due.step, due.item)] = (when, timer)

    def fire_at(self, run: Run, due: TimerDue, seconds: float) -> None:
        """Tell the run that the time of a wait has come, now or later."""
        if seconds <= 0:
            self._fire(run, due)
            return
        when = self._loop.time() + seconds
        run.timers[due.step] = (when, self._loop.call_at(when, self._fire, run, due))

    def begin(self, run: Run, command: ScheduleRetry | BeginWait) -> None:
        """What comes before it is committed: from now on its time counts."""
        if isinstance(command, ScheduleRetry):
            self._schedule(run, command)
        else:
            self._begin_wait(run, command)

    def ended(self, run: Run, command: RecordStep) -> Facts:
        """A wait, or a map, has ended: what its row says."""
        name = run.prepared.steps[command.step].connector_name
        self._metrics.steps.labels(name, command.status.name.lower()).inc()
        _, timer = run.timers.pop(command.step, (0.0, None))
        if timer is not None:
            timer.cancel()
        return waited(run, command, self._clock.monotonic())

    def _schedule(self, run: Run, command: ScheduleRetry) -> None:
        self._metrics.retries.labels(run.prepared.steps[command.step].connector_name).inc()
        due = RetryDue(command.step, command.attempt, command.item)
        self.retry_at(run, due, command.delay_ms / 1000)

    def _begin_wait(self, run: Run, command: BeginWait) -> None:
        now = self._clock.monotonic()
        run.waiting[command.step] = now
        seconds = seconds_until(run, command, now)
        if seconds is not None:
            self.fire_at(run, TimerDue(command.step, command.attempt), seconds)

    def _retry(self, run: Run, due: RetryDue) -> None:
        run.retries.pop(place_of(due.step, due.item), None)
        self._retried(run, due)

    def _fire(self, run: Run, due: TimerDue) -> None:
        run.timers.pop(due.step, None)
        self._waited(run, due)
