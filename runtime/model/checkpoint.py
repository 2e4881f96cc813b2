"""Checkpoint: what an owner wants to be durable, and what it finds when it takes over.

The worker makes these records, the store carries them. The fields of StepRow, EventRow and Closing
stand in the order of the arrays of `mc_flush_2`, so that a batch of rows becomes columns by one
`zip(*rows)`. They are tuples because tens of thousands of them are made per second. Texts are JSON
already: the worker encodes an output once, for its size, its digest and its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.event import BEGINS_AGAIN, EventKind
from runtime.model.execution import StepStatus
from runtime.model.values import Json


class StepRow(NamedTuple):
    """The outcome of an attempt, or (`is_open`) the intent of an effectful call.

    An open row is RUNNING, or CANCELLED when the intent was taken back: whoever comes next may make the
    call, under the same number.
    """

    tenant_id: UUID
    execution_id: UUID
    step: int
    item: int
    generation: int
    attempt: int
    status: int
    age_seconds: float
    is_open: bool
    result: str


class EventRow(NamedTuple):
    """One event, numbered by the owner."""

    tenant_id: UUID
    execution_id: UUID
    sequence: int
    kind: int
    data: str | None


class Closing(NamedTuple):
    """The end of ownership: a final status, parked (WAITING) or given back (QUEUED)."""

    execution_id: UUID
    status: int
    wait: int | None = None
    wake_in_seconds: float | None = None
    inbox_seen: int = 0
    output: str | None = None
    error: str | None = None


class ChildRow(NamedTuple):
    """An execution that begins with the checkpoint of its parent, queued; in the order of the arrays of `mc_flush_3`.

    `input`, `meta`, `event` and `labels` are JSON texts.
    """

    parent: UUID
    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version_id: UUID
    namespace: str
    region: str | None
    priority: int
    timeout_seconds: float | None
    input: str
    meta: str
    event: str
    labels: str | None

    @property
    def size(self) -> int:
        """What it weighs in a batch."""
        return len(self.input) + len(self.meta) + len(self.event) + len(self.labels or "")


class WordRow(NamedTuple):
    """A message that an execution leaves for its child; `data` is JSON text."""

    tenant_id: UUID
    child: UUID
    kind: int
    data: str


class TaskRow(NamedTuple):
    """The task of a step, which begins with the checkpoint that tells of it: JSON text, as `mc_task_open` reads it."""

    execution_id: UUID
    task: str


class TaskStop(NamedTuple):
    """All tasks of an execution that are still open are cancelled."""

    execution_id: UUID
    reason: str


class Checkpoint(NamedTuple):
    """What must be committed together for one execution, in the order of submission.

    `inbox_read` are the numbers of the messages that this checkpoint acts on; they are deleted with it. `size` is the
    length of all texts, for the limit of a batch. `children` begin with it, and `words` are left for children that
    have begun. `tasks` begin with it, and `stops` cancel those that are open. `in_family`: it changes the row of an
    execution that has a parent or children, so it is written by `mc_flush_3`, which locks such rows in order.
    """

    execution_id: UUID
    steps: tuple[StepRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    closing: Closing | None = None
    clears_takeovers: bool = False
    inbox_read: tuple[int, ...] = ()
    size: int = 0
    children: tuple[ChildRow, ...] = ()
    words: tuple[WordRow, ...] = ()
    in_family: bool = False
    tasks: tuple[TaskRow, ...] = ()
    stops: tuple[TaskStop, ...] = ()


class FlushOutcome(StrEnum):
    """What became of a checkpoint.

    COMMITTED: durable. FENCED: nothing written, another owner may exist. UNKNOWN: the connection
    broke in between, it may or may not be durable and must never be sent again. REJECTED: the
    database refuses this very checkpoint (or an earlier one of the same execution); the rest of its
    batch is durable.
    """

    COMMITTED = "committed"
    FENCED = "fenced"
    UNKNOWN = "unknown"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FlushResult:
    """The answer to one checkpoint; `message` says why it was not committed."""

    outcome: FlushOutcome
    message: str | None = None


COMMITTED = FlushResult(FlushOutcome.COMMITTED)


class InboxKind(IntEnum):
    """As stored in `execution_inbox.kind`; numbers are never reused."""

    CANCEL = 1
    SIGNAL = 2
    PAUSE = 3
    RESUME = 4
    CHILD_ENDED = 5
    HUMAN_TASK_ENDED = 6
    RESOLVE_DOUBT = 9

    @property
    def word(self) -> str:
        """As `MESSAGE_UNREAD` calls it."""
        return "resolve_in_doubt" if self is InboxKind.RESOLVE_DOUBT else self.name.lower()


class InboxMessage(NamedTuple):
    """A message left for an execution: data is `{"actor": {subject, kind}, "reason"}`.

    Of SIGNAL it is `{"actor", "name", "payload"}`. RESOLVE_DOUBT adds `step`, `attempt`, `generation`,
    `decision` and, of a call that was made, its `output`. CHILD_ENDED is from the database itself: `child`, `status`,
    `output` and `error` of an execution that this one has started; HUMAN_TASK_ENDED, too: `task`, `step`, `generation`,
    `status`, `outcome`, `response`, `at` of the task of a step, and as `actor` who has ended it.
    """

    n: int
    kind: int
    data: Json


# In the place of an item: this record stands for all rows of items that completed in its generation; its result is
# a list of ranges `[first, behind the last]`. What they put out is read when the map joins, and not before.
COMPLETED_ITEMS: Final = -2


class StepRecord(NamedTuple):
    """A row of `step_executions` as replay reads it; `ended_ago` is by the database's clock."""

    step: int
    item: int
    generation: int
    attempt: int
    status: int
    is_open: bool
    ended_ago: float
    result: Json

    @property
    def is_withdrawn(self) -> bool:
        """Whether this is an intent that was taken back: the attempt never happened."""
        return self.is_open and self.status == StepStatus.CANCELLED


class ItemResult(NamedTuple):
    """What became of an item of a map: its output, or the error with which it ended."""

    item: int
    status: int
    value: Json


class Mark(NamedTuple):
    """An event that replay reads; `ago` is how many seconds ago it was committed, by the database."""

    kind: int
    data: Json = None
    ago: float = 0.0


class QueuedExecution(NamedTuple):
    """An execution that waits for a worker, and for how long by the database's clock.

    `fills_share`: it is the last that its tenant may have in this answer, so there may be more. `is_limited`: its
    tenant, or one of the tenant's workflows, has a limit on running executions.
    """

    id: UUID
    priority: int
    tenant_id: UUID
    age_seconds: float
    fills_share: bool = False
    is_limited: bool = False


class OwnedExecution(NamedTuple):
    """An execution as the claim hands it to its new owner; durations are by the database's clock.

    `epoch` 1 means that nobody has owned it before: no rows need to be loaded, unless `inbox` says
    that messages wait, or `meta` that it was `migrated` before it began.
    """

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version_id: UUID
    generation: int
    namespace: str
    region: str | None
    priority: int
    epoch: int
    takeovers: int
    inbox: int
    cancel_requested: bool
    created_at: datetime
    age_seconds: float
    deadline_in_seconds: float | None
    meta: dict[str, Json]
    input: Json

    @property
    def is_fresh(self) -> bool:
        """Whether nothing can be stored for it beyond its first event."""
        return self.epoch == 1 and self.inbox == 0 and "migrated" not in self.meta


@dataclass(frozen=True, slots=True)
class Taken:
    """What a takeover came to: executions that are the caller's now, and those that are nobody's.

    `suspects` wait for a worker that runs them alone; `dead` ones ended as dead letters.
    """

    owned: tuple[OwnedExecution, ...] = ()
    suspects: tuple[UUID, ...] = ()
    dead: tuple[UUID, ...] = ()

    @property
    def total(self) -> int:
        """How many executions were taken from the dead; 0: there are no more."""
        return len(self.owned) + len(self.suspects) + len(self.dead)


@dataclass(frozen=True, slots=True)
class ExecutionHistory:
    """What is stored for an execution: enough to rebuild its state.

    `marks` are its events of the kinds that replay reads, in order; `size` is about how many bytes its
    rows have.
    """

    steps: tuple[StepRecord, ...] = ()
    last_sequence: int = 1
    messages: tuple[InboxMessage, ...] = ()
    marks: tuple[Mark, ...] = ()
    size: int = 0

    @property
    def retries(self) -> tuple[Json, ...]:
        """What each retry and rewind said, in order: the n-th began generation n."""
        return tuple(m.data for m in self.marks if m.kind in BEGINS_AGAIN)

    @property
    def is_begun(self) -> bool:
        """Whether a worker has started the present generation."""
        return EventKind.EXECUTION_STARTED in {m.kind for m in since_retry(self.marks)}


def since_retry(marks: Sequence[Mark]) -> Sequence[Mark]:
    """The marks of the present generation."""
    for place in range(len(marks), 0, -1):
        if marks[place - 1].kind in BEGINS_AGAIN:
            return marks[place:]
    return marks


@dataclass(frozen=True, slots=True)
class BeatAnswer:
    """What a heartbeat learns. Not `live`: this incarnation is dead and must drop everything.

    `next_due_seconds` until the next parked execution is due; None when none is parked for a time that is to come.
    """

    live: bool
    dead_workers: int = 0
    due: int = 0
    queued: int = 0
    inbox: tuple[UUID, ...] = ()
    lent: int = 0
    next_due_seconds: float | None = field(default=None, compare=False)
