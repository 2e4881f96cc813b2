"""The lease of one incarnation, as the worker itself may believe in it.

Only the database decides when a lease has run out. The worker measures with its monotonic clock from
*before* the last successful heartbeat was sent, so its own idea of the end is always the earlier one.
"""

from __future__ import annotations

from runtime.clock import Clock


class Lease:
    """How long this incarnation may still act."""

    def __init__(self, clock: Clock, *, seconds: float, margin_seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._margin = margin_seconds
        self._renewed_at = clock.monotonic()
        self._is_doubted = False

    def renewed(self, sent_at: float) -> float:
        """A heartbeat sent at that (monotonic) time was answered; what was left of the lease before."""
        left = self.remaining
        self._renewed_at = max(self._renewed_at, sent_at)
        self._is_doubted = False
        return left

    def doubted(self) -> None:
        """The heartbeat's session is lost, so others may not wait for the end; until the next one nothing begins."""
        self._is_doubted = True

    @property
    def remaining(self) -> float:
        """Seconds that are surely left."""
        return self._renewed_at + self._seconds - self._clock.monotonic()

    @property
    def allows_calls(self) -> bool:
        """Whether an external call may begin: it should end, or be stopped, while we are the owner."""
        return not self._is_doubted and self.remaining >= self._margin

    @property
    def is_over(self) -> bool:
        """Whether another worker may already own what we hold."""
        return self.remaining <= 0
