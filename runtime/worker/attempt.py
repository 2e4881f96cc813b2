"""Attempt: one call of one step. Renders its input right before the call, and puts its end into words.

Secrets appear between `begin` and the connector, nowhere else: digests are over the masked input, and
whatever comes back has gone through the mask.
"""

from __future__ import annotations

import hashlib
import threading
from asyncio import Task, TimerHandle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from opentelemetry.trace import Span

from runtime.abi.connector import StepContext
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.invoke import effect_of, target_of
from runtime.connectors.threads import was_not_begun
from runtime.engine.command import RunStep
from runtime.engine.event import NO_FACTS, STOPPED_TAIL, Facts, StepError, StepFailed, StepSucceeded
from runtime.engine.fan import Place, place_of
from runtime.engine.program import written_as
from runtime.engine.retry import idempotency_key
from runtime.engine.scope import MASKED, Resolve, nothing_loaded, scope_of
from runtime.engine.state import ExecutionState
from runtime.expression import ExpressionError
from runtime.model import errors
from runtime.model.blob import BlobRef
from runtime.model.checkpoint import OwnedExecution
from runtime.model.plan import Effect, Plan
from runtime.model.values import Json, Money
from runtime.worker.encode import (
    Encoded,
    clean,
    copied,
    digest,
    error_of,
    stopped,
    text_of,
)
from runtime.worker.outputs import Keep
from runtime.worker.prepared import PreparedStep

_CHARGING: Final = threading.Lock()
# Another form of keys is another number: what was kept under the old one is not found.
_CACHE_FORM: Final = 2


@dataclass(slots=True)
class Attempt:
    """An attempt under way. `context` is made when the call is about to begin; `room` is that of its large values.

    `is_made`: its connector was called, or is about to be with nothing in between. `is_recorded`: its run has its end.
    """

    step: int
    item: int
    number: int
    prepared: PreparedStep
    rendered: Json
    input_digest: str
    effect: Effect
    cancel: CancelSignal
    started_at: float
    context: StepContext | None = None
    task: Task[None] | None = None
    span: Span | None = None
    trace: Mapping[str, str] | None = None
    stop_timer: TimerHandle | None = None
    stop_reason: str | None = None
    is_made: bool = False
    is_recorded: bool = False
    is_over: bool = False
    target: str | None = None
    cost: Money | None = None
    room: Keep | None = None
    cache_key: bytes | None = None

    @property
    def place(self) -> Place:
        """The key of its step, or of its item."""
        return place_of(self.step, self.item)

    @property
    def subject(self) -> str:
        """What messages call its output."""
        plan = self.prepared.program.plan
        if plan.stands_for is not None:
            return written_as(plan)
        which = "" if self.item < 0 else f"item {self.item} of "
        return f"The output of {which}step {plan.key!r}"

    def succeeded(self, output: Encoded, now: float, ref: BlobRef | None = None) -> StepSucceeded:
        """The attempt returned; with `ref`, its output lies outside the row."""
        age = now - self.started_at
        self.prepared.completed.inc()
        self.prepared.seconds.observe(age)
        tail = f',"out":"{output.digest}"{self.known()}'
        text = output.raw.decode() if ref is None else text_of(ref.as_json())
        value = output.value if ref is None else ref
        facts = Facts(age, text, tail, self._paid)
        return StepSucceeded(self.step, self.number, value, facts, self.item)

    def reused(self, output: Encoded, source: dict[str, Json], now: float) -> StepSucceeded:
        """No call was made: an earlier one with the same input gave this, recorded where `source` says."""
        age = now - self.started_at
        self.prepared.completed.inc()
        more: dict[str, Json] = {"cached_from": source}
        tail = f',"out":"{output.digest}"{self.known()},{text_of(more)[1:-1]}'
        facts = Facts(age, output.raw.decode(), tail, None, more)
        return StepSucceeded(self.step, self.number, output.value, facts, self.item)

    def failed(self, failed: errors.StepFailed, now: float) -> StepFailed:
        """The attempt raised. Its stack stands in its row alone: no event, expression or handler has it."""
        stack = "" if failed.stack is None else f',"stack":{text_of(failed.stack)}'
        return self._failure(error_of(failed), now, stack)

    def cut(self, now: float, cut: BaseException | None = None) -> StepFailed:
        """The attempt was stopped from outside; `cut` tells whether its call had begun."""
        error = stopped(self.stop_reason or "this worker stops")
        if was_not_begun(cut):
            error = replace(error, uncertain=False)
        return self._failure(error, now, STOPPED_TAIL)

    def broken(self, error: StepError, now: float) -> StepFailed:
        """Something between the worker and the connector broke."""
        return self._failure(error, now)

    def _failure(self, error: StepError, now: float, more: str = "") -> StepFailed:
        facts = Facts(now - self.started_at, "null", self.known() + more, self._paid)
        return StepFailed(self.step, self.number, error, self.effect, facts, self.item)

    def charge(self, cost: Money | str) -> None:
        """What the step says that the attempt cost, so far; from whatever thread. After its end nobody listens."""
        one = Money.parse(cost) if isinstance(cost, str) else cost
        with _CHARGING:
            self.cost = one if self.cost is None else self.cost + one

    def known(self) -> str:
        """What its row says of it, however it ends: digests of input and code, cost, who made it."""
        cost = "" if self.cost is None else f',"cost":"{self.cost}"'
        return f',"in":"{self.input_digest}"{cost}{self.prepared.tail}'

    @property
    def _paid(self) -> str | None:
        return None if self.cost is None else str(self.cost)


def not_made(action: RunStep | Attempt, error: StepError, facts: Facts = NO_FACTS) -> StepFailed:
    """The end of an attempt that made no call."""
    number = action.number if isinstance(action, Attempt) else action.attempt
    return StepFailed(action.step, number, error, Effect.PURE, facts, action.item)


def begin(
    command: RunStep,
    prepared: PreparedStep,
    state: ExecutionState,
    *,
    secrets: Mapping[str, str],
    mask: Callable[[Any], Any],
    cancel: CancelSignal,
    now: float,
    resolve: Resolve = nothing_loaded,
    names: Mapping[str, Json] | None = None,
) -> Attempt:
    """Render the input and find out what a second call would do; `names` are those that only an item has.

    Raises StepFailed, and NotLoaded when a large value is needed that `resolve` does not have.
    """
    step, connector = prepared.program, prepared.connector
    if connector is None:
        raise errors.StepFailed(
            f"This worker has no connector {prepared.connector_name!r}; install the package that "
            "brings it where the worker runs, then retry the execution.",
            type="connector.missing",
        )
    rendered, input_digest = _render(prepared, state, secrets, mask, resolve, names)
    cache_key = None
    if step.plan.cache is not None:
        cache_key = _cache_key(prepared, state, input_digest, mask, resolve)
    return Attempt(
        step=command.step,
        item=command.item,
        number=command.attempt,
        prepared=prepared,
        rendered=rendered,
        input_digest=input_digest,
        effect=step.plan.effect or connector.effect_class or effect_of(connector, rendered, mask),
        cancel=cancel,
        started_at=now,
        target=target_of(connector, rendered, mask),
        cache_key=cache_key,
    )


def _cache_key(
    prepared: PreparedStep,
    state: ExecutionState,
    input_digest: str,
    mask: Callable[[Any], Any],
    resolve: Resolve,
) -> bytes | None:
    """What an output of this call is found by; None when nobody can say which code gives it. Raises as `begin` does.

    A written key is that of its step alone, as long as `with` is written the same; without one all steps of a tenant
    with this input are the same. What the connector may decide by beside its input is part of both: for whom and why.
    """
    step, said = prepared.program, orjson.loads("{" + prepared.tail[1:] + "}")
    if "code_digest" not in said:
        return None
    run, policy = state.run, state.program.plan.policy
    why: list[Json] = [policy.purpose, policy.authority, policy.license, policy.region]
    whose: list[Json] = [run.namespace, run.purpose, *why]
    parts: list[Json] = [_CACHE_FORM, said["code"], said["code_digest"], whose]
    if step.cache_key is None:
        parts.append(input_digest)
    else:
        try:
            rendered = step.cache_key.render(scope_of(state, None, resolve, step=step.plan.index))
            written = digest(step.config.source)
            parts += ["key", state.program.plan.name, step.plan.key, written, digest(rendered)]
        except (ExpressionError, TypeError) as problem:
            words = problem.message if isinstance(problem, ExpressionError) else str(problem)
            raise errors.StepFailed(
                clean(mask(f"`cache.key` of step {step.plan.key!r}: {words}")), type="expression"
            ) from None
    return hashlib.sha256(orjson.dumps(parts)).digest()


def _render(
    prepared: PreparedStep,
    state: ExecutionState,
    secrets: Mapping[str, str],
    mask: Callable[[Any], Any],
    resolve: Resolve,
    names: Mapping[str, Json] | None,
) -> tuple[Json, str]:
    """The input with its secrets, and the digest of the one that people see.

    What the connector gets is its own: it may change it, and neither plan nor state change with it.
    """
    if prepared.constant is not None:
        raw, constant_digest = prepared.constant
        return orjson.loads(raw), constant_digest
    step = prepared.program
    try:
        scope = scope_of(state, secrets, resolve, step=step.plan.index)
        if names is not None:
            scope.update(names)
        rendered, input_digest = copied(step.config.render(scope))
        if step.uses_secrets:
            scope["secrets"] = MASKED
            input_digest = digest(step.config.render(scope))
    except ExpressionError as problem:
        raise errors.StepFailed(
            clean(mask(f"{written_as(step.plan)}: {problem.message}")), type="expression"
        ) from None
    except TypeError as problem:
        raise errors.StepFailed(
            f"{written_as(step.plan)} can't be written as JSON: {problem}.",
            type="expression",
        ) from None
    return rendered, input_digest


def context_of(
    attempt: Attempt,
    owned: OwnedExecution,
    plan: Plan,
    *,
    log: Any,
    services: Mapping[str, Any],
    mask: Callable[[Any], Any],
    trace: Mapping[str, str],
) -> StepContext:
    """What the connector is told."""
    meta = owned.meta
    purpose = meta.get("purpose")
    return StepContext(
        execution_id=owned.id,
        tenant_id=owned.tenant_id,
        tenant=str(meta.get("tenant", "")),
        namespace=owned.namespace,
        workflow=plan.name,
        step_key=attempt.prepared.program.plan.key,
        step=attempt.step,
        item=attempt.item,
        generation=owned.generation,
        attempt=attempt.number,
        idempotency_key=idempotency_key(owned.id, attempt.step, attempt.item, owned.generation),
        timeout_seconds=attempt.prepared.timeout_seconds,
        log=log,
        cancel=attempt.cancel,
        heartbeat=log.heartbeat,
        charge=attempt.charge,
        policy=plan.policy,
        purpose=purpose if isinstance(purpose, str) else None,
        trace_headers=trace,
        services=services,
        mask=mask,
    )
