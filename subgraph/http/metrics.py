"""`/metrics` for Prometheus: open to this machine while the API listens only there, elsewhere with a token."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.bootstrap import Runtime
from runtime.model.errors import Denied, MaestroError
from subgraph.context import Door
from subgraph.http.problem import problem

SCOPE: Final = "metrics:read"
# Their presence says that a proxy stands in between, and then "loopback" is everybody.
_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


def routes(rt: Runtime, door: Door) -> list[Route]:
    """The route of a scrape."""

    async def metrics(request: Request) -> Response:
        if not (rt.settings.api.is_loopback and is_local(request)):
            try:
                who = await door.admit(request.headers)
                if not who.has(SCOPE):
                    raise Denied(f"Metrics need the scope {SCOPE}.", reason="SCOPE_MISSING")
            except MaestroError as error:
                return problem(error, door.trace_id(request.headers))
        page, media_type = rt.metrics.render(request.headers.get("accept", ""))
        return Response(page, media_type=media_type, headers={"Cache-Control": "no-store"})

    return [Route("/metrics", metrics)]


def is_local(request: Request) -> bool:
    """Whether a request comes from this very machine, not through a proxy on it."""
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    if request.client is None:
        return True  # A unix socket has no peer address; who may connect is the file's mode.
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
