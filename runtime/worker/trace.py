"""Spans of executions and steps, as one trace with the API and the connectors.

Sampling is decided once, by the headers in the execution's meta: an unsampled execution makes no span
call at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, set_span_in_context

from runtime.model.execution import ExecutionStatus
from runtime.telemetry.tracing import Tracing
from runtime.worker.attempt import Attempt
from runtime.worker.run import Run


class Traces:
    """Makes the spans of one worker."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def begin_run(self, run: Run) -> None:
        """The time that this worker owns the execution."""
        headers = headers_of(run.owned.meta)
        run.trace = headers
        if not self._tracing.enabled or (headers and not self._tracing.is_sampled(headers)):
            return
        owned, plan = run.owned, run.prepared.program.plan
        attributes: dict[str, str | int | float | bool] = {
            "maestro.execution.id": str(owned.id),
            "maestro.workflow": plan.name,
            "maestro.workflow.version_id": str(owned.version_id),
            "maestro.tenant": str(owned.meta.get("tenant", "")),
            "maestro.namespace": owned.namespace,
            "maestro.generation": owned.generation,
        }
        attributes |= _why(run)
        span = self._tracing.start("execution.run", attributes, parent=headers or None)
        if not span.is_recording():
            return
        run.span = span
        run.trace = self._tracing.headers(span)

    def end_run(self, run: Run, status: ExecutionStatus | None) -> None:
        """The execution was closed, parked, or lost."""
        span = run.span
        if span is None:
            return
        run.span = None
        if status is not None:
            span.set_attribute("maestro.status", status.name.lower())
        if run.error is not None:
            self._tracing.fail(span, run.error.message)
        span.end()

    def begin_step(self, run: Run, attempt: Attempt) -> Span | None:
        """The span of an attempt that answers at once; None when the execution is not sampled."""
        if run.span is None:
            return None
        attempt.span = self._tracing.start(
            "step.run",
            {
                "maestro.step": attempt.prepared.program.plan.key,
                "maestro.attempt": attempt.number,
                "maestro.connector": attempt.prepared.connector_name,
                "maestro.execution.id": str(run.owned.id),
                **_why(run),
            },
            parent=set_span_in_context(run.span),
        )
        return attempt.span

    @contextmanager
    def step(self, run: Run, attempt: Attempt) -> Iterator[None]:
        """The spans of an attempt and of its call, around a block."""
        span = self.begin_step(run, attempt)
        if span is None:
            yield
            return
        try:
            with self._tracing.span(
                "connector.call",
                {"maestro.connector": attempt.prepared.connector_name, **_why(run)},
                parent=self._tracing.headers(span),
            ):
                attempt.trace = self._tracing.headers()
                yield
        finally:
            span.end()

    def id_of(self, run: Run) -> str | None:
        """The id of the execution's trace, when it has one."""
        return self._tracing.trace_id(run.trace) if run.trace else None

    def place_of(self, run: Run, step: int) -> dict[str, str]:
        """Where something happened, for a line of the log: execution, step, and trace if there is one."""
        place = {"execution": str(run.owned.id), "step": run.prepared.program.steps[step].plan.key}
        trace_id = self.id_of(run)
        return place if trace_id is None else place | {"trace_id": trace_id}

    def headers(self, run: Run, attempt: Attempt) -> Mapping[str, str]:
        """What the call carries on: its own span, or the trace that the execution came with."""
        if attempt.span is None:
            return run.trace
        return attempt.trace or self._tracing.headers(attempt.span)

    def failed(self, attempt: Attempt, message: str) -> None:
        """The attempt failed."""
        if attempt.span is not None:
            self._tracing.fail(attempt.span, message)


def headers_of(meta: Mapping[str, object]) -> dict[str, str]:
    """The W3C headers that the API stored with the execution."""
    found = meta.get("trace")
    if not isinstance(found, dict):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def _why(run: Run) -> dict[str, str]:
    """The same as attributes of a span."""
    return {f"maestro.{name}": value for name, value in purpose_of(run).items()}


def purpose_of(run: Run) -> dict[str, str]:
    """Purpose, authority and license of an execution: the caller's purpose, else the workflow's."""
    meta, policy = run.owned.meta, run.prepared.program.plan.policy
    values = {
        "purpose": meta.get("purpose") or policy.purpose,
        "authority": meta.get("authority") or policy.authority,
        "license": meta.get("license") or policy.license,
    }
    return {name: str(value) for name, value in values.items() if value}
