"""What steps log: stored per attempt, bounded, without secrets; never blocks and never fails a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from runtime.clock import Clock
from runtime.model.checkpoint import OwnedExecution
from runtime.store.log import LogRow, LogWriter, log_fields
from runtime.worker.attempt import Attempt

MAX_LINES: Final = 1_000
MAX_BYTES: Final = 65_536
PROGRESS_SECONDS: Final = 1.0


class StepLines:
    """The log of one attempt. Implements the socket's StepLog and Heartbeat; any thread may call."""

    __slots__ = ("_attempt", "_bytes", "_clock", "_lines", "_mask", "_owned", "_said_at", "_writer")

    def __init__(
        self,
        writer: LogWriter,
        owned: OwnedExecution,
        attempt: Attempt,
        mask: Callable[[Any], Any],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._owned = owned
        self._attempt = attempt
        self._mask = mask
        self._clock = clock
        self._lines = 0
        self._bytes = 0
        self._said_at = float("-inf")

    def debug(self, message: str, **fields: object) -> None:
        """Log for developers."""
        self._write("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Log for operators."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Log what is odd but handled."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Log what went wrong."""
        self._write("error", message, fields)

    def heartbeat(self, progress: object = None) -> None:
        """The step lives; what it says of its progress becomes a line, at most one per second."""
        now = self._clock.monotonic()
        if progress is not None and now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            self._write("info", "progress", {"progress": progress})

    def _write(self, level: str, message: object, fields: dict[str, object]) -> None:
        if self._lines > MAX_LINES or self._bytes > MAX_BYTES:
            return
        self._lines += 1
        text = self._mask(str(message))
        more = self._more(fields)
        self._bytes += len(text) + len(more or "")
        if self._lines > MAX_LINES or self._bytes > MAX_BYTES:
            # The first line over the limit says so, in its own place, and is the last.
            self._lines = MAX_LINES + 1
            level, more = "warning", None
            text = f"truncated: an attempt may log {MAX_LINES} lines or {MAX_BYTES} bytes"
        owned, attempt = self._owned, self._attempt
        self._writer.write(
            LogRow(
                owned.tenant_id,
                owned.id,
                attempt.step,
                attempt.item,
                owned.generation,
                attempt.number,
                level,
                text,
                more,
            )
        )

    def _more(self, fields: dict[str, object]) -> str | None:
        try:
            more = log_fields(fields)
        except (TypeError, ValueError, RecursionError):
            return '{"fields":"not storable as JSON"}'
        return None if more is None else str(self._mask(more))


class StepLogs:
    """Makes the logs of attempts."""

    def __init__(self, writer: LogWriter, mask: Callable[[Any], Any], clock: Clock) -> None:
        self._writer = writer
        self._mask = mask
        self._clock = clock

    def of(self, owned: OwnedExecution, attempt: Attempt) -> StepLines:
        """The log of one attempt."""
        return StepLines(self._writer, owned, attempt, self._mask, self._clock)
