"""What is seen of an operation: one server span and two metrics, whatever protocol it came by.

Labels are the operation's kind and outcome, never its name or its caller, so the number of time series is fixed; the
name stands on the span.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from graphql import GraphQLError
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from runtime.bootstrap import Runtime
from runtime.model.identity import Principal
from subgraph.document.documents import Operation
from subgraph.errors import FAULTS

_MAX_NAME = 128
_TRACED = ("traceparent", "tracestate")
# Where nothing is recorded and no trace is gone on with.
_NOWHERE = nullcontext(INVALID_SPAN)


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


@contextmanager
def observed(
    rt: Runtime, operation: Operation, headers: Mapping[str, str], who: Principal
) -> Iterator[Seen]:
    """Span, rate, errors and duration around one operation."""
    around: AbstractContextManager[Span] = _NOWHERE
    parent = {name: headers[name] for name in _TRACED if name in headers}
    if rt.tracing.enabled or parent:
        attributes = {
            "graphql.operation.type": operation.kind,
            "graphql.operation.name": (operation.name or "")[:_MAX_NAME],
            "maestro.tenant": who.tenant,
        }
        if who.purpose:
            attributes["maestro.purpose"] = who.purpose
        around = rt.tracing.span("graphql", attributes, parent=parent, kind=SpanKind.SERVER)
    seen, outcome, start = Seen(), "fault", rt.clock.monotonic()
    try:
        with around as span:
            yield seen
            outcome = seen.outcome
            if outcome == "fault":
                rt.tracing.fail(span, "a field failed")
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "cancelled"
        raise
    finally:
        rt.metrics.graphql_operations_of(operation.kind, outcome).inc()
        rt.metrics.graphql_seconds_of(operation.kind).observe(rt.clock.monotonic() - start)
