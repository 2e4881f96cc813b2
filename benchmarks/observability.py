"""O: what metrics, traces (1 % sampled) and the process's log cost, as a share of line B's executions per second.

Two products take turns on the same servers, one observed, one blind; the medians of several turns are compared.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from benchmarks.line import Effort, Line, at_most, middle
from benchmarks.load import Load, load
from benchmarks.surroundings import Surroundings
from runtime.telemetry.log import configure_logging
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing

NAME = "observability"


class Nowhere(SpanExporter):
    """Takes spans as an exporter does, and sends them nowhere."""

    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002 - the SDK's form
        """Done."""
        return SpanExportResult.SUCCESS


class _Silent:
    """A metric that counts nothing."""

    def labels(self, *_values: str) -> _Silent:
        return self

    def inc(self, _amount: float = 1) -> None:
        """Nothing."""

    set = observe = set_function = inc

    def time(self) -> _Silent:
        return self

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, *_error: object) -> None:
        """Nothing."""


def sampled(share: float) -> Tracing:
    """Traces of which a share is recorded."""
    return Tracing(
        service="bench",
        processors=(SimpleSpanProcessor(Nowhere()),),
        sampler=ParentBasedTraceIdRatio(share),
    )


def blind() -> Metrics:
    """Metrics that count nothing."""
    metrics = Metrics()
    for name in vars(metrics):
        if name != "registry":
            setattr(metrics, name, _Silent())
    return metrics


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The share of the rate that being observed costs."""
    seconds, turns = effort.of(10, 1), effort.of(5, 1)
    watched: list[float] = []
    unwatched: list[float] = []
    for turn in range(turns):
        async with load(around, name=f"seen-{turn}", tracing=sampled(0.01)) as seen:
            watched.append(await _turn(seen, seconds, level="info"))
        async with load(around, name=f"unseen-{turn}", metrics=blind()) as unseen:
            unwatched.append(await _turn(unseen, seconds, level="error"))
    cost = 1 - middle(watched) / middle(unwatched)
    return Line(
        bench=NAME,
        letter="O",
        unit="share of B",
        measured=cost,
        raw=middle(unwatched),
        ratio=middle(watched) / middle(unwatched),
        goals=[at_most("measured", 0.1)],
        facts={"observed_per_second": middle(watched), "blind_per_second": middle(unwatched)},
    )


async def _turn(load: Load, seconds: float, *, level: str) -> float:
    """With every log line written, or with none."""
    configure_logging(form="json", level=level, stream=StringIO())
    try:
        return (await load.run(seconds)).per_second
    finally:
        configure_logging(form="json", level="warning")
