"""Redirects are followed by the rules of HTTP, judged again at each hop, and carry no secrets away."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from runtime.model.errors import StepErrorKind
from runtime.secrets.masker import Masker
from tests.integration.transport.conftest import Call, Serve
from tests.integration.transport.test_http_request import echo


def leading(to: str, status: int = 302) -> Any:
    """Answers everything with a redirect, but tells what arrives at /end."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/end":
            return await echo(request)
        return web.Response(status=status, headers={"Location": to})

    return handler


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_the_status_says_which_method_goes_on(
    serve: Serve, call: Call, status: int, method: str, becomes: str
):
    body = {} if method == "GET" else {"json": {"a": 1}}
    url = await serve(leading("/end", status))

    output: Any = (await call(url, method=method, **body)).unwrap()

    arrived = output["json"]
    assert output["url"] == url + "/end"
    assert arrived["method"] == becomes
    assert (arrived["body"] == '{"a":1}') is (becomes != "GET")
    assert ("idempotency-key" in arrived["headers"]) is (becomes != "GET")


@pytest.mark.parametrize("where", ["http://127.0.0.2:1/", "http://[::1]:1/"])
async def test_a_redirect_to_a_private_address_is_refused(serve: Serve, call: Call, where: str):
    error = (await call(await serve(leading(where)))).error

    assert error is not None
    assert (error.type, error.kind) == ("http.egress_denied", StepErrorKind.PERMANENT)


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://["])
async def test_a_redirect_to_something_else_is_refused(serve: Serve, call: Call, where: str):
    error = (await call(await serve(leading(where)))).error

    assert error is not None
    assert error.type == "http.redirect_refused"


async def test_redirects_in_a_circle_end(serve: Serve, call: Call):
    hops = 0

    async def round_and_round(request: web.Request) -> web.Response:
        nonlocal hops
        hops += 1
        raise web.HTTPFound("/again")

    error = (await call(await serve(round_and_round))).error

    assert error is not None
    assert (error.type, error.kind) == ("http.too_many_redirects", StepErrorKind.PERMANENT)
    assert hops == 6


async def test_a_step_may_follow_none_and_see_the_redirect(serve: Serve, call: Call):
    result = await call(await serve(leading("/end")), max_redirects=0, expected_status=["3xx"])

    output: Any = result.unwrap()
    assert (output["status"], output["headers"]["location"]) == (302, "/end")


async def with_secrets(serve: Serve, call: Call, to: str) -> dict[str, str]:
    """The headers that arrive at the end of a redirect."""
    result = await call(
        await serve(leading(to, 307)),
        method="POST",
        auth={"bearer": "token-1234"},
        headers={"Cookie": "a=b", "X-Api-Key": "hunter2-hunter2", "X-Plain": "plain"},
        context={"mask": Masker(["hunter2-hunter2"]).mask},
    )
    output: Any = result.unwrap()
    headers: dict[str, str] = output["json"]["headers"]
    return headers


async def test_credentials_do_not_travel_to_another_origin(serve: Serve, call: Call):
    arrived = await with_secrets(serve, call, await serve(leading("/")) + "/end")

    assert arrived["x-plain"] == "plain"
    assert not {"authorization", "cookie", "x-api-key"} & set(arrived)


@pytest.mark.parametrize(
    "body", [{"json": {"key": ["hunter2-hunter2"]}}, {"form": {"key": "hunter2-hunter2"}}, {"body": "k=hunter2-hunter2"}]
)  # fmt: skip
async def test_a_body_with_a_secret_does_not_travel_to_another_origin(
    serve: Serve, call: Call, body: dict[str, Any]
):
    context = {"mask": Masker(["hunter2-hunter2"]).mask}
    elsewhere = await serve(leading("/")) + "/end"
    given = {"method": "POST", "context": context, **body}

    refused = (await call(await serve(leading(elsewhere, 307)), **given)).error
    turned = (await call(await serve(leading(elsewhere, 303)), **given)).error
    within = (await call(await serve(leading("/end", 307)), **given)).error

    assert refused is not None
    assert (refused.type, turned, within) == ("http.redirect_refused", None, None)


async def test_credentials_stay_within_their_origin(serve: Serve, call: Call):
    arrived = await with_secrets(serve, call, "/end")

    assert {"authorization", "cookie", "x-api-key", "x-plain"} <= set(arrived)


async def test_name_and_password_in_a_redirect_are_ignored(serve: Serve, call: Call):
    other = (await serve(leading("/"))).replace("http://", "http://user:pass@")

    output: Any = (await call(await serve(leading(other + "/end")))).unwrap()

    assert "authorization" not in output["json"]["headers"]
    assert "pass" not in output["url"]
