"""The connector socket: what a class must have so that a step can say `uses: name@major`.

A connector is a class with `name`, `version`, `Input`, `Output` (pydantic models), an effect class
and an async `execute(context, input)`. One object per process serves all steps. `effect` may depend
on the input (an HTTP GET is pure, a POST is not), therefore it is a method. A connector that
answers at once and never awaits (core.noop) may set `inline = True`: the worker then calls
`answer(context, input)` without a task. One that can find out whether a call was made has a `look_up`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from pydantic import BaseModel

from runtime.model.plan import NO_POLICY, Effect, PolicyContext
from runtime.model.values import Duration, Money


class StepLog(Protocol):
    """Where a step logs: stored per attempt, shown in the graph and by `mc executions logs`."""

    def debug(self, message: str, **fields: object) -> None:
        """Log for developers."""

    def info(self, message: str, **fields: object) -> None:
        """Log for operators."""

    def warning(self, message: str, **fields: object) -> None:
        """Log what is odd but handled."""

    def error(self, message: str, **fields: object) -> None:
        """Log what went wrong."""


class CancelToken(Protocol):
    """Tells a step to stop: cancelled, timed out, or this worker drains or was fenced off."""

    @property
    def is_cancelled(self) -> bool:
        """Whether to stop now."""

    @property
    def reason(self) -> str | None:
        """Why, in words."""

    def raise_if_cancelled(self) -> None:
        """Raise StepFailed(kind=CANCELLED) when the step should stop."""

    async def wait(self) -> None:
        """Return when the step should stop."""

    def wait_for(self, seconds: float) -> bool:
        """Block this thread for at most so long; whether to stop now. For synchronous steps."""


@dataclass(frozen=True, slots=True)
class NotMade:
    """A look-up's answer: the call was certainly not made, and is not under way any more."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A look-up's answer: it can't tell."""


def for_nothing(cost: Money | str) -> None:
    """Where nobody counts what steps cost."""


def as_is(value: Any) -> Any:
    """The mask of a step that has no secrets."""
    return value


# Not frozen: it is made for one attempt and seen by nobody else, and writing its fields would take three times as long.
@dataclass(slots=True)
class StepContext:
    """What a step is told about itself.

    `idempotency_key` is equal over attempts and workers, new per generation. `mask` replaces every
    secret in a text or JSON value; `services` holds what one process shares among its steps (`http`,
    `threads`). `charge("0.0125 EUR")` says what the attempt cost, also when it fails afterwards.
    """

    execution_id: UUID
    tenant_id: UUID
    tenant: str
    namespace: str
    workflow: str
    step_key: str
    step: int
    item: int
    generation: int
    attempt: int
    idempotency_key: str
    timeout_seconds: float | None
    log: StepLog
    cancel: CancelToken
    heartbeat: Heartbeat
    policy: PolicyContext = NO_POLICY
    purpose: str | None = None
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)
    mask: Callable[[Any], Any] = as_is
    charge: Charge = for_nothing


class Charge(Protocol):
    """Called by steps that cost money: amounts of one attempt add up, in one currency. Thread-safe."""

    def __call__(self, cost: Money | str) -> None:
        """Tell what it cost: a Money, or text like `0.0125 EUR`; raises ValueError for anything else."""


class Heartbeat(Protocol):
    """Called by long steps: `heartbeat({"done": 10})` shows progress and proves life."""

    def __call__(self, progress: object = None) -> None:
        """Tell that the step lives, and how far it is. Thread-safe."""


@runtime_checkable
class Connector(Protocol):
    """The class contract. Instances come from the registry; who inherits gets the defaults.

    `effect_class` is what `effect` always answers, or None when that depends on the input.
    `default_timeout` bounds an attempt when the workflow's step names no timeout.
    """

    name: str
    version: str
    summary: str
    Input: type[BaseModel]
    Output: type[BaseModel]
    effect_class: Effect | None
    inline: bool = False
    default_timeout: Duration | None = None

    def effect(self, input: Any) -> Effect:  # noqa: ARG002 - others look at it
        """What a second call would do."""
        return self.effect_class or Effect.AT_MOST_ONCE

    async def execute(self, context: StepContext, input: Any) -> Any:
        """Do it; return an Output (or what validates as one); raise StepFailed."""


@runtime_checkable
class LookUpConnector(Connector, Protocol):
    """A connector that can find out whether a call was made: asked when an at-most-once call is in doubt."""

    async def look_up(self, context: StepContext, input: Any) -> Any:
        """The Output of the call that was made, NotMade(), or Unknown(); changes nothing.

        `context` and `input` are those of the call; its `idempotency_key` is the one that was sent.
        """


@runtime_checkable
class TargetedConnector(Connector, Protocol):
    """A connector that names the system it calls: what keeps failing is not called for a while."""

    def target(self, input: Any) -> str | None:
        """The system that a call with this input goes to, in words that hold no secret; None: nobody's."""


@runtime_checkable
class InlineConnector(Connector, Protocol):
    """A connector that answers at once: the worker needs no task, no await, no timeout for it."""

    inline: bool = True

    def answer(self, context: StepContext, input: Any) -> Any:
        """Do it at once; the same promises as `execute`."""

    async def execute(self, context: StepContext, input: Any) -> Any:
        """The same, for who awaits."""
        return self.answer(context, input)


@runtime_checkable
class OpenConnector(Connector, Protocol):
    """A connector that holds something for the life of the process."""

    async def open(self) -> None:
        """Called once, before the first step."""

    async def close(self) -> None:
        """Called once, after the last step."""
