"""OpenTelemetry spans as one trace from API to connector.

Without an exporter nothing is recorded and nothing costs.

The trace context travels in the execution's `meta` as W3C headers, so that a worker on another
machine, hours later, goes on with the same trace. Sampling is decided once, at the root; an
unsampled execution makes no step spans at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()


class Tracing:
    """The tracer of one process.

    `enabled` is False without a processor; then `span` yields a span that does nothing.
    """

    def __init__(
        self,
        *,
        service: str,
        processors: tuple[SpanProcessor, ...] = (),
        sampler: Sampler | None = None,
    ) -> None:
        self.enabled = bool(processors)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), sampler=sampler
        )
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("maestro-composer")

    @classmethod
    def from_environment(cls, service: str, *, enabled: bool) -> Tracing:
        """Exports over OTLP/HTTP by the SDK's own OTEL_* variables, when an endpoint is set."""
        processors = (BatchSpanProcessor(OTLPSpanExporter()),) if enabled else ()
        return cls(service=service, processors=processors)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        *,
        parent: Mapping[str, str] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Iterator[Span]:
        """A span around a block; with `parent` headers it continues that trace.

        An exception marks it as failed.
        """
        context = _W3C.extract(parent) if parent else None
        if not self.enabled:
            # The caller's trace goes on to the services that are called, even if we add nothing to it.
            with trace.use_span(trace.get_current_span(context)) if context else nullcontext():
                yield trace.INVALID_SPAN
            return
        with self._tracer.start_as_current_span(
            name, context=context, attributes=attributes, kind=kind
        ) as span:
            yield span

    def start(
        self,
        name: str,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        *,
        parent: Mapping[str, str] | Context | None = None,
        start_time: int | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """A span that is ended by hand, for work that is no block; times in Unix nanoseconds."""
        context = (
            parent if isinstance(parent, Context) else _W3C.extract(parent) if parent else None
        )
        return self._tracer.start_span(
            name, context=context, attributes=attributes, start_time=start_time, kind=kind
        )

    def headers(self, span: Span | None = None) -> dict[str, str]:
        """W3C headers (`traceparent`, `tracestate`) of a span or the current one; may be empty."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, context=trace.set_span_in_context(span) if span else None)
        return carrier

    @staticmethod
    def is_sampled(headers: Mapping[str, str]) -> bool:
        """Whether the trace that these headers name is recorded."""
        return _parent_of(headers.get("traceparent")).trace_flags.sampled

    @staticmethod
    def trace_id(headers: Mapping[str, str]) -> str | None:
        """The trace id (32 hex digits) in some headers."""
        context = _parent_of(headers.get("traceparent"))
        return f"{context.trace_id:032x}" if context.is_valid else None

    @staticmethod
    def current_trace_id() -> str | None:
        """The trace id of the current span, our own or the caller's."""
        context = trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    @staticmethod
    def fail(span: Span, message: str) -> None:
        """Mark a span as failed."""
        span.set_status(Status(StatusCode.ERROR, message))

    def close(self) -> None:
        """Send what is left; bounded by the exporter's own timeout."""
        self._provider.shutdown()


@lru_cache(maxsize=1_024)
def _parent_of(traceparent: str | None) -> SpanContext:
    """The span that a header names. Asked twice per execution, and a batch of them has one header."""
    context = _W3C.extract({"traceparent": traceparent} if traceparent else {})
    return trace.get_current_span(context).get_span_context()
