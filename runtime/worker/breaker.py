"""Breakers: what this worker knows of the targets that its steps call, and what it hears of them from others.

Looking costs a dictionary access; nothing waits for Redis. What others have opened is heard of within a
second, and what they count adds to what is counted here. When Redis is away, only one's own failures count.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

from runtime.clock import Clock
from runtime.engine.breaker import OPEN_ERROR, Breaker, is_outage
from runtime.engine.event import StepError
from runtime.model.breaker import BreakerKey, BreakerRule
from runtime.model.errors import StepErrorKind
from runtime.queue.breaker import SharedBreakers
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics
from runtime.worker.attempt import Attempt
from runtime.worker.run import Run

LISTEN_SECONDS: Final = 1.0
MOST_KNOWN: Final = 10_000
RULE: Final = BreakerRule()

_log = get_logger("worker")


class Breakers:
    """All breakers of one process. Only targets that have failed are remembered."""

    def __init__(
        self,
        shared: SharedBreakers | None,
        *,
        metrics: Metrics,
        clock: Clock,
        rule: BreakerRule | None = None,
    ) -> None:
        self._shared = shared
        self._metrics = metrics
        self._clock = clock
        self._rule = rule or RULE
        self._known: dict[BreakerKey, Breaker] = {}
        self._heard: set[BreakerKey] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def refusal(self, key: BreakerKey) -> StepError | None:
        """Why this target is not called now, and for how long not; None: call it, and tell its end."""
        breaker = self._known.get(key)
        if breaker is None:
            return None
        seconds = breaker.seconds_until_call(self._clock.monotonic())
        if seconds <= 0:
            return None
        self._metrics.breaker_refusals.labels(key.connector).inc()
        return StepError(
            OPEN_ERROR,
            f"{key.target} keeps failing, so {key.connector} does not call it for {seconds:.0f} s; then it is "
            "tried again. The step waits, and no attempt is used up.",
            StepErrorKind.THROTTLED,
            seconds,
            {"target": key.target},
        )

    def ended(self, key: BreakerKey, error: StepError | None, began: float = inf) -> None:
        """A call of this target has ended; `began` is when it was made, by the monotonic clock."""
        outage = False if error is None else is_outage(error)
        if outage is None:
            return
        breaker = self._known.get(key)
        now = self._clock.monotonic()
        if not outage:
            if breaker is not None and breaker.succeeded(now, began):
                self._told_closed(key)
            elif breaker is not None and breaker.until is None:
                self._forget(key)
            return
        if breaker is None:
            if len(self._known) >= MOST_KNOWN:
                self._known = {k: one for k, one in self._known.items() if not one.is_stale(now)}
            if len(self._known) >= MOST_KNOWN:
                return
            breaker = self._known[key] = Breaker(self._rule)
        if breaker.failed(now, began):
            self._told_open(key, breaker, now)
        elif self._shared is not None and breaker.until is None:
            self._spawn(self._count(key))

    async def listen(self) -> None:
        """Hear of what others open and close, for ever."""
        while self._shared is not None:
            await asyncio.sleep(LISTEN_SECONDS)
            await self.hear()

    async def hear(self) -> None:
        """What the others know by now."""
        found = None if self._shared is None else await self._shared.open_ones()
        if found is None:
            return
        now = self._clock.monotonic()
        open_now = set()
        for one in found:
            open_now.add(one.key)
            breaker = self._known.setdefault(one.key, Breaker(self._rule))
            if one.seconds_left > 0 and (breaker.until is None or breaker.until < now):
                breaker.open(now, now + one.seconds_left)
        for key in self._heard - open_now:
            self._known.pop(key, None)
        self._heard = open_now
        self._show()

    def close(self) -> None:
        """Stop counting."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _count(self, key: BreakerKey) -> None:
        count = (
            None
            if self._shared is None
            else await self._shared.count(key, self._rule.window_seconds)
        )
        breaker = self._known.get(key)
        if breaker is None or count is None or count < self._rule.failures:
            return
        now = self._clock.monotonic()
        if breaker.until is None:
            breaker.open(now)
            self._told_open(key, breaker, now)

    def _told_open(self, key: BreakerKey, breaker: Breaker, now: float) -> None:
        seconds = max(0.0, (breaker.until or now) - now)
        _log.warning("breaker_opened", connector=key.connector, target=key.target, seconds=seconds)
        self._metrics.breakers_opened.labels(key.connector).inc()
        if self._shared is not None:
            self._shared.opened(key, seconds, self._rule.failures)
        self._show()

    def _told_closed(self, key: BreakerKey) -> None:
        _log.info("breaker_closed", connector=key.connector, target=key.target)
        self._forget(key)
        self._show()

    def _forget(self, key: BreakerKey) -> None:
        self._known.pop(key, None)
        self._heard.discard(key)
        if self._shared is not None:
            self._shared.closed(key)

    def _show(self) -> None:
        self._metrics.breakers_open.set(sum(one.until is not None for one in self._known.values()))

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name="breaker")  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def key_of(run: Run, attempt: Attempt) -> BreakerKey | None:
    """Which breaker a call is judged by; None when it names no target."""
    if attempt.target is None:
        return None
    name = run.prepared.steps[attempt.step].connector_name
    return BreakerKey(run.owned.tenant_id, name, attempt.target)
