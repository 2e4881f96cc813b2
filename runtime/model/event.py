"""ExecutionEvent: one row of an execution's append-only log; the closed list of what happens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.values import Json


class EventKind(IntEnum):
    """As stored in `execution_events.kind`; numbers are never reused.

    The name is the graph's word.
    """

    EXECUTION_QUEUED = 1
    EXECUTION_STARTED = 2
    EXECUTION_PAUSED = 3
    EXECUTION_RESUMED = 4
    EXECUTION_WAITING = 5
    EXECUTION_COMPLETED = 6
    EXECUTION_FAILED = 7
    EXECUTION_CANCELLED = 8
    EXECUTION_TIMED_OUT = 9
    EXECUTION_REWOUND = 10
    EXECUTION_RETRIED = 11
    EXECUTION_CANCEL_REQUESTED = 12
    EXECUTION_TAKEN_OVER = 13
    DEAD_LETTERED = 14
    DEAD_LETTER_DISCARDED = 15
    EXECUTION_DEADLINE_REACHED = 16
    EXECUTION_COMPENSATING = 17
    EXECUTION_MIGRATED = 18
    STEP_STARTED = 20
    STEP_COMPLETED = 21
    STEP_FAILED = 22
    STEP_RETRYING = 23
    STEP_SKIPPED = 24
    STEP_CANCELLED = 25
    STEP_TIMED_OUT = 26
    STEP_IN_DOUBT = 27
    STEP_COMPENSATED = 28
    STEP_DOUBT_SETTLED = 29
    TIMER_SET = 30
    TIMER_FIRED = 31
    SIGNAL_AWAITED = 32
    SIGNAL_RECEIVED = 33
    MESSAGE_UNREAD = 34
    STEP_JOINED = 35
    MAP_OPENED = 36
    CHILD_STARTED = 37
    HUMAN_TASK_CREATED = 38
    STEP_CALL_ANNOUNCED = 40
    STEP_CALL_WITHDRAWN = 41

    @property
    def word(self) -> str:
        """`step_started`: the word of filters and the CLI."""
        return self.name.lower()

    @property
    def ends_execution(self) -> bool:
        """Whether this is the last event of a generation."""
        return self in _FINAL


# What replay must know beside the rows of steps.
MARKS = (
    EventKind.EXECUTION_STARTED,
    EventKind.EXECUTION_PAUSED,
    EventKind.EXECUTION_RESUMED,
    EventKind.EXECUTION_REWOUND,
    EventKind.EXECUTION_RETRIED,
    EventKind.EXECUTION_CANCEL_REQUESTED,
    EventKind.EXECUTION_DEADLINE_REACHED,
    EventKind.EXECUTION_COMPENSATING,
    EventKind.TIMER_SET,
    EventKind.SIGNAL_AWAITED,
    EventKind.SIGNAL_RECEIVED,
    EventKind.STEP_JOINED,
    EventKind.STEP_COMPENSATED,
    EventKind.MAP_OPENED,
    EventKind.CHILD_STARTED,
    EventKind.HUMAN_TASK_CREATED,
)
# Each begins the next generation of an execution: of what did not complete, or from a step that is named.
BEGINS_AGAIN: Final = frozenset({EventKind.EXECUTION_REWOUND, EventKind.EXECUTION_RETRIED})
_FINAL = frozenset(
    {
        EventKind.EXECUTION_COMPLETED,
        EventKind.EXECUTION_FAILED,
        EventKind.EXECUTION_CANCELLED,
        EventKind.EXECUTION_TIMED_OUT,
        EventKind.DEAD_LETTERED,
    }
)


DOMAIN_EVENTS: Final = frozenset(
    {
        "workflow_created",
        "workflow_updated",
        "workflow_published",
        "workflow_deprecated",
        "workflow_archived",
        "workflow_deleted",
        "workflow_settings",
        "tenant_settings",
    }
)
"""The words of what happens to other nouns: `<noun>_<kind>` of a row of `domain_events`."""


class ExecutionEvent(NamedTuple):
    """What happened, in order of `sequence` (gapless from 1 per execution, in commit order)."""

    execution_id: UUID
    tenant_id: UUID
    sequence: int
    kind: EventKind
    at: datetime
    data: Json = None

    def field(self, name: str) -> Json:
        """A field of `data`, or None."""
        return self.data.get(name) if isinstance(self.data, dict) else None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a step logged in one attempt. `position` orders lines within an execution.

    `stack` was logged with it under that name; it is told apart because not everybody may see it.
    """

    execution_id: UUID
    position: int
    step: int
    item: int
    generation: int
    attempt: int
    at: datetime
    level: str
    message: str
    fields: Json = None
    stack: str | None = None

    def without_stack(self) -> LogLine:
        """The same for who may not see it."""
        return replace(self, stack=None)
