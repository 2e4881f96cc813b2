"""What every connector promises, asked of every entry of the registry.

A connector without a sample here fails the first test: whoever adds one says what it takes, what it
refuses, and how it can be made to wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from maestro.testing import LOOPBACK, make_context
from runtime.abi.catalog import ConnectorInfo
from runtime.abi.connector import Connector, InlineConnector
from runtime.clock import SystemClock
from runtime.connectors.invoke import answer_inline, effect_of, invoke
from runtime.connectors.registry import Registry
from runtime.connectors.threads import StepThreads
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import ConnectorRef, Effect
from runtime.transport.egress import EgressRule
from runtime.transport.http import HttpTransport


@dataclass(frozen=True)
class Sample:
    """Inputs of one connector. `{url}` in a text is the address of a server, `/slow` never answers."""

    good: Any
    bad: Mapping[str, Any] = field(default_factory=dict)
    waiting: Any = None


SAMPLES = {
    "core.fail": Sample(
        good={"until_attempt": 1},
        bad={
            "message": 1,
            "kind": "worse",
            "type": "",
            "retry_after": "soon",
            "until_attempt": 0,
        },
    ),
    "core.noop": Sample(good={"any": [1]}),
    "core.set": Sample(good={"any": [1]}),
    "core.sleep": Sample(
        good={"duration": "1ms"}, bad={"duration": "soon"}, waiting={"duration": "1h"}
    ),
    "http.request": Sample(
        good={"method": "PUT", "url": "{url}", "json": {"a": 1}, "query": {"b": 2}},
        bad={
            "method": "TRACE",
            "url": "here",
            "headers": {"Host": "x"},
            "query": {"a": {}},
            "body": 1,
            "form": [],
            "auth": {"bearer": 1},
            "expected_status": [99],
            "response": "xml",
            "max_redirects": 6,
            "max_response_bytes": 0,
            "timeout": -1,
            "look_up": {"url": "here"},
        },
        waiting={"url": "{url}/slow"},
    ),
}
REGISTRY = Registry.load()
INFOS = [info for versions in REGISTRY.catalog().values() for info in versions]
BAD = [(info, name) for info in INFOS if info.name in SAMPLES for name in SAMPLES[info.name].bad]


def connector_of(info: ConnectorInfo) -> Connector:
    found = REGISTRY.resolve(
        ConnectorRef(info.name, info.version.major, info.version.minor, info.version.patch)
    )
    assert found is not None
    return found


def each(infos: Iterable[ConnectorInfo]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("info", list(infos), ids=lambda info: info.name)


def is_inline(info: ConnectorInfo) -> bool:
    return connector_of(info).inline


each_connector = each(INFOS)
each_inline = each(info for info in INFOS if is_inline(info))
each_waiting = each(info for info in INFOS if not is_inline(info))
each_closed = each(info for info in INFOS if info.input_schema.get("additionalProperties") is False)


def filled(value: Any, url: str) -> Any:
    match value:
        case str():
            return value.replace("{url}", url)
        case dict():
            return {key: filled(one, url) for key, one in value.items()}
        case _:
            return value


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.get_running_loop().create_future()
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0])
    await runner.cleanup()


@pytest.fixture
async def services() -> AsyncIterator[Mapping[str, Any]]:
    transport = HttpTransport(EgressRule(LOOPBACK), SystemClock())
    yield {"http": transport, "threads": StepThreads()}
    await transport.close()


def described(schema: Any, path: str = "") -> Iterator[str]:
    """Paths of properties that nobody described."""
    for name, one in schema.get("properties", {}).items():
        refers = [one, *one.get("allOf", []), *one.get("anyOf", [])]
        if not any("description" in part for part in refers):
            yield f"{path}.{name}"
    for name, one in schema.get("$defs", {}).items():
        yield from described(one, name)


@each_connector
def test_it_has_a_sample(info: ConnectorInfo):
    assert info.name in SAMPLES


@each_connector
def test_its_name_and_summary_are_fit_to_show(info: ConnectorInfo):
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", info.name)
    assert re.fullmatch(r"[A-Z].{5,100}\.", info.summary)


@each_connector
def test_its_schemas_are_valid_and_every_property_is_described(info: ConnectorInfo):
    for schema in (info.input_schema, info.output_schema):
        Draft202012Validator.check_schema(schema)
        assert list(described(schema)) == []


@each_connector
def test_its_effect_is_declared(info: ConnectorInfo):
    connector = connector_of(info)
    given = filled(SAMPLES[info.name].good, "http://x")

    assert isinstance(effect_of(connector, given), Effect)
    if info.effect is not None:
        assert connector.effect(connector.Input.model_validate(given)) is info.effect


@each_connector
async def test_its_output_fits_its_schema(
    info: ConnectorInfo, url: str, services: Mapping[str, Any]
):
    given = filled(SAMPLES[info.name].good, url)
    Draft202012Validator(info.input_schema).validate(given)

    output = await invoke(connector_of(info), make_context(services=services), given)

    Draft202012Validator(info.output_schema).validate(output)


@each_inline
async def test_what_it_answers_at_once_is_what_it_answers(info: ConnectorInfo):
    connector = connector_of(info)
    assert isinstance(connector, InlineConnector)
    given = SAMPLES[info.name].good

    later = await invoke(connector, make_context(), given)

    assert answer_inline(connector, make_context(), given) == later


@pytest.mark.parametrize(("info", "name"), BAD, ids=[f"{info.name}-{name}" for info, name in BAD])
async def test_a_bad_field_is_refused_by_its_name_before_anything_is_done(
    info: ConnectorInfo, name: str
):
    given = filled(SAMPLES[info.name].good, "http://127.0.0.1:9")
    changed = {one: value for one, value in given.items() if one != "json"}

    with pytest.raises(StepFailed) as caught:
        await invoke(
            connector_of(info), make_context(), changed | {name: SAMPLES[info.name].bad[name]}
        )

    assert (caught.value.type, caught.value.kind) == ("input.invalid", StepErrorKind.PERMANENT)
    details: Any = caught.value.details
    assert {problem["path"][0] for problem in details["problems"]} == {name}


@each_connector
async def test_every_property_with_a_rule_has_a_bad_sample(info: ConnectorInfo):
    free = {"json", "details"}  # Any JSON is right.
    properties: Any = info.input_schema.get("properties", {})

    assert set(properties) - free == set(SAMPLES[info.name].bad)


@each_closed
async def test_a_field_it_does_not_know_is_refused(info: ConnectorInfo):
    with pytest.raises(StepFailed, match="no_such_field: Extra inputs are not permitted"):
        await invoke(connector_of(info), make_context(), {"no_such_field": 1})


@each_waiting
async def test_it_ends_when_its_task_is_cancelled(
    info: ConnectorInfo, url: str, services: Mapping[str, Any]
):
    connector = connector_of(info)
    context = make_context(services=services)
    task = asyncio.create_task(invoke(connector, context, filled(SAMPLES[info.name].waiting, url)))
    assert not (await asyncio.wait({task}, timeout=0.05))[0]

    task.cancel()

    done, _ = await asyncio.wait({task}, timeout=2)
    assert done
    assert task.cancelled()


@each_waiting
async def test_it_ends_when_its_time_is_over(
    info: ConnectorInfo, url: str, services: Mapping[str, Any]
):
    connector = connector_of(info)
    context = make_context(services=services, timeout_seconds=0.05)

    with pytest.raises(StepFailed) as caught:
        await invoke(connector, context, filled(SAMPLES[info.name].waiting, url))

    assert (caught.value.type, caught.value.kind) == ("step.timeout", StepErrorKind.TIMEOUT)
