"""Breaker: whether a target that keeps failing is called at all. Pure; the time comes in.

Closed, it counts failures: so many within the window, with no success between them, open it. Open, it says
how long to wait. When that is over it lets a few calls through as probes: a success closes it, a failure
opens it again for longer. What was called before it opened says nothing of the target as it is now.
What it does to a step: the attempt is put off and does not count (StepDeferred).
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from runtime.engine.event import StepError
from runtime.model.breaker import BreakerRule, BreakerState
from runtime.model.errors import StepErrorKind

OPEN_ERROR: Final = "breaker.open"
_FULL_SECONDS: Final = 1.0
_CLIENT_ERRORS: Final = range(400, 500)
_SERVER_ERROR: Final = 500


class Breaker:
    """One target of one connector."""

    __slots__ = ("_failures", "_opened_at", "_probes", "_rule", "_times", "until")

    def __init__(self, rule: BreakerRule) -> None:
        self._rule = rule
        self._failures: deque[float] = deque(maxlen=rule.failures)
        self._probes: list[float] = []
        self._times = 0
        self._opened_at = -inf
        self.until: float | None = None

    def state(self, now: float) -> BreakerState:
        """Where it stands."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def is_stale(self, now: float) -> bool:
        """Whether it remembers nothing that still counts."""
        last = self._failures[-1] if self._failures else -inf
        return self.until is None and now - last > self._rule.window_seconds

    def seconds_until_call(self, now: float) -> float:
        """0: call now (half open, that is a probe, and its end must be told). Else: not before so long."""
        if self.until is None:
            return 0.0
        if now < self.until:
            return self.until - now
        # A probe whose end nobody has told for so long is lost with its worker.
        self._probes = [at for at in self._probes if now - at < self._rule.open_seconds]
        if len(self._probes) >= self._rule.probes:
            return _FULL_SECONDS
        self._probes.append(now)
        return 0.0

    def failed(self, now: float, began: float = inf) -> bool:
        """A call that began then has failed; whether that has opened the breaker."""
        match self.state(now):
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                if began < self._opened_at:
                    return False
                self.open(now)
                return True
        self._failures.append(now)
        oldest = now - self._failures[0]
        if len(self._failures) < self._rule.failures or oldest > self._rule.window_seconds:
            return False
        self.open(now)
        return True

    def succeeded(self, now: float, began: float = inf) -> bool:
        """A call that began then was answered; whether that has closed the breaker."""
        if self.state(now) is BreakerState.OPEN or began < self._opened_at:
            return False
        was_open = self.until is not None
        self.close()
        return was_open

    def open(self, now: float, until: float | None = None) -> None:
        """Open it, or learn that others have."""
        seconds = min(self._rule.open_seconds * 2.0**self._times, self._rule.longest_seconds)
        self._times = min(self._times + 1, 16)
        self._opened_at = now
        self.until = now + seconds if until is None else until
        self._failures.clear()
        self._probes.clear()

    def close(self) -> None:
        """Forget everything."""
        self._failures.clear()
        self._probes.clear()
        self._times = 0
        self._opened_at = -inf
        self.until = None


# What was answered could not be stored: the fault is ours.
UNSTORED: Final = "blob.unavailable"


def is_outage(error: StepError) -> bool | None:
    """Whether a failure speaks against the target (True), for it (False: it answered), or says nothing."""
    if error.type == UNSTORED:
        return False
    status = error.details.get("status") if isinstance(error.details, dict) else None
    if isinstance(status, int):
        return status >= _SERVER_ERROR if status not in _CLIENT_ERRORS else False
    match error.kind:
        case StepErrorKind.TRANSIENT | StepErrorKind.TIMEOUT:
            return True
        case StepErrorKind.THROTTLED:
            return False
    return None
