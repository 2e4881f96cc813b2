"""Streams of one execution: what is stored first, then what comes, with no gap and no duplicate.

Everything is read from PostgreSQL after a cursor; a bell only says when to look again, and a slow poll
looks anyway. The status is read before the events: when it is final, its event is among them, so a
stream knows when it has seen the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from runtime.model.errors import NotFound, Unavailable
from runtime.model.event import EventKind, ExecutionEvent, LogLine
from runtime.queue.wakeup import Wakeup
from runtime.store.execution_record import ExecutionRecords
from runtime.store.log import LogStore
from runtime.telemetry.metrics import Metrics

T = TypeVar("T")

_PAGE: Final = 500
_POLL_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 0.5


class Watcher:
    """Makes streams; each holds no connection while it waits."""

    def __init__(
        self,
        *,
        records: ExecutionRecords,
        logs: LogStore,
        wakeup: Wakeup,
        metrics: Metrics,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._records = records
        self._logs = logs
        self._wakeup = wakeup
        self._open = metrics.subscribers
        self._poll = poll_seconds

    async def events(
        self, tenant: UUID, execution: UUID, after: int, kinds: Sequence[EventKind]
    ) -> AsyncIterator[ExecutionEvent]:
        """Events after a sequence; ends after the last event of the newest generation."""
        wanted = frozenset(kinds)
        with self._open.track_inprogress():
            async with self._wakeup.listen(execution) as bell:
                while True:
                    seen = after
                    status, found = await patiently(
                        lambda seen=seen: self._records.status_and_events(  # type: ignore[misc] # mypy sees no type for a lambda's default
                            tenant, execution, after=seen, limit=_PAGE
                        )
                    )
                    if status is None:
                        raise unknown(execution)
                    for event in found:
                        after = event.sequence
                        if not wanted or event.kind in wanted:
                            yield event
                    if len(found) == _PAGE:
                        continue
                    if status.is_terminal and not went_on(found):
                        return
                    await bell.wait(self._poll)

    async def lines(
        self, tenant: UUID, execution: UUID, after: int, step: int | None
    ) -> AsyncIterator[LogLine]:
        """Log lines after a position; ends when the execution has and no more lines arrive."""
        settled = False
        with self._open.track_inprogress():
            async with self._wakeup.listen(execution, "logs") as bell:
                while True:
                    seen = after
                    status = await patiently(lambda: self._records.status(tenant, execution))
                    if status is None:
                        raise unknown(execution)
                    found = await patiently(
                        lambda seen=seen: self._logs.read(  # type: ignore[misc] # mypy sees no type for a lambda's default
                            tenant, execution, step=step, after=seen, limit=_PAGE
                        )
                    )
                    for line in found:
                        after = line.position
                        yield line
                    if len(found) == _PAGE:
                        continue
                    if status.is_terminal and settled and not found:
                        return
                    # Lines travel beside the checkpoints and may come just after the last of them.
                    settled = status.is_terminal
                    await bell.wait(_SETTLE_SECONDS if settled else self._poll)


def went_on(found: Sequence[ExecutionEvent]) -> bool:
    """Whether a retry came between the two reads; its generation may have got as far as it likes."""
    for event in reversed(found):
        if event.kind is EventKind.EXECUTION_RETRIED or event.kind.ends_execution:
            return not event.kind.ends_execution
    return False


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """A read that outlives a restart of PostgreSQL."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _PATIENCE_SECONDS
    while True:
        try:
            return await read()
        except Unavailable:
            if loop.time() > give_up:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


def unknown(execution: UUID) -> NotFound:
    """What to say of an execution that is not there, or not the caller's."""
    return NotFound(f"There is no execution {execution}.", reason="EXECUTION_NOT_FOUND")
