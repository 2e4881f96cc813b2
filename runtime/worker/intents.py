"""Intents: at-most-once calls that are recorded, or being recorded, and have not begun. Each holds a place."""

from __future__ import annotations

from runtime.connectors.cancel import CancelSignal
from runtime.worker.attempt import Attempt
from runtime.worker.run import Run


class Intents:
    """What was announced and not called yet, in the order in which it was announced."""

    def __init__(self) -> None:
        self._entries: list[tuple[Run, Attempt]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def announce(self, run: Run, attempt: Attempt) -> None:
        """The call waits until it is durable that it may be made, also one that would be answered at once."""
        attempt.cancel = CancelSignal()
        self.add(run, attempt)
        run.record_intent(attempt)

    def add(self, run: Run, attempt: Attempt) -> None:
        """It is announced, and is not called yet."""
        self._entries.append((run, attempt))

    def release(self, attempt: Attempt) -> bool:
        """The call begins or never will: it holds no place any more. Whether it did."""
        before = len(self._entries)
        self._entries = [entry for entry in self._entries if entry[1] is not attempt]
        return len(self._entries) < before

    def forget(self, run: Run) -> None:
        """This run is carried no longer."""
        self._entries = [entry for entry in self._entries if entry[0] is not run]

    def take(self) -> list[tuple[Run, Attempt]]:
        """All of them, which hold no places from now on."""
        entries, self._entries = self._entries, []
        return entries
