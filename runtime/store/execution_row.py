"""An execution as a view of its row: what nobody asks for is never made.

A page of a list asks for a handful of its 29 fields; making all of them took a third of its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from runtime.model.blob import stored
from runtime.model.execution import (
    Execution,
    ExecutionError,
    ExecutionState,
    ExecutionStatus,
    TriggerKind,
    WaitKind,
)
from runtime.model.identity import Actor, ActorKind

_STATUS: Final = {int(status): status for status in ExecutionStatus}
_COMPLETED: Final = int(ExecutionStatus.COMPLETED)
_FULL_STATE: Final[Any] = Execution.state
# Waiting has two: a paused one waits too.
_STATES: Final = {
    int(status): ExecutionState(status.name.lower())
    for status in ExecutionStatus
    if status is not ExecutionStatus.WAITING
}
_WAIT: Final = {None: None} | {int(wait): wait for wait in WaitKind}


def error_of(data: Any) -> ExecutionError | None:
    """An error from its JSON."""
    if not isinstance(data, dict):
        return None
    return ExecutionError(
        str(data.get("type", "Error")),
        str(data.get("message", "")),
        bool(data.get("retryable", False)),
        data.get("step_key"),
        data.get("details"),
    )


def actor_of(data: Any) -> Actor:
    """An actor from its JSON."""
    if not isinstance(data, dict):
        return Actor("unknown", ActorKind.SYSTEM)
    return Actor(
        str(data.get("subject", "unknown")),
        ActorKind(data.get("kind", ActorKind.USER)),
        data.get("display_name"),
    )


def trace_id_of(headers: Any) -> str | None:
    """The trace id in W3C headers: the second part of `traceparent`."""
    parent = headers.get("traceparent") if isinstance(headers, dict) else None
    parts = parent.split("-") if isinstance(parent, str) else []
    return parts[1] if len(parts) > 1 else None


def _column(name: str) -> Any:
    return property(lambda self: self.row[name])


def _said(name: str) -> Any:
    """What was said at the enqueue stands in the row's `meta`."""
    return property(lambda self: self.row["meta"].get(name))


def _made(make: Callable[[Any], Any]) -> Any:
    return property(lambda self: make(self.row))


def _parent(row: Any) -> UUID | None:
    parent = row["meta"].get("parent")
    return UUID(parent) if parent else None


def _scheduled_for(row: Any) -> datetime | None:
    run_at = row["meta"].get("run_at")
    return datetime.fromisoformat(run_at) if run_at else None


def _state(execution: Any) -> ExecutionState:
    row = execution.row
    is_plain = not (row["cancel_requested"] or row["compensating"])
    state = _STATES.get(row["status"]) if is_plain else None
    return state or _FULL_STATE.fget(execution)


class ExecutionRow(Execution):
    """Equal to an Execution with the same fields."""

    __slots__ = ("row",)

    row: Any
    id = _column("id")
    tenant_id = _column("tenant_id")
    workflow_id = _column("workflow_id")
    version_id = _column("version_id")
    namespace = _column("namespace")
    generation = _column("generation")
    priority = _column("priority")
    cancel_requested = _column("cancel_requested")
    compensating = _column("compensating")
    region = _column("region")
    created_at = _column("created_at")
    wake_at = _column("wake_at")
    deadline = _column("deadline")
    started_at = _column("started_at")
    finished_at = _column("finished_at")
    worker_id = _column("owner")
    purpose = _said("purpose")
    idempotency_key = _said("key")
    version = _said("version")
    status = _made(lambda row: _STATUS[row["status"]])
    wait = _made(lambda row: _WAIT[row["wait"]])
    created_by = _made(lambda row: actor_of(row["meta"].get("actor")))
    trigger = _made(lambda row: TriggerKind(row["meta"].get("trigger", TriggerKind.API)))
    parent_id = _made(_parent)
    trace_id = _made(lambda row: trace_id_of(row["meta"].get("trace")))
    input = _made(lambda row: stored(row["input"]))
    output = _made(lambda row: stored(row["output"]))
    error = _made(lambda row: error_of(row["error"]))
    labels = _made(lambda row: dict(row["meta"].get("labels") or {}))
    scheduled_for = _made(_scheduled_for)
    at = property(lambda _self: None)
    # Asked of every row of a page, so said by its columns where they are enough.
    state = property(_state)
    ended_at_the_first_go = property(
        lambda self: self.row["status"] == _COMPLETED and self.row["generation"] == 0
    )

    def __init__(self, row: Any) -> None:
        object.__setattr__(self, "row", row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Execution):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = Execution.__hash__


_FIELDS: Final = tuple(each.name for each in fields(Execution))
