"""http.request finds out whether a call was made."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from maestro.testing import make_context
from runtime.connectors.http_request import HttpRequest
from runtime.connectors.invoke import look_up
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.execution import Verdict
from runtime.transport.http import HttpTransport
from tests.integration.transport.conftest import Serve


async def ask(transport: HttpTransport, url: str, **more: Any) -> tuple[Verdict, Any]:
    context = make_context(services={"http": transport}, idempotency_key="key-1")
    question = {"url": f"{url}/orders/7", "after": "0s", **more}
    call: Any = {"method": "POST", "url": url, "auth": {"bearer": "t"}, "look_up": question}
    return await look_up(HttpRequest(), context, call)


async def test_what_was_made_is_the_output_and_the_key_is_sent(
    serve: Serve, transport: HttpTransport
):
    async def answer(request: web.Request) -> web.Response:
        seen = (request.method, request.path, request.headers["Idempotency-Key"])
        return web.json_response({"seen": [*seen, request.headers["Authorization"]]})

    verdict, output = await ask(transport, await serve(answer))

    assert verdict is Verdict.MADE
    assert output["json"] == {"seen": ["GET", "/orders/7", "key-1", "Bearer t"]}


@pytest.mark.parametrize(
    ("status", "more", "verdict"),
    [
        (404, {}, Verdict.NOT_MADE),
        (410, {}, Verdict.UNKNOWN),
        (410, {"not_made": [404, 410]}, Verdict.NOT_MADE),
        (403, {}, Verdict.UNKNOWN),
        (404, {"not_made": [410], "made": [404]}, Verdict.MADE),
    ],
)
async def test_the_status_says_whether_it_was_made(
    serve: Serve, transport: HttpTransport, status: int, more: dict[str, Any], verdict: Verdict
):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    assert (await ask(transport, await serve(answer), **more))[0] is verdict


async def test_a_busy_server_is_asked_again(serve: Serve, transport: HttpTransport):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500)

    with pytest.raises(StepFailed) as failed:
        await ask(transport, await serve(answer))

    assert failed.value.kind is StepErrorKind.TRANSIENT


async def test_without_an_address_nobody_knows(transport: HttpTransport):
    context = make_context(services={"http": transport})

    found = await look_up(HttpRequest(), context, {"method": "POST", "url": "http://127.0.0.1:9"})

    assert found == (Verdict.UNKNOWN, None)
