"""What can be seen of a run from outside: one trace, metrics, one log line."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.telemetry.tracing import Tracing
from tests.support.engine_room import EngineRoom, engine_room
from tests.support.steps import CALLS

STEPS = [
    {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}},
    {"id": "b", "uses": "probe.gate@1", "with": {"marker": "b"}, "depends_on": ["a"]},
]
SAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
UNSAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def room(
    database_url: str, redis_url: str, home: Path, exporter: InMemorySpanExporter
) -> AsyncIterator[EngineRoom]:
    CALLS.clear()
    CALLS.gates["b"].set()
    tracing = Tracing(service="test", processors=(SimpleSpanProcessor(exporter),))
    async with engine_room(database_url, redis_url, home, tracing=tracing) as made:
        yield made


async def finish(room: EngineRoom, trace, steps=STEPS, **meta):
    worker = room.worker()
    version = await room.publish(steps)
    execution = await room.enqueue(version, meta={"trace": trace, **meta})
    await room.finished(execution)
    await worker.stop()
    return execution


async def test_execution_steps_and_calls_are_one_trace(room: EngineRoom, exporter):
    await finish(room, SAMPLED)

    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans}
    assert {f"{span.context.trace_id:x}" for span in spans} == {"af7651916cd43dd8448eb211c80319c"}
    assert sorted(span.name for span in spans) == [
        "connector.call",
        "execution.run",
        "step.run",
        "step.run",
    ]
    call = next(span for span in spans if span.name == "connector.call")
    step = by_id[call.parent.span_id]
    assert step.attributes["maestro.step"] == "b"
    assert by_id[step.parent.span_id].name == "execution.run"


async def test_a_call_carries_its_own_span_to_the_outside(room: EngineRoom, exporter):
    await finish(room, SAMPLED)

    call = next(s for s in exporter.get_finished_spans() if s.name == "connector.call")
    sent = CALLS.contexts["b"].trace_headers["traceparent"]
    assert sent.split("-")[2] == f"{call.context.span_id:016x}"


async def test_an_unsampled_execution_makes_no_span_but_passes_its_trace_on(
    room: EngineRoom, exporter
):
    await finish(room, UNSAMPLED)

    assert exporter.get_finished_spans() == ()
    assert CALLS.contexts["b"].trace_headers == UNSAMPLED


async def test_an_execution_says_one_line_at_its_end(room: EngineRoom):
    with structlog.testing.capture_logs() as lines:
        execution = await finish(room, SAMPLED, purpose="billing")

    [line] = [line for line in lines if line["event"] == "execution_finished"]
    assert line["execution"] == str(execution)
    assert line["status"] == "completed"
    assert line["purpose"] == "billing"
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["duration_ms"] >= 0


async def test_the_line_of_a_failed_execution_names_its_step_and_its_trace(room: EngineRoom):
    steps = [{"id": "a", "uses": "core.fail@1", "with": {"message": "no"}}]

    with structlog.testing.capture_logs() as lines:
        execution = await finish(room, SAMPLED, steps)

    [line] = [line for line in lines if line["event"] == "execution_finished"]
    assert (line["execution"], line["step"], line["status"]) == (str(execution), "a", "failed")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_steps_and_executions_are_counted(room: EngineRoom):
    await finish(room, SAMPLED)

    page = room.metrics.render()[0].decode()
    assert 'maestro_steps_total{connector="probe.echo@1.0.0",status="completed"} 1.0' in page
    assert 'maestro_step_seconds_count{connector="probe.echo@1.0.0"} 1.0' in page
    assert 'maestro_executions_finished_total{status="completed"} 1.0' in page
    for name in ("maestro_execution_seconds", "maestro_flush_rows", "maestro_flush_seconds"):
        assert re.search(rf"^{name}_count(\{{.*\}})? [1-9]", page, re.MULTILINE), name
    assert "maestro_queue_lag_seconds_count 1.0" in page
    assert 'maestro_executions_running{shard="0"} 0.0' in page
