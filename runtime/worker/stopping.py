"""Stopping: a call is told first, its task is cancelled after a moment, and given up after some more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from runtime.clock import Clock
from runtime.engine.command import StopStep
from runtime.engine.event import Event
from runtime.engine.fan import place_of
from runtime.telemetry.log import get_logger
from runtime.worker.attempt import Attempt
from runtime.worker.run import Run
from runtime.worker.trace import Traces

STOP_SECONDS: Final = 1.0
ABANDON_SECONDS: Final = 5.0

_log = get_logger("worker")


class Stopping:
    """Ends the calls of one incarnation; `report` is told of the end of one that does not listen."""

    def __init__(
        self, *, report: Callable[[Run, Attempt, Event], None], traces: Traces, clock: Clock
    ) -> None:
        self._report = report
        self._traces = traces
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def stop(self, run: Run, command: StopStep) -> None:
        """Begin to end the call of a step; once it has begun, another word changes nothing."""
        attempt = run.attempts.get(place_of(command.step, command.item))
        if attempt is None or attempt.stop_reason is not None:
            return
        attempt.stop_reason = command.reason
        attempt.cancel.cancel(command.reason)
        attempt.stop_timer = self._loop.call_later(STOP_SECONDS, self._cancel, run, attempt)

    def _cancel(self, run: Run, attempt: Attempt) -> None:
        if attempt.task is not None:
            attempt.task.cancel()
        attempt.stop_timer = self._loop.call_later(ABANDON_SECONDS, self._abandon, run, attempt)

    def _abandon(self, run: Run, attempt: Attempt) -> None:
        _log.warning("step_does_not_stop", **self._traces.place_of(run, attempt.step))
        self._report(run, attempt, attempt.cut(self._clock.monotonic()))
