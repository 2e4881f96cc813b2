"""Blocker: the one cause for which a step is not running, since when, and what would free it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from runtime.model.identity import Actor
from runtime.model.values import Json

MOST_STEPS: Final = 20
MOST_BEFORE: Final = 1_000


class BlockCause(StrEnum):
    """Why a step is not running: a closed list, in the order in which the causes are asked for.

    A step's own causes come before those of its execution: it is not the queue that holds up what waits for a timer.
    """

    ENDED = "ended"
    IN_DOUBT = "in_doubt"
    STOPPING = "stopping"
    DEPENDENCY = "dependency"
    TIMER = "timer"
    SIGNAL = "signal"
    CHILD = "child"
    PERSON = "person"
    BREAKER = "breaker"
    RETRY = "retry"
    PAUSED = "paused"
    PARALLELISM = "parallelism"
    SCHEDULED = "scheduled"
    CONCURRENCY = "concurrency"
    RUNNING_LIMIT = "running_limit"
    QUARANTINE = "quarantine"
    WORKER_TAGS = "worker_tags"
    WORKER = "worker"
    QUEUE = "queue"
    STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One cause: `since` when it holds, `until` when it ends by itself (None: it does not).

    `summary` says what is waited for and `frees` what would end that, each in a sentence. The rest are facts of some
    causes: the `steps` that are waited for (the first MOST_STEPS), the `signal`, the `attempt` that comes next, the
    `target` of a circuit breaker, who (`actor`) said so and for which `reason`, the `worker` that has it or had it, its
    place in the tenant's queue (`position`, from 1; None beyond MOST_BEFORE), the `tags` that a worker must have, the
    `concurrency_key` that it shares with its `holders`, who have the places (the first MOST_STEPS); how many may be at
    once (`limit`), and how many run (`running`); the `task` that is to be answered, by one of its `assignees` or by a
    member of one of its `candidate_groups` (the first MOST_STEPS of each; both empty: by whoever may answer tasks).
    """

    cause: BlockCause
    step_key: str
    since: datetime
    summary: str
    frees: str
    until: datetime | None = None
    steps: tuple[str, ...] = ()
    signal: str | None = None
    attempt: int | None = None
    target: str | None = None
    actor: Actor | None = None
    reason: str | None = None
    worker: str | None = None
    position: int | None = None
    tags: tuple[str, ...] = ()
    concurrency_key: str | None = None
    holders: tuple[UUID, ...] = ()
    limit: int | None = None
    running: int | None = None
    task: UUID | None = None
    assignees: tuple[str, ...] = ()
    candidate_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunningLimit:
    """A limit on running executions that is reached: of the workflow, or of the tenant."""

    most: int
    running: int
    is_of_workflow: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """What an execution waits for in its lane: `holders` have the places (the first MOST_STEPS), `position` from 1."""

    key: str
    limit: int
    holders: tuple[UUID, ...]
    position: int | None


@dataclass(frozen=True, slots=True)
class WaitingItem:
    """The item of a map that goes on first, of `count` that wait: `until` its next attempt, or (None) for a word.

    `attempt` is the one that has ended, `since` when it did, or whose call is in doubt; `error` how it did.
    """

    item: int
    count: int
    attempt: int
    since: datetime
    until: datetime | None = None
    error: Json = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an execution stands among others at one moment, by the database's clock (`now`).

    `workers` serve its shard; `worker` is the owner's name, `is_lost` that its lease is over or it has left (`lost_at`,
    when that is known). `losses` are owners lost without a checkpoint. Of one that is queued, `position` is its place
    among the tenant's (from 1, None beyond MOST_BEFORE). `told_at` is when the oldest unread message came.
    `tags` are its owner's; of one that waits for tags, `fleet` those of each worker that lives.
    `lane` is set while it waits for a place in its lane, `limit` while it is queued and a limit on running is reached.
    `items` are those that its maps wait for when it is parked, by the number of the step.
    """

    now: datetime
    workers: int = 1
    worker: str | None = None
    is_lost: bool = False
    lost_at: datetime | None = None
    losses: int = 0
    position: int | None = None
    told_at: datetime | None = None
    tags: frozenset[str] | None = None
    fleet: tuple[frozenset[str], ...] = ()
    lane: Lane | None = None
    limit: RunningLimit | None = None
    items: Mapping[int, WaitingItem] = field(default_factory=dict)


def foremost(blockers: list[Blocker]) -> Blocker | None:
    """The cause that ends first, of several that hold up one execution; of equal ones that of the first step."""
    if not blockers:
        return None
    first_hand = [one for one in blockers if one.cause not in _FOLLOWING] or blockers
    timed = [one for one in first_hand if one.until is not None]
    return min(timed, key=_end) if timed else first_hand[0]


def _end(one: Blocker) -> datetime:
    return one.until or datetime.max.replace(tzinfo=one.since.tzinfo)


# They end when another step's cause does.
_FOLLOWING: Final = frozenset({BlockCause.DEPENDENCY, BlockCause.PARALLELISM})
