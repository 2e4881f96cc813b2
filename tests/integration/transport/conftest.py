"""Real HTTP servers on loopback, and http.request called as a worker calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from maestro.testing import StepResult, make_context
from runtime.clock import ManualClock
from runtime.connectors.http_request import HttpRequest
from runtime.connectors.invoke import invoke
from runtime.model.errors import StepFailed
from runtime.transport.egress import EgressRule
from runtime.transport.http import HttpTransport

Serve = Callable[..., Awaitable[str]]
Call = Callable[..., Awaitable[StepResult]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server on a free port that answers every request by a handler; gives its address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Any, **options: Any) -> str:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, **options)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http{'s' if options else ''}://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A session that may call 127.0.0.1, with a clock that stands still."""
    transport = HttpTransport(EgressRule(["127.0.0.1"]), ManualClock())
    yield transport
    await transport.close()


@pytest.fixture
def call(transport: HttpTransport) -> Call:
    """Calls http.request over that session."""

    async def run(url: str, *, context: dict[str, Any] | None = None, **input: Any) -> StepResult:
        made = make_context(**{"services": {"http": transport}, **(context or {})})
        try:
            output = await invoke(HttpRequest(), made, {"url": url, **input})
        except StepFailed as error:
            return StepResult(None, error, (), ())
        return StepResult(output, None, (), ())

    return run
