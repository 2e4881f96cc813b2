"""Factories with complete defaults: a test names only what it is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from runtime.clock import SystemClock
from runtime.entropy import SystemEntropy
from runtime.model.checkpoint import Checkpoint, Closing, EventRow, StepRow
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.identity import Principal
from runtime.store.enqueue import EnqueueRow

TENANT = UUID("01930000-0000-7000-8000-00000000aaaa")
OTHER_TENANT = UUID("01930000-0000-7000-8000-00000000bbbb")

ALL_SCOPES = frozenset(
    {
        "workflows:read",
        "workflows:write",
        "workflows:publish",
        "executions:read",
        "executions:write",
        "executions:debug",
        "executions:admin",
        "tasks:read",
        "tasks:write",
        "tasks:admin",
    }
)


def now() -> datetime:
    """The present instant."""
    return SystemClock().now()


def new_id() -> UUID:
    """An id as the API makes them."""
    return SystemEntropy().uuid7(int(now().timestamp() * 1000))


def principal(
    tenant: UUID = TENANT, *, name: str = "test", scopes: frozenset[str] = ALL_SCOPES
) -> Principal:
    """A caller who may do everything."""
    return Principal(tenant, name, "ann", scopes)


def enqueue_row(
    *,
    id: UUID | None = None,
    tenant: UUID = TENANT,
    workflow: UUID | None = None,
    version: UUID | None = None,
    namespace: str = "default",
    priority: int = 0,
    timeout_seconds: float | None = None,
    wake_at: datetime | None = None,
    input: Any = None,
    meta: dict[str, Any] | None = None,
    key: str | None = None,
    digest: bytes | None = None,
    labels: dict[str, str] | None = None,
) -> EnqueueRow:
    """A new execution."""
    return EnqueueRow(
        id or new_id(),
        tenant,
        workflow or new_id(),
        version or new_id(),
        namespace,
        None,
        priority,
        timeout_seconds,
        wake_at,
        json.dumps(input),
        json.dumps({"tenant": "test", "labels": labels or {}, **(meta or {})}),
        key,
        digest or (b"digest" if key else None),
        "{}",
        json.dumps(labels) if labels else None,
    )


def step_row(
    execution: UUID,
    step: int = 0,
    *,
    attempt: int = 1,
    generation: int = 0,
    status: StepStatus = StepStatus.COMPLETED,
    is_open: bool = False,
    result: Any = None,
    tenant: UUID = TENANT,
) -> StepRow:
    """An attempt that has ended well."""
    text = json.dumps({"output": None} if result is None else result)
    return StepRow(
        tenant, execution, step, -1, generation, attempt, int(status), 0.1, is_open, text
    )


def event_row(
    execution: UUID,
    sequence: int,
    kind: EventKind = EventKind.STEP_COMPLETED,
    *,
    data: Any = None,
    tenant: UUID = TENANT,
) -> EventRow:
    """An event."""
    return EventRow(tenant, execution, sequence, int(kind), json.dumps(data))


def checkpoint(
    execution: UUID,
    *,
    steps: Sequence[StepRow] = (),
    events: Sequence[EventRow] = (),
    closing: Closing | None = None,
    clears_takeovers: bool = False,
    inbox_read: tuple[int, ...] = (),
    in_family: bool = False,
) -> Checkpoint:
    """What an owner wants to be durable."""
    return Checkpoint(
        execution,
        tuple(steps),
        tuple(events),
        closing,
        clears_takeovers,
        inbox_read,
        100,
        in_family=in_family,
    )
