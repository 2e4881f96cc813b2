"""What can happen to an execution, as advance() is told: a closed union, matched with assert_never.

The worker makes these from outcomes of steps, timers and messages. Facts ride along untouched: they are
what the row of an attempt shows (its age, its encoded output, digests), and decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from runtime.model.blob import BlobRef, Stored
from runtime.model.errors import StepErrorKind
from runtime.model.execution import ExecutionError, ExecutionStatus, Verdict
from runtime.model.plan import Effect
from runtime.model.values import Json


class Facts(NamedTuple):
    """What the row of an attempt says beside the decision.

    `output` is the output as JSON text; `tail` are further members of the row's result as JSON
    text, beginning with a comma, or nothing. `cost` is what the attempt cost, `more` where an output was given
    before: the tail says it too, this is for the event of its end.
    """

    age_seconds: float = 0.0
    output: str = "null"
    tail: str = ""
    cost: str | None = None
    more: dict[str, Json] | None = None


NO_FACTS: Final = Facts()
# The age of what was no attempt but a wait: the worker knows when it began.
WAITED: Final = -1.0
# An attempt that made no call as far as the engine is concerned: it runs again and is not counted.
STOPPED_TAIL: Final = ',"stopped":true'
STOPPED: Final = Facts(tail=STOPPED_TAIL)


@dataclass(frozen=True, slots=True)
class StepError:
    """Why an attempt failed: class, sentence, what it says about trying again."""

    type: str
    message: str
    kind: StepErrorKind = StepErrorKind.PERMANENT
    retry_after: float | None = None
    details: Json = None
    uncertain: bool | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether trying again could help."""
        return self.kind in _RETRYABLE

    @property
    def is_uncertain(self) -> bool:
        """Whether the call may have reached the other side although it failed."""
        return self.kind in _CUT if self.uncertain is None else self.uncertain

    def as_json(self) -> dict[str, Json]:
        """The form in rows, events and expressions."""
        out: dict[str, Json] = {
            "type": self.type,
            "message": self.message,
            "retryable": self.is_retryable,
            "kind": self.kind.value,
        }
        if self.retry_after is not None:
            out["retry_after"] = self.retry_after
        if self.details is not None:
            out["details"] = self.details
        if self.uncertain is not None:
            out["uncertain"] = self.uncertain
        return out

    @classmethod
    def of_json(cls, value: Json) -> StepError:
        """Read back what `as_json` wrote; tolerant, because rows outlive releases."""
        data = value if isinstance(value, dict) else {}
        known = {kind.value for kind in StepErrorKind}
        kind, retry_after = data.get("kind"), data.get("retry_after")
        uncertain = data.get("uncertain")
        return cls(
            type=str(data.get("type", "unknown")),
            message=str(data.get("message", "")),
            kind=StepErrorKind(kind) if kind in known else StepErrorKind.PERMANENT,
            retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
            details=data.get("details"),
            uncertain=uncertain if isinstance(uncertain, bool) else None,
        )

    def of_execution(self, step_key: str | None) -> ExecutionError:
        """The same as the error of a whole execution."""
        return ExecutionError(self.type, self.message, self.is_retryable, step_key, self.details)


_RETRYABLE = frozenset({StepErrorKind.TRANSIENT, StepErrorKind.THROTTLED, StepErrorKind.TIMEOUT})
_CUT = frozenset({StepErrorKind.TIMEOUT, StepErrorKind.CANCELLED})


@dataclass(frozen=True, slots=True)
class Started:
    """A worker owns the execution for the first time in this generation."""

    worker: str


class StepSucceeded(NamedTuple):
    """An attempt ended well."""

    step: int
    attempt: int
    output: Stored
    facts: Facts = NO_FACTS
    item: int = -1


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt ended badly; `effect` is what a second call would do to the outside."""

    step: int
    attempt: int
    error: StepError
    effect: Effect = Effect.PURE
    facts: Facts = NO_FACTS
    item: int = -1


@dataclass(frozen=True, slots=True)
class StepInDoubt:
    """An at-most-once call was begun by an owner that is gone; nobody knows whether it was made."""

    step: int
    attempt: int
    item: int = -1


@dataclass(frozen=True, slots=True)
class DoubtJudged:
    """The connector has looked a call up, or a person has decided about it (`actor` is set)."""

    step: int
    attempt: int
    verdict: Verdict
    output: Stored = None
    facts: Facts = NO_FACTS
    actor: Json = None
    reason: str | None = None
    item: int = -1

    @property
    def by(self) -> str:
        """Who says so."""
        return "look_up" if self.actor is None else "person"


@dataclass(frozen=True, slots=True)
class StepDeferred:
    """The attempt was not made: `error` says what stands in its way, and for how long."""

    step: int
    attempt: int
    error: StepError
    item: int = -1


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The delay before the next attempt of a step is over."""

    step: int
    attempt: int
    item: int = -1


class Signal(NamedTuple):
    """A signal; `n` is the number of its message, unique within the execution."""

    n: int
    name: str
    payload: Json
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The time of a wait step has come; `output` is what its config says, unless `error` says why not."""

    step: int
    attempt: int
    output: Stored = None
    facts: Facts = NO_FACTS
    error: StepError | None = None
    item: int = -1


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """Somebody sent a signal."""

    signal: Signal
    actor: Json = None


@dataclass(frozen=True, slots=True)
class BlobLoaded:
    """A large value that the core asked for is at hand; or (`problem`) it will never be, in one sentence."""

    ref: BlobRef
    value: Json = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ItemsJoined:
    """The outcomes of all items of a map are its output now; or (`error`) can't be."""

    step: int
    attempt: int
    output: Stored = None
    facts: Facts = NO_FACTS
    error: StepError | None = None


class Child(NamedTuple):
    """The execution that a step starts: its id, and the version of the workflow that it runs from then on."""

    id: UUID
    workflow: str
    version: str

    def as_json(self) -> dict[str, Json]:
        """As CHILD_STARTED tells of it."""
        return {"child": str(self.id), "workflow": self.workflow, "version": self.version}


@dataclass(frozen=True, slots=True)
class ChildFound:
    """A version fits, and takes the input: the attempt of a step that starts a child has done its part."""

    step: int
    attempt: int
    child: Child


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child has ended, with an output or (`error`) badly."""

    child: UUID
    status: ExecutionStatus
    output: Stored = None
    error: StepError | None = None
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class HumanTaskEnded:
    """A task has been answered, or (`error`) nobody has in time, or it was cancelled by itself.

    `said` is what the event of the step's end tells beside the task: the outcome, and by whom. `step` is the one that
    has asked, where it is known: it need not be looked for then.
    """

    task: UUID
    output: Stored = None
    error: StepError | None = None
    said: dict[str, Json] = field(default_factory=dict)
    facts: Facts = NO_FACTS
    step: int | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody asked to start nothing more until it is resumed."""

    actor: Json
    reason: str | None


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody asked to go on."""

    actor: Json
    reason: str | None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked to stop the execution; to undo, too, what it has done (`compensate`)."""

    actor: Json
    reason: str | None
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time allowed for the whole execution is over."""


Event: TypeAlias = (
    Started
    | StepSucceeded
    | StepFailed
    | StepInDoubt
    | DoubtJudged
    | StepDeferred
    | RetryDue
    | TimerDue
    | SignalReceived
    | PauseRequested
    | ResumeRequested
    | BlobLoaded
    | ItemsJoined
    | ChildFound
    | ChildEnded
    | HumanTaskEnded
    | CancelRequested
    | DeadlineReached
)
