"""The shop's HTTP face: counts the call, meets its fault, does the effect, meets the other fault.

Every POST (and the DELETE of a reservation) goes through `_change`, so all endpoints share one
order of events: counted, then what fails BEFORE the effect, the effect with its stored answer, then
what fails AFTER it. GETs and the counters are never made to fail: a judge must be readable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from examples.shop.bodies import RefusalError, fingerprint, parse_object
from examples.shop.effects import ENDPOINTS, RELEASE, Endpoint, release
from examples.shop.faults import FaultPlan, FaultRule, Luck, rule_from, script_from
from examples.shop.ledger import Answer, Call, Effect, Ledger

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
ABORT = "shop.abort"
_MAX_KEY_LENGTH = 255


class ConnectionReset(Response):
    """No answer at all: the connection is torn down under the caller."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Abort the transport, and return only once the server has noticed."""
        scope["extensions"][ABORT]()
        while (await receive())["type"] != "http.disconnect":
            continue


class Shop:
    """The handlers, and what they share: the books, the luck and the script of faults."""

    def __init__(self, ledger: Ledger, luck: Luck) -> None:
        """One thread does all the bookkeeping, so the loop never waits for the disk."""
        self._ledger = ledger
        self._luck = luck
        self._script: dict[str, FaultRule] = {}
        self._books = ThreadPoolExecutor(max_workers=1, thread_name_prefix="books")

    def close(self) -> None:
        """Finish the bookkeeping that has begun and close the file."""
        self._books.shutdown(wait=True)
        self._ledger.close()

    def poster(self, endpoint: Endpoint) -> Handler:
        """The handler of `POST /<endpoint>`."""

        async def handle(request: Request) -> Response:
            raw = await request.body()
            try:
                value = parse_object(raw)
            except RefusalError:
                await self._read(lambda: self._ledger.arrive(_call(request, endpoint.path, None)))
                raise
            return await self._change(
                request,
                _call(request, endpoint.path, _order_of(value)),
                fingerprint(value),
                lambda: endpoint.effect(value),
            )

        return handle

    async def release(self, request: Request) -> Response:
        """`DELETE /stock/reservations/{id}`."""
        record_id = request.path_params["id"]
        call = _call(request, RELEASE, record_id)
        return await self._change(request, call, record_id, lambda: release(record_id))

    def getter(self, kind: str) -> Handler:
        """The handler of `GET /<endpoint>/{id}`."""

        async def handle(request: Request) -> Response:
            record_id = request.path_params["id"]
            return JSONResponse(await self._read(lambda: self._ledger.get(kind, record_id)))

        return handle

    def lister(self, kind: str) -> Handler:
        """The handler of `GET /<endpoint>?order=`."""

        async def handle(request: Request) -> Response:
            order = request.query_params.get("order")
            items = await self._read(lambda: self._ledger.find_all(kind, order))
            return JSONResponse({"items": items})

        return handle

    async def totals(self, _request: Request) -> Response:
        """`GET /counters`."""
        return JSONResponse(await self._read(self._ledger.totals))

    async def counters(self, request: Request) -> Response:
        """`GET /counters/{key}`."""
        key = request.path_params["key"]
        return JSONResponse(await self._read(lambda: self._ledger.counters_of(key)))

    async def order(self, request: Request) -> Response:
        """`GET /orders/{order}`."""
        order = request.path_params["order"]
        return JSONResponse(await self._read(lambda: self._ledger.order(order)))

    async def health(self, _request: Request) -> Response:
        """`GET /healthz`."""
        return JSONResponse({"status": "ok"})

    async def set_faults(self, request: Request) -> Response:
        """`PUT /faults/{endpoint}`: faults for callers that cannot add a query."""
        path = request.path_params["endpoint"]
        if path not in {endpoint.path for endpoint in ENDPOINTS} | {RELEASE}:
            raise RefusalError(404, "NOT_FOUND", f"There is no endpoint '{path}'.")
        self._script[path] = script_from(parse_object(await request.body()))
        return Response(status_code=204)

    async def clear_faults(self, _request: Request) -> Response:
        """`DELETE /faults`: back to luck alone."""
        self._script.clear()
        return Response(status_code=204)

    async def _change(
        self, request: Request, call: Call, mark: str, make: Callable[[], Effect]
    ) -> Response:
        number = await self._read(lambda: self._ledger.arrive(call))
        plan = self._plan(request, call, number)
        honour_key = plan.honour_key and self._luck.honour_keys
        effect = make()
        if plan.slow_at == "before":
            await asyncio.sleep(plan.slow_ms / 1000)
        if (failure := _failure(plan, "before")) is not None:
            return failure
        answer = await self._read(
            lambda: self._ledger.perform(call, mark, effect, honour_key=honour_key)
        )
        if plan.slow_at == "after":
            await asyncio.sleep(plan.slow_ms / 1000)
        return _failure(plan, "after") or _reply(answer)

    def _plan(self, request: Request, call: Call, number: int) -> FaultPlan:
        rule = rule_from(request.query_params) or self._script.get(call.endpoint)
        if rule is not None:
            return rule.for_call(number)
        return self._luck.for_call(call.endpoint, call.order or call.subject, number)

    async def _read(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._books, work)


def create_app(path: Path, luck: Luck) -> Starlette:
    """The whole shop over one SQLite file."""
    shop = Shop(Ledger(path), luck)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        shop.close()

    routes = [
        Route("/stock/reservations/{id}", shop.release, methods=["DELETE"]),
        Route("/counters", shop.totals),
        Route("/counters/{key:path}", shop.counters),
        Route("/orders/{order:path}", shop.order),
        Route("/faults/{endpoint:path}", shop.set_faults, methods=["PUT"]),
        Route("/faults", shop.clear_faults, methods=["DELETE"]),
        Route("/healthz", shop.health),
    ]
    for endpoint in ENDPOINTS:
        path_ = f"/{endpoint.path}"
        routes.append(Route(path_, shop.poster(endpoint), methods=["POST"]))
        routes.append(Route(path_, shop.lister(endpoint.kind), methods=["GET"]))
        routes.append(Route(f"{path_}/{{id}}", shop.getter(endpoint.kind), methods=["GET"]))
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={RefusalError: _refused})


def _call(request: Request, endpoint: str, order: str | None) -> Call:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= _MAX_KEY_LENGTH and key.isprintable()):
        raise RefusalError(
            422, "INVALID_KEY", f"An Idempotency-Key has 1 to {_MAX_KEY_LENGTH} characters."
        )
    return Call(endpoint, key, order)


def _order_of(value: dict[str, Any]) -> str | None:
    order = value.get("order", value.get("charge"))
    return order if isinstance(order, str) else None


def _failure(plan: FaultPlan, moment: str) -> Response | None:
    if plan.reset == moment:
        return ConnectionReset()
    if plan.fail is not None and plan.fail_at == moment:
        headers = {} if plan.retry_after is None else {"Retry-After": str(plan.retry_after)}
        body = {"error": {"code": "FAILED_ON_PURPOSE", "message": "The shop fails on purpose."}}
        return JSONResponse(body, plan.fail, headers)
    return None


def _reply(answer: Answer) -> Response:
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else {}
    return JSONResponse(answer.body, answer.status, headers)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusalError):
        raise error
    return JSONResponse(error.as_json(), error.status)
