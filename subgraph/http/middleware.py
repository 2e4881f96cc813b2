"""Around every request: rate, errors and duration by route, headers that browsers obey, and no fault that shows.

Plain ASGI, because a WebSocket must pass through untouched.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.bootstrap import Runtime
from runtime.model.errors import MaestroError
from runtime.telemetry.log import get_logger
from subgraph.context import Door
from subgraph.http.problem import problem

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_RAW: Final = tuple(
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
)
_NAMES: Final = frozenset(name for name, _ in _RAW)
_KNOWN: Final = ("/graphql", "/healthz", "/readyz", "/metrics", "/schemas/workflow.json")

_log = get_logger("http")


class Surroundings:
    """Measures, protects and masks; sits around everything."""

    def __init__(self, app: ASGIApp, rt: Runtime) -> None:
        self._app = app
        self._rt = rt
        self._door = Door(rt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, WebSocket or lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 0, self._rt.clock.monotonic()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                said = {name for name, _ in headers}
                unsaid = (
                    _RAW if said.isdisjoint(_NAMES) else [one for one in _RAW if one[0] not in said]
                )
                message["headers"] = [*headers, *unsaid]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise
            trace_id = self._door.trace_id({})
            _log.error("http.fault", path=scope["path"], request_trace_id=trace_id, exc_info=error)
            fault = MaestroError("Something went wrong on our side; nothing acknowledged is lost.")
            await problem(fault, trace_id)(scope, receive, send_with_headers)
        finally:
            route = route_of(scope["path"])
            seconds = self._rt.clock.monotonic() - start
            self._rt.metrics.http_requests.labels(route, str(status)).inc()
            self._rt.metrics.http_seconds.labels(route).observe(seconds)


def route_of(path: str) -> str:
    """The route that a path belongs to: one of a few words, whatever was asked for."""
    if path in _KNOWN:
        return path
    if path.startswith("/graphiql/"):
        return "/graphiql"
    return "/api/executions" if path.startswith("/api/executions/") else "other"
