"""Start, then step: one trace over API, worker and the service that was called, as a collector receives it."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.support.listening import Collector, Echo, attributes, listening
from tests.support.processes import eventually
from tests.support.stack import ENQUEUE, Stack, start_service

CALL = """
name: call
version: 1.0.0
params: {url: {type: string}}
policy: {authority: contract, license: CC-BY-4.0, purpose: research}
steps:
  - {id: ask, uses: http.request@1, with: {url: "{{ params.url }}", method: PUT}}
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHAIN = ("graphql", "execution.enqueue", "execution.run", "step.run", "connector.call")
FIRST = "query ($id: ID!) { execution(id: $id) { traceId purpose events(first: 1) { edges { node { type data } } } } }"
DEFAULT_PORT = 4318


async def start_with_trace(stack: Stack, workflow: str, url: str) -> str:
    headers = {
        "Authorization": f"Bearer {stack.token}",
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "x-purpose": "billing",
    }
    variables = {"input": {"workflowName": workflow, "input": {"url": url}}}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(
            f"{stack.mc.url}/graphql", json={"query": ENQUEUE, "variables": variables}
        ) as answer,
    ):
        found = (await answer.json())["data"]["enqueueExecution"]
        return str(found["execution"]["id"])


def trace_of(collector: Collector) -> dict[str, Any]:
    return {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}


@pytest.fixture
async def echo():
    echo = Echo()
    async with listening(echo.answer) as url:
        yield echo, url


@pytest.fixture
async def collector(mc):
    collector = Collector()
    async with listening(collector.answer) as url:
        mc.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        yield collector
        mc.end_all()


@pytest.fixture
async def ended(collector, echo, mc, database_url, redis_url):
    """An execution that has ended, with all of its spans at the collector."""
    stack = Stack.of_tenant(await start_service(mc, database_url, redis_url), "acme")
    execution = await start_with_trace(stack, await stack.publish(CALL), echo[1])
    assert (await stack.finished(execution))["status"] == "COMPLETED"
    await eventually(lambda: set(CHAIN) <= set(trace_of(collector)), what="all spans of the trace")
    return stack, execution


async def test_one_trace_from_the_caller_to_the_service_that_was_called(ended, collector, echo):
    spans = trace_of(collector)

    chain = [spans[name] for name in CHAIN]
    parents = [span.parent_span_id.hex() for span in chain]
    assert parents == [PARENT, *(span.span_id.hex() for span in chain[:-1])]
    received = echo[0].seen[0].headers["traceparent"].split("-")
    assert received[:3] == ["00", TRACE, chain[-1].span_id.hex()]
    assert int(received[3], 16) & 1
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in chain)
    await by_what_right(ended, collector)


async def by_what_right(ended, collector):
    """Spans, the first event and the log line say it."""
    stack, execution = ended
    right = {"purpose": "billing", "authority": "contract", "license": "CC-BY-4.0"}

    found = (await stack.ask(FIRST, id=execution))["execution"]

    run = attributes(trace_of(collector)["execution.run"])
    for name in ("execution.run", "step.run", "connector.call"):
        span = attributes(trace_of(collector)[name])
        assert {key: span[f"maestro.{key}"] for key in right} == right
    assert (run["maestro.execution.id"], run["maestro.tenant"]) == (execution, "acme")
    assert attributes(trace_of(collector)["graphql"])["maestro.purpose"] == "billing"
    assert (found["traceId"], found["purpose"]) == (TRACE, "billing")
    first = found["events"]["edges"][0]["node"]
    assert (first["type"], {key: first["data"][key] for key in right}) == (
        "EXECUTION_QUEUED",
        right,
    )
    lines = stack.service.running["worker"].output().splitlines()
    [line] = [json.loads(text) for text in lines if "execution_finished" in text]
    assert {key: line[key] for key in right} == right
    assert (line["trace_id"], line["execution"]) == (TRACE, execution)


@pytest.mark.long
async def test_without_an_endpoint_nothing_is_exported(mc, echo, database_url, redis_url):
    collector = Collector()
    try:
        async with listening(collector.answer, port=DEFAULT_PORT):
            stack = Stack.of_tenant(await start_service(mc, database_url, redis_url), "acme")
            execution = await start_with_trace(stack, await stack.publish(CALL), echo[1])
            await stack.finished(execution)
            mc.end_all()
    except OSError:
        pytest.skip(f"port {DEFAULT_PORT}, the collector's default, is taken")

    assert collector.raw == []
    assert echo[0].seen[0].headers["traceparent"].split("-")[1] == TRACE
