"""Web servers on loopback for steps to call, and a collector of spans: what arrived there is the judge of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """A server that answers every request by the handler, on a free port unless one is named; its address."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    url: str
    headers: dict[str, str]
    body: str

    @property
    def text(self) -> str:
        """All of it, to look for something."""
        return "\n".join([self.method, self.url, repr(self.headers), self.body])


@dataclass(slots=True)
class Echo:
    """Says back what it hears: as the body of a 200, of a 422 (`/refuse`), of a redirect (`/go`)."""

    seen: list[Seen] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """One request."""
        heard = Seen(
            request.method,
            request.path,
            str(request.url),
            {name.lower(): value for name, value in request.headers.items()},
            await request.text(),
        )
        self.seen.append(heard)
        said: dict[str, Any] = {"url": heard.url, "headers": heard.headers, "body": heard.body}
        if request.path == "/refuse":
            return web.json_response(said, status=422, reason="No")
        if request.path == "/go":
            raise web.HTTPFound(f"/gone?{request.query_string}", headers={"X-Heard": repr(said)})
        return web.json_response(said, headers={"X-Heard": heard.body})


@dataclass(slots=True)
class Collector:
    """Takes spans as an OTLP/HTTP collector does."""

    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """One export."""
        body = await request.read()
        self.raw.append(body)
        asked = ExportTraceServiceRequest.FromString(body)
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def named(self, name: str) -> list[Span]:
        """The spans of a name, in the order of their arrival."""
        return [span for span in self.spans if span.name == name]


def attributes(span: Span) -> dict[str, Any]:
    """The attributes of a span as plain values."""
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }
