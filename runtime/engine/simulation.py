"""What a simulation is told and what it tells: records without behaviour, for `simulate` and those who show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from runtime.engine.event import StepError
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus
from runtime.model.plan import Effect, StepKind, StepPlan
from runtime.model.values import Duration, Json, Money

HUMAN: Final = frozenset((StepKind.HUMAN_APPROVAL, StepKind.HUMAN_TASK))


class Source(StrEnum):
    """Where the output of a step comes from in a simulation."""

    MOCK = "mock"
    PAST = "past"
    COMPUTED = "computed"
    EXAMPLE = "example"
    SCHEMA = "schema"
    NOTHING = "nothing"


class Answer(NamedTuple):
    """What an attempt comes to: an output or an error, and after how long; None when nobody knows."""

    output: Json = None
    error: StepError | None = None
    source: Source = Source.NOTHING
    seconds: float | None = None
    cost: Money | None = None
    effect: Effect = Effect.PURE


# What a step would answer: its plan, its rendered input (secrets are masked), the numbers of attempt and item (or -1).
Respond: TypeAlias = Callable[[StepPlan, Json, int, int], Answer]


@dataclass(frozen=True, slots=True)
class Failing:
    """A failure that is asked for: so many first attempts fail, or (None) all."""

    attempts: int | None = None
    kind: StepErrorKind = StepErrorKind.TRANSIENT

    def hits(self, attempt: int) -> bool:
        """Whether this attempt fails."""
        return self.attempts is None or attempt <= self.attempts


@dataclass(frozen=True, slots=True)
class PastStep:
    """What a step came to in an execution that there was."""

    output: Json
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Script:
    """What is given for a simulation, by the ids of steps."""

    mocks: Mapping[str, Json] = field(default_factory=dict)
    past: Mapping[str, PastStep] = field(default_factory=dict)
    fails: Mapping[str, Failing] = field(default_factory=dict)
    durations: Mapping[str, Duration] = field(default_factory=dict)
    costs: Mapping[str, Money] = field(default_factory=dict)

    def names(self) -> frozenset[str]:
        """All steps that are named; those of a past execution may have gone since."""
        return frozenset((*self.mocks, *self.fails, *self.durations, *self.costs))


@dataclass(frozen=True, slots=True)
class Read:
    """A name that a condition read, and its value; `is_cut` when that is too long to be shown."""

    path: str
    value: Json
    is_cut: bool = False


@dataclass(slots=True)
class SimulatedStep:
    """What became of one step; times are milliseconds since the execution began.

    Of a map `items` is how many it goes over, `failed_items` how many of them failed for good; the input is that of the
    first one, and `attempts` are the most that one of them took. What undoes steps stands behind them, if it was begun.
    """

    key: str
    type: str
    status: StepStatus = StepStatus.PENDING
    order: int = 0
    reason: str | None = None
    condition: str | None = None
    reads: tuple[Read, ...] = ()
    attempts: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    rendered_input: Json = None
    output: Json = None
    source: Source | None = None
    error: StepError | None = None
    is_cut: bool = False
    items: int | None = None
    failed_items: int = 0

    @property
    def is_taken(self) -> bool:
        """Whether it was begun."""
        return self.started_ms is not None


@dataclass(frozen=True, slots=True)
class SimulatedTimer:
    """A wait as it would stand there: for a signal, until an instant, or both; None: for ever."""

    step: str
    set_ms: int
    signal: str | None
    due: datetime | None


@dataclass(frozen=True, slots=True)
class SimulatedTask:
    """A human task as it would stand in lists; `fields` are its title, message, people, as rendered."""

    step: str
    created_ms: int
    fields: Json
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that the execution would record."""

    at_ms: int
    kind: EventKind
    step: str | None
    data: Json


@dataclass(frozen=True, slots=True)
class Simulation:
    """How an execution would go. WAITING: nothing more happens until somebody acts.

    `unknown_durations` are the steps whose time nobody knows, counted as nothing; `costs` are what
    is known, by currency; `stopped` says why the simulation was broken off.
    """

    status: ExecutionStatus
    steps: tuple[SimulatedStep, ...]
    output: Json = None
    error: ExecutionError | None = None
    duration_ms: int = 0
    costs: tuple[Money, ...] = ()
    unknown_durations: tuple[str, ...] = ()
    timers: tuple[SimulatedTimer, ...] = ()
    tasks: tuple[SimulatedTask, ...] = ()
    events: tuple[Happening, ...] = ()
    stopped: str | None = None
