"""What the simulated database holds: rows of workers and executions, rows of an answer, and what a call refuses with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from runtime.model.event import EventKind
from tests.simulator.loop import START

QUEUED, RUNNING, WAITING, DEAD, FENCED_OFF = 0, 1, 3, 6, "MC002"
OWNED = (
    "id tenant_id workflow_id version_id generation namespace region priority epoch takeovers inbox "
    "cancel_requested created_at age_seconds deadline_in_seconds meta input"
)
OPEN = (QUEUED, RUNNING, WAITING)
_COMPENSATING = EventKind.EXECUTION_COMPENSATING
_SAID = {EventKind.EXECUTION_RETRIED, EventKind.EXECUTION_REWOUND, _COMPENSATING}


class Refused(asyncpg.PostgresError):  # type: ignore[misc] # asyncpg ships no types
    """An error of the server with its five letters."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = state


class Row(tuple[Any, ...]):  # noqa: SLOT001 - the names of its fields are set on it
    """A record: fields by place and by name."""

    names: tuple[str, ...] = ()

    def get(self, key: str, other: Any = None) -> Any:
        return self[key] if key in self.names else other

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)


def json_of(text: str | None) -> Any:
    """What a JSON text says, as a column of it."""
    return None if text is None else orjson.loads(text)


def instant_of(seconds: float) -> datetime:
    """The time so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def rows_of(names: str, found: Sequence[Sequence[Any]]) -> list[Row]:
    """Records of these fields."""
    fields = tuple(names.split())
    out = []
    for values in found:
        row = Row(values)
        row.names = fields
        out.append(row)
    return out


@dataclass(slots=True)
class Seat:
    """A row of `workers`."""

    epoch: int
    lease_until: float
    host: str
    dead: bool = False
    left: bool = False
    holders: int = 0
    late_at: float | None = None
    tags: tuple[str, ...] = ()

    def is_late(self, now: float) -> bool:
        return self.late_at is not None and self.late_at < now


@dataclass(slots=True)
class Execution:
    """A row of `workflow_executions`, and its rows elsewhere."""

    id: UUID
    tenant: UUID
    workflow: UUID
    version: UUID
    created_at: float
    priority: int = 0
    status: int = QUEUED
    wait: int | None = None
    wake_at: float | None = None
    deadline: float | None = None
    generation: int = 0
    inbox: int = 0
    cancel_requested: bool = False
    owner: int | None = None
    epoch: int = 0
    takeovers: int = 0
    lane: str | None = None
    in_lane: bool | None = None
    meta: Any = None
    input: Any = None
    output: Any = None
    error: Any = None
    steps: dict[tuple[int, int, int, int], tuple[int, float, Any]] = field(default_factory=dict)
    events: dict[int, tuple[int, Any]] = field(default_factory=dict)
    written: dict[int, float] = field(default_factory=dict)
    messages: dict[int, tuple[int, Any]] = field(default_factory=dict)
    # The numbers of all signals that were acknowledged.
    signals: list[int] = field(default_factory=list)

    @property
    def compensating(self) -> bool:
        """Whether its steps are being undone, or were, in this generation."""
        kinds = (self.events[n][0] for n in sorted(self.events, reverse=True))
        return next((k == _COMPENSATING for k in kinds if k in _SAID), False)


@dataclass(frozen=True, slots=True)
class Commit:
    """What one call has changed: told to those who check."""

    name: str
    me: int | None
    touched: tuple[UUID, ...]


def read_array(argument: Any) -> Any:
    """An argument of a flush as the server reads it: numbers come as the literal of an array."""
    return orjson.loads(f"[{argument[1:-1]}]") if isinstance(argument, str) else argument
