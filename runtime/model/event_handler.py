"""EventHandler: one that is told of what happened, as operators see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HandlerState(StrEnum):
    """As people see it; the words of `/readyz`."""

    OK = "ok"
    FAILING = "failing"
    IN_THE_PAST = "in_the_past"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class PassedBy:
    """An event on which a handler went on failing: recorded, and not told again."""

    event_id: str
    kind: str
    attempts: int
    error: str
    at: datetime


@dataclass(frozen=True, slots=True)
class HandlerStatus:
    """How a handler does on one stream of one shard, for one tenant.

    `error` is what it said when it failed last, None when that was about events of others. `passed_by` are
    events of the tenant, newest first.
    """

    handler: str
    stream: str
    shard: int
    state: HandlerState
    lag_seconds: float
    attempts: int = 0
    error: str | None = None
    failed_at: datetime | None = None
    missed_until: datetime | None = None
    passed_by: tuple[PassedBy, ...] = ()
