"""Runs a step or connector exactly as a worker does, without a server.

The input goes through the same schema, the call through the same path, and the output, errors and
log lines through the same mask. What is real in a worker is real here: threads for synchronous
steps, the HTTP session with its egress rule, the timeout, the cancel token.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from runtime.abi.connector import Connector, InlineConnector, OpenConnector, StepContext
from runtime.abi.fields import read_duration
from runtime.clock import SystemClock
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.invoke import answer_inline, invoke
from runtime.connectors.threads import SERVICE as THREADS
from runtime.connectors.threads import StepThreads
from runtime.expression import parse_template
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.values import Json, Money
from runtime.secrets.masker import Masker
from runtime.transport.egress import EgressRule
from runtime.transport.http import SERVICE as HTTP
from runtime.transport.http import HttpTransport

LOOPBACK = ("127.0.0.0/8", "::1/128")
_GRACE_SECONDS = 2.0
_EXECUTION = UUID("01980000-0000-7000-8000-000000000000")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a step logged."""

    level: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepResult:
    """How an attempt ended: with an output, or with an error."""

    output: Json
    error: StepFailed | None
    logs: tuple[LogLine, ...]
    heartbeats: tuple[object, ...]
    cost: Money | None = None

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.error is None

    def unwrap(self) -> Json:
        """The output; raises the error when there is one."""
        if self.error is not None:
            raise self.error
        return self.output


def run_step(step: Any, input: Any = None, **options: Any) -> StepResult:
    """Run one attempt of a `@step` function, a connector or a connector class.

    Takes the options of `run_step_async`; use that one inside a running event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_step_async(step, input, **options))
    raise RuntimeError("An event loop runs here already: write `await run_step_async(...)`.")


async def run_step_async(
    step: Any,
    input: Any = None,
    *,
    attempt: int = 1,
    secrets: Mapping[str, str] | None = None,
    timeout: str | float | None = None,
    cancel_after: float | None = None,
    idempotency_key: str = "test-key",
    egress_allow: Sequence[str] = LOOPBACK,
) -> StepResult:
    """Run one attempt.

    `input` may refer to `{{ secrets.NAME }}`. `cancel_after` trips the cancel token after so many
    seconds, as a cancelled execution does, and stops a step that ignores it a little later.
    """
    connector = _connector(step)
    masker = Masker((secrets or {}).values())
    logs: list[LogLine] = []
    heartbeats: list[object] = []
    costs = _Costs()
    async with _services(connector, egress_allow) as services:
        context = make_context(
            attempt=attempt,
            idempotency_key=idempotency_key,
            timeout_seconds=None if timeout is None else read_duration(timeout).seconds,
            log=_Log(logs, masker),
            heartbeat=lambda progress=None: heartbeats.append(masker.mask(progress)),
            mask=masker.mask,
            services=services,
            charge=costs.add,
        )
        rendered = parse_template(input).render({"secrets": dict(secrets or {})})
        output, error = None, None
        try:
            output = await _attempt(connector, context, rendered, cancel_after)
        except StepFailed as failure:
            error = failure
        await asyncio.sleep(0)  # What a thread said last is still on its way into this loop.
    return StepResult(output, error, tuple(logs), tuple(heartbeats), costs.total)


def make_context(**changes: Any) -> StepContext:
    """A StepContext with complete defaults, for calling an `execute` by hand."""
    defaults: dict[str, Any] = {
        "execution_id": _EXECUTION,
        "tenant_id": UUID(int=1),
        "tenant": "test",
        "namespace": "default",
        "workflow": "test",
        "step_key": "step",
        "step": 0,
        "item": -1,
        "generation": 0,
        "attempt": 1,
        "idempotency_key": "test-key",
        "timeout_seconds": None,
        "log": _Log([], Masker()),
        "cancel": CancelSignal(),
        "heartbeat": lambda progress=None: None,  # noqa: ARG005 - the socket's form
    }
    return StepContext(**(defaults | changes))


async def _attempt(
    connector: Connector, context: StepContext, rendered: Json, cancel_after: float | None
) -> Json:
    if connector.inline and isinstance(connector, InlineConnector):
        return answer_inline(connector, context, rendered)
    task = asyncio.create_task(invoke(connector, context, rendered))
    if cancel_after is not None:
        await asyncio.wait({task}, timeout=cancel_after)
        if not task.done():
            await _cancel(task, context.cancel)
    return await task


async def _cancel(task: asyncio.Task[Json], signal: Any) -> None:
    """Ask first, then insist; a step that had to be stopped by force has failed the test."""
    signal.cancel("cancelled by the test")
    done, _ = await asyncio.wait({task}, timeout=_GRACE_SECONDS)
    if done:
        return
    task.cancel()
    await asyncio.wait({task})
    if task.cancelled():
        raise StepFailed(
            f"The step went on for {_GRACE_SECONDS:g} s after it was told to stop: look at "
            "ctx.cancel more often.",
            kind=StepErrorKind.CANCELLED,
            type="step.ignored_cancel",
        )


@asynccontextmanager
async def _services(
    connector: Connector, egress_allow: Sequence[str]
) -> AsyncIterator[Mapping[str, Any]]:
    transport = HttpTransport(EgressRule(egress_allow), SystemClock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(transport.close)
        if isinstance(connector, OpenConnector):
            await connector.open()
            stack.push_async_callback(connector.close)
        yield {HTTP: transport, THREADS: StepThreads()}


def _connector(step: Any) -> Connector:
    one = step() if inspect.isclass(step) else step
    if not isinstance(one, Connector):
        raise TypeError(f"{step!r} is neither a @step function nor a connector.")
    return one


class _Costs:
    """Adds up what a step costs."""

    def __init__(self) -> None:
        self.total: Money | None = None
        self._lock = threading.Lock()

    def add(self, cost: Money | str) -> None:
        """One amount more."""
        one = Money.parse(cost) if isinstance(cost, str) else cost
        with self._lock:
            self.total = one if self.total is None else self.total + one


class _Log:
    """Collects what a step logs."""

    def __init__(self, lines: list[LogLine], masker: Masker) -> None:
        self._lines = lines
        self._masker = masker

    def debug(self, message: str, **fields: object) -> None:
        """Log for developers."""
        self._add("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Log for operators."""
        self._add("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Log what is odd but handled."""
        self._add("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Log what went wrong."""
        self._add("error", message, fields)

    def _add(self, level: str, message: str, fields: dict[str, object]) -> None:
        self._lines.append(LogLine(level, self._masker.mask(message), self._masker.mask(fields)))
