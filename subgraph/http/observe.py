"""What is seen of an operation: one server span and two metrics, whatever protocol it came by.

Labels are the operation's kind and outcome, never its name or its caller, so the number of time series is fixed; the
name stands on the span.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from graphql import GraphQLError
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from runtime.bootstrap import Runtime
from runtime.model.identity import Principal
from subgraph.document.documents import Operation
from subgraph.errors import FAULTS

_MAX_NAME = 128
_TRACED = ("traceparent", "tracestate")


@dataclass(slots=True)
class Seen:
    """What came out of an operation, filled in by whoever runs it."""

    errors: Sequence[GraphQLError] = ()

    def note(self, refusal: GraphQLError | None, errors: Sequence[GraphQLError] | None) -> None:
        """Note what an answer says: the refusal that stands in its place, else its errors; the newest that has any."""
        self.errors = (refusal,) if refusal is not None else errors or self.errors

    @property
    def outcome(self) -> str:
        """`ok`, `refused` when the caller was told why, or `fault`."""
        if not self.errors:
            return "ok"
        codes = {(error.extensions or {}).get("code") for error in self.errors}
        return "fault" if codes & FAULTS else "refused"


class observed:  # noqa: N801 - read as a block: `with observed(...)`
    """Span, rate, errors and duration around one operation.

    A class, because a generator for each of these would take as long as all that is done here.
    """

    __slots__ = ("_around", "_kind", "_rt", "_seen", "_span", "_start")

    def __init__(
        self, rt: Runtime, operation: Operation, headers: Mapping[str, str], who: Principal
    ) -> None:
        self._rt = rt
        self._kind = operation.kind
        self._around: AbstractContextManager[Span] | None = None
        self._span: Span = INVALID_SPAN
        parent = {name: headers[name] for name in _TRACED if name in headers}
        if rt.tracing.enabled or parent:
            attributes = {
                "graphql.operation.type": operation.kind,
                "graphql.operation.name": (operation.name or "")[:_MAX_NAME],
                "maestro.tenant": who.tenant,
            }
            if who.purpose:
                attributes["maestro.purpose"] = who.purpose
            self._around = rt.tracing.span(
                "graphql", attributes, parent=parent, kind=SpanKind.SERVER
            )

    def __enter__(self) -> Seen:
        self._seen, self._start = Seen(), self._rt.clock.monotonic()
        if self._around is not None:
            self._span = self._around.__enter__()
        return self._seen

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        outcome = "fault"
        try:
            if kind is None:
                outcome = self._seen.outcome
                if outcome == "fault":
                    self._rt.tracing.fail(self._span, "a field failed")
            elif issubclass(kind, asyncio.CancelledError | GeneratorExit):
                outcome = "cancelled"
            if self._around is not None:
                self._around.__exit__(kind, error, trace)
        finally:
            metrics = self._rt.metrics
            metrics.graphql_operations.labels(self._kind, outcome).inc()
            took = self._rt.clock.monotonic() - self._start
            metrics.graphql_seconds.labels(self._kind).observe(took)
