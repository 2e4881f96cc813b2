"""Liveness and readiness: whether this process turns, and whether what it needs answers, each by name."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.bootstrap import Runtime

_HEADERS = {"Cache-Control": "no-store"}


def routes(rt: Runtime) -> list[Route]:
    """`/healthz` and `/readyz`, both open."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def readyz(_request: Request) -> Response:
        found = await rt.services.health.check()
        for name, problem in found.items():
            rt.metrics.dependency_up.labels(name).set(problem is None)
        # One database of several that is away makes some tenants wait, not all.
        spared = rt.services.health.spared
        is_ready = not any(problem for name, problem in found.items() if name not in spared)
        body = {
            "status": "ready" if is_ready else "unavailable",
            "dependencies": {
                name: {"status": "ok"}
                if problem is None
                else {"status": "failed", "detail": problem}
                for name, problem in found.items()
            },
            "handlers": await rt.services.health.handlers() if found["postgresql"] is None else [],
        }
        return JSONResponse(body, 200 if is_ready else 503, headers=_HEADERS)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
