"""The cancel token that a worker hands to a step and trips when the step should stop."""

from __future__ import annotations

import asyncio
import threading

from runtime.model.errors import StepErrorKind, StepFailed


class CancelSignal:
    """Tripped once, by the loop that made it; readable from every thread. Implements CancelToken."""

    __slots__ = ("_event", "_reason", "_tripped")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._tripped = threading.Event()
        self._reason: str | None = None

    def cancel(self, reason: str) -> None:
        """Tell the step to stop; the first reason stays."""
        if not self._tripped.is_set():
            self._reason = reason
            self._tripped.set()
            self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether to stop now."""
        return self._tripped.is_set()

    @property
    def reason(self) -> str | None:
        """Why, in words."""
        return self._reason

    def raise_if_cancelled(self) -> None:
        """Raise StepFailed(kind=CANCELLED) when the step should stop."""
        if self._tripped.is_set():
            raise StepFailed(
                f"The step was told to stop: {self._reason}.",
                kind=StepErrorKind.CANCELLED,
                type="step.cancelled",
            )

    async def wait(self) -> None:
        """Return when the step should stop."""
        await self._event.wait()

    def wait_for(self, seconds: float) -> bool:
        """Block this thread for at most so long; whether to stop now."""
        return self._tripped.wait(seconds)
