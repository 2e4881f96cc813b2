"""Plan: a published version compiled to integers.

Pure data: the engine walks it, the definition room makes it. Steps are numbered in document order;
`successors[i]` and `indegree[i]` are the graph. Templates stay as the JSON that was written (text
with `{{ }}` in them); the engine parses each once per plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from runtime.model.execution import StepStatus
from runtime.model.route import Routes
from runtime.model.values import Digest, Duration, Json, SemVer


class StepKind(StrEnum):
    """What a step is. Closed: the engine must know all."""

    TASK = "task"
    AGENT_TASK = "agent_task"
    HUMAN_APPROVAL = "human_approval"
    HUMAN_TASK = "human_task"
    GATEWAY = "gateway"
    MAP = "map"
    WAIT = "wait"
    WORKFLOW = "workflow"


class Effect(StrEnum):
    """What a second call of the same step would do to the outside."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    AT_MOST_ONCE = "at_most_once"


class InDoubt(StrEnum):
    """What becomes of an at-most-once call when nobody knows whether it was made, nor can look it up.

    RETRY makes it again, FAIL ends the step, ASK waits for a person's word.
    """

    RETRY = "retry"
    FAIL = "fail"
    ASK = "ask"


class Backoff(StrEnum):
    """How the delay between attempts grows."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Jitter(StrEnum):
    """Full: anything between nothing and the computed delay. None: the computed delay."""

    FULL = "full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is repeated, and after how long.

    `max_attempts` counts the first one.
    """

    max_attempts: int = 1
    backoff: Backoff = Backoff.EXPONENTIAL
    initial: Duration = Duration(1000)
    factor: float = 2.0
    max: Duration = Duration(60_000)
    jitter: Jitter = Jitter.FULL
    on: tuple[str, ...] = ()
    never_on: tuple[str, ...] = ()


NO_RETRY = RetryPolicy()

# A tag of a worker, as steps ask for it and workers are started with it.
TAG: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
MOST_TAG: Final = 63


@dataclass(frozen=True, slots=True)
class ConnectorRef:
    """`http.request@1`: a connector's name and the version asked for; absent parts accept any."""

    name: str
    major: int
    minor: int | None = None
    patch: int | None = None

    def __str__(self) -> str:
        tail = "".join(f".{part}" for part in (self.minor, self.patch) if part is not None)
        return f"{self.name}@{self.major}{tail}"


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """What a wait step waits for: `delay` is its `for`, or the timeout of its signal.

    Whether it `is_dated` (until an instant) or `has_default`, its config says what.
    """

    signal: str | None = None
    delay: Duration | None = None
    is_dated: bool = False
    has_default: bool = False


# The outcomes of a human step that names none.
DEFAULT_OUTCOMES: Final = ("approved", "rejected")
MAX_ITEMS: Final = 100_000
MAP_CONCURRENCY: Final = 100
# How many executions may lie above a child; a circle of workflows ends there if publishing did not find it.
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class MapPlan:
    """What a map goes over: `for_each` as written, at most `max_concurrency` of its items at once.

    When an item fails for good, the map fails with it; unless it `is_collecting`: then it goes on, and its output
    says of each item how it ended.
    """

    for_each: Json
    max_concurrency: int = MAP_CONCURRENCY
    is_collecting: bool = False


@dataclass(frozen=True, slots=True)
class HumanPlan:
    """What a human step asks of people, beside what its config says once that is rendered.

    `quorum` of those who may answer must agree; who started the execution and who approved earlier in it may not where
    duties are `separated`. `expires` (the step's `timeout`) counts from the task's beginning; then it is decided with
    `expiry_outcome`, or else the step fails. `due` and `warn` are its SLA, `form` is JSON Schema.
    """

    outcomes: tuple[str, ...] = DEFAULT_OUTCOMES
    quorum: int = 1
    separated: bool = False
    delegable: bool = True
    priority: int = 0
    form: Json = None
    due: Duration | None = None
    warn: Duration | None = None
    expires: Duration | None = None
    expiry_outcome: str | None = None


@dataclass(frozen=True, slots=True)
class CachePlan:
    """For how long an output may be given again, and what makes two calls the same (their input, if None)."""

    ttl: Duration
    key: Json = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of a plan.

    `config` is the `with` block as written (of a wait step what it waits for, of a human step what it asks whom, of a
    `workflow` its `input`); `when` the condition's text or None. Of a map, all that is about calls is that of its
    task. `workflow` is the one that a step starts, with the range of its version. `compensation` is the number of what
    undoes it, `undoes` of what this one undoes; `fallback` of what gives its output when it has failed, `stands_for` of
    what this one gives it for. `runs_on` are the tags that a worker must have to run it, in order.
    """

    index: int
    key: str
    kind: StepKind
    depends_on: tuple[int, ...]
    uses: ConnectorRef | None = None
    name: str | None = None
    config: Json = None
    when: Json = None
    timeout: Duration | None = None
    retry: RetryPolicy = NO_RETRY
    effect: Effect | None = None
    wait: WaitPlan | None = None
    human: HumanPlan | None = None
    map: MapPlan | None = None
    workflow: str | None = None
    cache: CachePlan | None = None
    compensation: int | None = None
    undoes: int | None = None
    fallback: int | None = None
    stands_for: int | None = None
    in_doubt: InDoubt = InDoubt.FAIL
    runs_on: tuple[str, ...] = ()
    line: int | None = None
    canonical: Json = None


@dataclass(frozen=True, slots=True)
class ConcurrencyPlan:
    """At most `limit` executions with the same key run at once; `key` as written.

    `on_conflict` says what becomes of one more: it waits (`queue`), is refused (`reject`), or has the oldest cancelled
    (`cancel_oldest`).
    """

    key: Json
    limit: int
    on_conflict: str = "queue"


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """Why this workflow may touch what it touches; on its first event, log lines, spans."""

    purpose: str | None = None
    authority: str | None = None
    license: str | None = None
    region: str | None = None


NO_POLICY = PolicyContext()


@dataclass(frozen=True, slots=True)
class Plan:
    """A version ready to run. `digest` is the version's; equal digests mean equal plans.

    `routes` is None when its steps leave nothing to be chosen. `compensations` are what undoes steps, numbered on after
    them in the order of the document: no edge leads to one or from it. Behind those stand the `fallbacks`, which give
    the outputs of steps that have failed (ADR-104).
    """

    name: str
    digest: Digest
    steps: tuple[StepPlan, ...]
    successors: tuple[tuple[int, ...], ...]
    indegree: tuple[int, ...]
    version: SemVer | None = None
    outputs: Json = None
    params_schema: Json = None
    timeout: Duration | None = None
    max_parallel_steps: int | None = None
    priority: int = 0
    policy: PolicyContext = NO_POLICY
    concurrency: ConcurrencyPlan | None = None
    namespace: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    routes: Routes | None = None
    compensations: tuple[StepPlan, ...] = ()
    fallbacks: tuple[StepPlan, ...] = ()
    index_of: dict[str, int] = field(default_factory=dict)

    def number(self, key: str) -> int | None:
        """The number of a step, or of what stands behind the steps, by its key."""
        found = self.index_of.get(key)
        if found is not None:
            return found
        behind = self.compensations + self.fallbacks
        return next((one.index for one in behind if one.key == key), None)

    def one(self, index: int) -> StepPlan:
        """A step, or what stands behind the steps, by its number."""
        count, undoing = len(self.steps), len(self.compensations)
        if index < count:
            return self.steps[index]
        behind = index - count
        return self.compensations[behind] if behind < undoing else self.fallbacks[behind - undoing]

    def fallback_of(self, step: int, status: int) -> int | None:
        """What gives the output of a step that has failed with this status and was provided for; None: nothing does.

        A task that nobody answered in time leads to where its `on_expiry` says, and gives nothing.
        """
        fallback = self.steps[step].fallback
        if fallback is None or self.routes is None:
            return fallback
        is_late = status == StepStatus.TIMED_OUT and step in self.routes.expiries
        return None if is_late else fallback

    def with_fallbacks(self, steps: Iterable[int]) -> tuple[int, ...]:
        """These steps in order, and what gives the outputs of those of them that may fail."""
        found = sorted(steps)
        given = (self.steps[one].fallback for one in found)
        return (*found, *(one for one in given if one is not None))
