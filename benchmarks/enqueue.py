"""Z: `enqueueExecution` by 32 clients at once: processor time per request, by the graph and by a hand-written route.

The route asks the same door, sets the same tenant, and hands a row to the same group commit; what it does not have is
GraphQL, and the service's rules (the version by name, the input against its schema, who was asked by whom and why); one
beside it has these. All are called as ASGI applications in this process, in turns; what PostgreSQL spends is in none
of them. No worker runs.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.graph import ask, scope_of, token_of
from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest
from runtime.model.workflow import Workflow
from runtime.store.enqueue import Enqueuer, EnqueueRow
from subgraph.app import create_app
from subgraph.http.middleware import Surroundings as Around

NAME = "enqueue"
CLIENTS: Final = 32
_ROUNDS: Final = 5
_WORKFLOW: Final = """
name: enqueued
version: 1.0.0
params: {n: {type: integer}}
steps:
  - {id: a, uses: core.noop@1}
"""
_MUTATION: Final = """mutation Enqueue($input: EnqueueExecutionInput!) { enqueueExecution(input: $input) {
  created execution { id status } errors { code message } } }"""


class EnqueueRoute:
    """What somebody would write who knew this one workflow and nothing else; `by_service` keeps the service's rules."""

    def __init__(self, runtime: Runtime, enqueuer: Enqueuer, workflow: Workflow) -> None:
        self._rt = runtime
        self._enqueuer = enqueuer
        self._workflow = workflow

    async def by_service(self, request: Request) -> Response:
        """Ask the door and the service."""
        who = await self._rt.authenticator.principal(request.headers.get("authorization"))
        asked = orjson.loads(await request.body())["variables"]["input"]
        wanted = EnqueueRequest(workflow_name=asked["workflowName"], input=asked["input"])
        made = await self._rt.services.executions.enqueue(who, wanted)
        return _said(str(made.execution.id), created=made.created)

    async def bare(self, request: Request) -> Response:
        """Ask the door, write the row, say its id."""
        who = await self._rt.authenticator.principal(request.headers.get("authorization"))
        asked = orjson.loads(await request.body())["variables"]["input"]
        one = self._rt.entropy.uuid7(int(self._rt.clock.now().timestamp() * 1000))
        version = self._workflow.current_version_id or one
        meta = {"workflow": "enqueued", "version": "1.0.0", "tenant": who.tenant, "trigger": "api"}
        row = EnqueueRow(
            id=one,
            tenant_id=who.tenant_id,
            workflow_id=self._workflow.id,
            version_id=version,
            namespace="default",
            region=None,
            priority=0,
            timeout_seconds=None,
            wake_at=None,
            input=orjson.dumps(asked["input"]).decode(),
            meta=orjson.dumps(meta).decode(),
            key=None,
            digest=None,
            event="{}",
            labels=None,
        )
        outcome = await self._enqueuer.enqueue(row)
        return _said(str(outcome.id), created=outcome.fresh)


def _said(execution: str, *, created: bool) -> Response:
    done = {"id": execution, "status": "QUEUED"}
    data = {"enqueueExecution": {"created": created, "execution": done, "errors": []}}
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    return Response(orjson.dumps({"data": data}), headers=headers, media_type="application/json")


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The ratio of the two, each the least of five rounds in turns."""
    times = effort.of(100, 4)
    async with open_runtime(around.settings) as runtime:
        who, _ = await publish(runtime, "enqueued", _WORKFLOW)
        found = await runtime.services.workflows.get_many_by_name(who, ["enqueued"])
        enqueuer = Enqueuer(runtime.database, 0, metrics=runtime.metrics)
        route = EnqueueRoute(runtime, enqueuer, found["enqueued"])
        apps = {
            **{
                name: Starlette(
                    routes=[Route("/graphql", answer, methods=["POST"])],
                    middleware=[Middleware(Around, rt=runtime)],
                )
                for name, answer in (("route", route.bare), ("service", route.by_service))
            },
            "graph": create_app(runtime),
        }
        scope = scope_of(token_of(runtime), "/graphql")
        spent: dict[str, list[float]] = {name: [] for name in apps}
        wall: dict[str, list[float]] = {name: [] for name in apps}
        for number in range(_ROUNDS + 1):
            for name, app in apps.items():
                cpu, seconds = await _round(app, scope, times)
                if number:
                    spent[name].append(cpu)
                    wall[name].append(seconds)
        await enqueuer.close()
    least = {name: min(values) * 1000 for name, values in spent.items()}
    return Line(
        bench=NAME,
        letter="Z",
        unit="CPU ms",
        measured=least["graph"],
        raw=least["route"],
        ratio=least["graph"] / least["route"],
        goals=[at_most("ratio", 1.5)],
        facts={
            "clients": CLIENTS,
            "service_ms": least["service"],
            "to_service": least["graph"] / least["service"],
            **{f"{name}_per_s": 1 / min(wall[name]) for name in apps},
        },
    )


async def _round(app: Any, scope: dict[str, Any], times: int) -> tuple[float, float]:
    """Processor and wall seconds per request, while all clients ask one request after another."""

    async def client() -> None:
        for number in range(times):
            given = {"workflowName": "enqueued", "input": {"n": number}}
            body = orjson.dumps({"query": _MUTATION, "variables": {"input": given}})
            answer = orjson.loads(await ask(app, scope, body))
            if not answer["data"]["enqueueExecution"]["created"]:
                raise RuntimeError(str(answer))

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    count = CLIENTS * times
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count
