"""Streams: events and logs of one execution, replayed from a cursor and then live; lists as they change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import execution_uuid
from runtime.model.change import Change
from runtime.model.errors import NotFound
from runtime.model.event import EventKind, ExecutionEvent, LogLine
from runtime.model.execution import Execution, ExecutionFilter


def execution_events(
    context: Context, *, id: str, after: int, kinds: Sequence[EventKind]
) -> AsyncIterator[ExecutionEvent]:
    """Every event after a sequence number, in order, none lost; ends after the terminal one."""
    return context.executions.watch(context.who, _key(id), after=after, kinds=kinds)


def execution_logs(
    context: Context, *, id: str, after: int, step_key: str | None
) -> AsyncIterator[LogLine]:
    """Every log line after a position, in order; ends with the execution."""
    return context.executions.follow_logs(context.who, _key(id), after=after, step_key=step_key)


def executions(
    context: Context, *, filter: ExecutionFilter, size: int, after: str | None
) -> AsyncIterator[Change[Execution]]:
    """The matching page, then the newest state of every execution that comes in, changes, or falls out."""
    return context.executions.watch_list(context.who, filter, size=size, after=after)


def _key(id: str) -> UUID:
    key = execution_uuid(id)
    if key is None:
        raise NotFound(f"There is no execution {id[:64]!r}.", reason="EXECUTION_NOT_FOUND")
    return key
