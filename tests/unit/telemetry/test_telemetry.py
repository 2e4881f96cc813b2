"""Logs, metrics and traces: every name is described, lines carry trace ids, nothing is recorded unasked."""

from __future__ import annotations

import io
import logging

import orjson
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.telemetry.log import configure_logging, get_logger, log_descriptor
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.names import METRICS
from runtime.telemetry.tracing import Tracing


def test_every_metric_is_in_the_table_and_the_table_in_the_page():
    page, media_type = Metrics().render()

    helps = (line.split()[2] for line in page.decode().splitlines() if line.startswith("# HELP"))
    assert {name for name in helps if not name.endswith("_created")} == set(METRICS)
    assert media_type.startswith("text/plain")


def test_a_scrape_may_ask_for_openmetrics():
    page, media_type = Metrics().render("application/openmetrics-text; version=1.0.0")

    assert media_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_a_log_line_carries_the_trace_it_was_written_in():
    stream, exporter = io.StringIO(), InMemorySpanExporter()
    configure_logging(form="json", stream=stream)
    tracing = Tracing(service="test", processors=(SimpleSpanProcessor(exporter),))

    with tracing.span("step.run"):
        get_logger("test").info("step done", step="charge")

    line = orjson.loads(stream.getvalue())
    (span,) = exporter.get_finished_spans()
    assert (line["event"], line["step"], line["trace_id"]) == (
        "step done",
        "charge",
        f"{span.context.trace_id:032x}",
    )


def test_a_span_goes_on_with_the_trace_of_its_headers():
    exporter = InMemorySpanExporter()
    tracing = Tracing(service="test", processors=(SimpleSpanProcessor(exporter),))

    with tracing.span("execution.enqueue"):
        headers = tracing.headers()
    with tracing.span("execution.run", parent=headers):
        pass

    first, second = exporter.get_finished_spans()
    assert second.context.trace_id == first.context.trace_id
    assert second.parent is not None
    assert second.parent.span_id == first.context.span_id
    assert Tracing.trace_id(headers) == f"{first.context.trace_id:032x}"


@pytest.mark.parametrize(
    ("headers", "is_sampled"),
    [
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, True),
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-00", "tracestate": "x=1"}, False),
        ({"traceparent": "nonsense"}, False),
        ({"tracestate": "x=1"}, False),
        ({}, False),
    ],
)
def test_headers_say_whether_their_trace_is_recorded(headers, is_sampled):
    # The second answer is a remembered one; what names no trace must not be taken for the current one.
    with Tracing(service="test", processors=(_nowhere(),)).span("another"):
        answers = [Tracing.is_sampled(headers), Tracing.is_sampled(headers)]
        ids = {Tracing.trace_id(headers), Tracing.trace_id(headers)}

    assert answers == [is_sampled, is_sampled]
    assert ids == {"a" * 32 if "a" * 32 in headers.get("traceparent", "") else None}


def _nowhere() -> SimpleSpanProcessor:
    return SimpleSpanProcessor(InMemorySpanExporter())


def test_without_an_exporter_there_are_no_spans_and_no_headers():
    tracing = Tracing(service="test")

    with tracing.span("step.run") as span:
        assert not span.is_recording()
        assert tracing.headers() == {}


def test_a_log_whose_stream_is_closed_stops_nobody():
    stream = io.StringIO()
    configure_logging(form="json", stream=stream)
    stream.close()

    get_logger("test").error("nobody hears this")


def test_what_libraries_log_is_a_line_like_ours_with_its_traceback_inside():
    stream = io.StringIO()
    configure_logging(form="json", stream=stream)

    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")

    [line] = map(orjson.loads, stream.getvalue().splitlines())
    assert (line["component"], line["level"]) == ("asyncio", "error")
    assert line["exception"].endswith("RuntimeError: broken")


def test_children_log_where_their_parent_does(tmp_path):
    with (tmp_path / "log").open("w") as file:
        configure_logging(stream=file)
        assert log_descriptor() == file.fileno()
    configure_logging(stream=io.StringIO())
    assert log_descriptor() is None
