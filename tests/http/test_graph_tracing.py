"""One server span per operation, in the caller's trace; what it starts carries the trace on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gql import gql
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from runtime.telemetry.tracing import Tracing
from tests.http.serving import GREET, Served, serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def traced(
    database_url: str, redis_url: str, home: Path, spans: InMemorySpanExporter
) -> AsyncIterator[Served]:
    tracing = Tracing(service="test", processors=(SimpleSpanProcessor(spans),))
    async with serving(database_url, redis_url, home, tracing=tracing) as made:
        yield made
    tracing.close()


async def test_an_operation_is_a_span_in_the_callers_trace(
    traced: Served, spans: InMemorySpanExporter
) -> None:
    headers = {**traced.bearer(), "traceparent": f"00-{TRACE}-{PARENT}-01", "x-purpose": "audit"}

    await traced.ask("query Count { workflows { totalCount } }", **headers)

    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("graphql", SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert dict(span.attributes or {}) == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Count",
        "maestro.tenant": "default",
        "maestro.purpose": "audit",
    }


async def test_an_execution_carries_the_trace_of_its_request(
    traced: Served, spans: InMemorySpanExporter
) -> None:
    await traced.publish(GREET)
    headers = {**traced.bearer(), "traceparent": f"00-{TRACE}-{PARENT}-01"}

    answer = await traced.ask(
        """mutation { enqueueExecution(input: {workflowName: "greet", input: {name: "Ada"}}) {
        execution { id traceId } } }""",
        **headers,
    )

    assert answer.body["data"]["enqueueExecution"]["execution"]["traceId"] == TRACE
    in_trace = [
        span for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE
    ]
    assert {span.name for span in in_trace} >= {"graphql", "execution.enqueue"}


async def test_a_refused_request_makes_no_span(traced: Served, spans: InMemorySpanExporter) -> None:
    await traced.request("POST", "/graphql", json={"query": "{ workflows { totalCount } }"})
    await traced.ask("{ nothing }")

    assert spans.get_finished_spans() == ()


async def test_an_operation_over_the_websocket_is_a_span_too(
    traced: Served, spans: InMemorySpanExporter
) -> None:
    async with traced.listener() as session:
        await session.execute(gql("query OverSocket { workflows { totalCount } }"))

    (span,) = spans.get_finished_spans()
    assert (span.attributes or {})["graphql.operation.name"] == "OverSocket"
