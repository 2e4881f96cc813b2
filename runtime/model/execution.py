"""Execution (one run) and StepExecution, their statuses, and the table of legal transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.blob import BlobRef, Stored
from runtime.model.blocker import Blocker, Standing
from runtime.model.identity import Actor
from runtime.model.values import Json, Money


class ExecutionStatus(IntEnum):
    """As stored in `workflow_executions.status`."""

    QUEUED = 0
    RUNNING = 1
    COMPLETED = 2
    WAITING = 3
    FAILED = 4
    CANCELLED = 5
    DEAD_LETTERED = 6
    TIMED_OUT = 7

    @property
    def is_terminal(self) -> bool:
        """Whether nothing happens any more without a person's decision."""
        return self in TERMINAL


TERMINAL: Final = frozenset(
    {
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELLED,
        ExecutionStatus.DEAD_LETTERED,
        ExecutionStatus.TIMED_OUT,
    }
)

TRANSITIONS: Final[dict[ExecutionStatus, frozenset[ExecutionStatus]]] = {
    ExecutionStatus.QUEUED: frozenset(
        {ExecutionStatus.RUNNING, ExecutionStatus.CANCELLED, ExecutionStatus.WAITING}
    ),
    ExecutionStatus.RUNNING: frozenset(
        {
            ExecutionStatus.QUEUED,
            ExecutionStatus.COMPLETED,
            ExecutionStatus.WAITING,
            ExecutionStatus.FAILED,
            ExecutionStatus.CANCELLED,
            ExecutionStatus.DEAD_LETTERED,
            ExecutionStatus.TIMED_OUT,
        }
    ),
    ExecutionStatus.WAITING: frozenset({ExecutionStatus.RUNNING, ExecutionStatus.QUEUED}),
    ExecutionStatus.COMPLETED: frozenset({ExecutionStatus.QUEUED}),
    ExecutionStatus.FAILED: frozenset({ExecutionStatus.QUEUED}),
    ExecutionStatus.CANCELLED: frozenset({ExecutionStatus.QUEUED}),
    ExecutionStatus.TIMED_OUT: frozenset({ExecutionStatus.QUEUED}),
    ExecutionStatus.DEAD_LETTERED: frozenset({ExecutionStatus.QUEUED}),
}


class WaitKind(IntEnum):
    """Why an execution is parked, as stored in `workflow_executions.wait`."""

    TIMER = 0
    HUMAN_TASK = 1
    SIGNAL = 2
    CHILD_EXECUTION = 3
    RETRY_BACKOFF = 4
    PAUSED = 5
    CONCURRENCY_LIMIT = 6
    POLICY = 7
    BUDGET = 8
    IN_DOUBT = 9
    WORKER_TAGS = 10


class ExecutionState(StrEnum):
    """The status as people see it: the stored one, refined by `wait`, `cancel_requested` and `compensating`."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    DEAD_LETTERED = "dead_lettered"


class StepStatus(IntEnum):
    """Statuses of a step.

    Stored are only outcomes and open effects (COMPLETED and above); the rest is derived.
    """

    PENDING = 0
    READY = 1
    RUNNING = 2
    WAITING = 3
    RETRYING = 4
    IN_DOUBT = 5
    COMPLETED = 6
    FAILED = 7
    SKIPPED = 8
    CANCELLED = 9
    TIMED_OUT = 10
    COMPENSATED = 11


_ENDED_BADLY: Final = frozenset(
    {StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.TIMED_OUT, StepStatus.IN_DOUBT}
)
STEP_TRANSITIONS: Final[dict[StepStatus, frozenset[StepStatus]]] = {
    StepStatus.PENDING: frozenset(
        {StepStatus.RUNNING, StepStatus.WAITING, StepStatus.SKIPPED, *_ENDED_BADLY}
    ),
    StepStatus.READY: frozenset(
        {StepStatus.RUNNING, StepStatus.WAITING, StepStatus.SKIPPED, *_ENDED_BADLY}
    ),
    # An owner that is lost leaves its attempts to be made again.
    StepStatus.RUNNING: frozenset(
        {
            StepStatus.PENDING,
            StepStatus.WAITING,
            StepStatus.RETRYING,
            StepStatus.COMPLETED,
            *_ENDED_BADLY,
        }
    ),
    # What waits for a child may have another one after it.
    StepStatus.WAITING: frozenset(
        {StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.COMPLETED, *_ENDED_BADLY}
    ),
    StepStatus.RETRYING: frozenset({StepStatus.RUNNING, StepStatus.WAITING, StepStatus.CANCELLED}),
    StepStatus.IN_DOUBT: frozenset(
        {StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.COMPLETED, *_ENDED_BADLY}
    ),
    StepStatus.COMPLETED: frozenset({StepStatus.COMPENSATED}),
    StepStatus.FAILED: frozenset(),
    StepStatus.SKIPPED: frozenset(),
    StepStatus.CANCELLED: frozenset(),
    StepStatus.TIMED_OUT: frozenset(),
    StepStatus.COMPENSATED: frozenset(),
}
"""Within one generation; a retry of the execution makes pending what has not ended well."""


class Verdict(StrEnum):
    """What is known of a call that was in doubt; FAIL is a word to give the step up."""

    MADE = "made"
    NOT_MADE = "not_made"
    UNKNOWN = "unknown"
    FAIL = "fail"


class DoubtDecision(StrEnum):
    """What a person says of a call in doubt: it was made, it was not, or the step is given up."""

    MADE = "made"
    NOT_MADE = "not_made"
    FAIL = "fail"


class TriggerKind(StrEnum):
    """What started an execution."""

    API = "api"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    PARENT = "parent"
    EVENT = "event"
    CLI = "cli"
    AGENT = "agent"


_STATES: Final = {status: ExecutionState(status.name.lower()) for status in ExecutionStatus}


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """Why an execution or a step failed: class, sentence, whether trying again could help.

    `stack` is of an attempt whose step's code was somebody's own, for who may see it.
    """

    type: str
    message: str
    retryable: bool = False
    step_key: str | None = None
    details: Json = None
    stack: str | None = None

    def as_json(self) -> dict[str, Json]:
        """As the row of an execution has it."""
        out: dict[str, Json] = {
            "type": self.type,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.step_key is not None:
            out["step_key"] = self.step_key
        if self.details is not None:
            out["details"] = self.details
        return out


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a WorkflowVersion, as read from the table; as it was `at` an event, when that is set."""

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version_id: UUID
    status: ExecutionStatus
    namespace: str
    generation: int
    priority: int
    created_at: datetime
    created_by: Actor
    trigger: TriggerKind
    wait: WaitKind | None = None
    cancel_requested: bool = False
    compensating: bool = False
    region: str | None = None
    purpose: str | None = None
    idempotency_key: str | None = None
    parent_id: UUID | None = None
    trace_id: str | None = None
    input: Stored = None
    output: Stored = None
    error: ExecutionError | None = None
    labels: dict[str, str] = field(default_factory=dict)
    wake_at: datetime | None = None
    deadline: datetime | None = None
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker_id: int | None = None
    version: str | None = None
    at: int | None = None

    @property
    def state(self) -> ExecutionState:
        """The status as people see it."""
        if self.compensating and not self.status.is_terminal:
            return ExecutionState.COMPENSATING
        if self.status is ExecutionStatus.WAITING and self.wait is WaitKind.PAUSED:
            return ExecutionState.PAUSED
        if self.cancel_requested and not self.status.is_terminal:
            return ExecutionState.CANCELLING
        return _STATES[self.status]

    @property
    def ended_at_the_first_go(self) -> bool:
        """Whether it completed without having been retried; what is shown as it was is not looked at so."""
        return self.status is ExecutionStatus.COMPLETED and self.generation == 0 and self.at is None


class StepAttempt(NamedTuple):
    """One attempt of a step: stored at its end."""

    attempt: int
    status: StepStatus
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: ExecutionError | None = None
    worker_id: str | None = None
    code: str | None = None
    code_hash: str | None = None
    cost: Money | None = None


class CachedFrom(NamedTuple):
    """The attempt that gave an output which a later one was given again, without a call: step, or item of a map."""

    execution_id: UUID
    step: str
    item: int | None = None

    @classmethod
    def of(cls, value: Json) -> CachedFrom | None:
        """As a row says it."""
        said = value if isinstance(value, dict) else {}
        item = said.get("item")
        if "execution" not in said:
            return None
        number = item if isinstance(item, int) else None
        return cls(UUID(str(said["execution"])), str(said.get("step", "")), number)


def no_input() -> tuple[Json, BlobRef | None]:
    """The input of a step that was not reached."""
    return None, None


def not_blocked(_standing: Standing) -> Blocker | None:
    """Of a step that waits for nothing any more."""
    return None


@dataclass(frozen=True, slots=True)
class StepExecution:
    """One step of one execution in its newest generation, derived from plan and rows.

    Its input is derived when it is looked at: a list of steps is mostly read without. So is why it is not running
    (`blocked`), from the same events as its status and from where its execution stands.
    `costs` are what all its attempts cost, those of earlier generations too: an amount for each currency; not what the
    items of a map cost. Of a map `items` is how many it goes over, once that is known. `child_id` is the execution that
    its newest attempt has started. `cached_from` says whose output it was given.
    `compensation` is what undoes it, from the moment at which that was decided.
    With `at` it is shown as it was when that event was the newest.
    """

    execution_id: UUID
    tenant_id: UUID
    index: int
    key: str
    type: str
    status: StepStatus
    attempt: int
    max_attempts: int
    item: int = -1
    generation: int = 0
    attempts: tuple[StepAttempt, ...] = ()
    derived: Callable[[], tuple[Json, BlobRef | None]] = field(
        default=no_input, compare=False, repr=False
    )
    blocked: Callable[[Standing], Blocker | None] = field(
        default=not_blocked, compare=False, repr=False
    )
    output: Stored = None
    error: ExecutionError | None = None
    skip_reason: str | None = None
    input_hash: str | None = None
    output_hash: str | None = None
    code: str | None = None
    code_hash: str | None = None
    costs: tuple[Money, ...] = ()
    worker_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    is_map: bool = False
    items: int | None = None
    child_id: UUID | None = None
    cached_from: CachedFrom | None = None
    compensation: StepExecution | None = None
    at: int | None = None

    @property
    def input(self) -> Json:
        """What it was called with, secrets masked; None when a large value is missing for it."""
        return self.derived()[0]

    @property
    def input_missing(self) -> BlobRef | None:
        """The first large value that its input is to be derived from."""
        return self.derived()[1]


def step_of(steps: Iterable[StepExecution], key: str) -> StepExecution | None:
    """The step of this key among these, and what undoes them."""
    return next((one for one in _all(steps) if one.key == key), None)


def step_at(steps: Iterable[StepExecution], index: int) -> StepExecution | None:
    """The step of this number among these, and what undoes them."""
    return next((one for one in _all(steps) if one.index == index), None)


def _all(steps: Iterable[StepExecution]) -> Iterator[StepExecution]:
    for step in steps:
        yield step
        if step.compensation is not None:
            yield step.compensation


@dataclass(frozen=True, slots=True)
class MapProgress:
    """How far a map is: of the items of its list (`total`) so many have completed, failed for good, are running."""

    total: int
    completed: int
    failed: int
    running: int


@dataclass(frozen=True, slots=True)
class EnqueueRequest:
    """What a caller asks for.

    The workflow is named by id or by name; without a version the current one is taken.
    """

    workflow_id: UUID | None = None
    workflow_name: str | None = None
    version: str | None = None
    input: Json = None
    idempotency_key: str | None = None
    priority: int | None = None
    run_at: datetime | None = None
    timeout_ms: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    region: str | None = None
    namespace: str = "default"
    trigger: TriggerKind = TriggerKind.API


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a person says: about which step (or which `item` of a map), what became of its call, why they think so."""

    step_key: str
    decision: DoubtDecision
    output: Json = None
    reason: str | None = None
    key: str | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The answer to one enqueue: durable when it is given.

    `created` is False when the key was known. The record is made when it is looked at: of a batch of a
    thousand, most callers want the count.
    """

    record: Callable[[], Execution]
    created: bool

    @property
    def execution(self) -> Execution:
        """The execution as it was accepted."""
        return self.record()


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions a list shows; empty fields do not restrict."""

    state: tuple[ExecutionState, ...] = ()
    workflow_id: tuple[UUID, ...] = ()
    workflow_name: tuple[str, ...] = ()
    version: str | None = None
    trigger: tuple[TriggerKind, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    namespace: tuple[str, ...] = ()
    idempotency_key: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    finished_from: datetime | None = None
    finished_to: datetime | None = None
    search: str | None = None


class ExecutionOrderField(StrEnum):
    """What a list of executions can be sorted by."""

    CREATED_AT = "created_at"
    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class ExecutionOrder:
    """Order of a list of executions; what has no value yet stands where the latest would."""

    field: ExecutionOrderField = ExecutionOrderField.CREATED_AT
    descending: bool = True


NEWEST: Final = ExecutionOrder()
