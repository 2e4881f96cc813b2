"""http.request against real servers: what it sends, and what it makes of what comes back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp import web

from runtime.secrets.masker import Masker
from tests.integration.transport.conftest import Call, Serve

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


async def echo(request: web.Request) -> web.Response:
    """Tell what was sent."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": await request.text(),
        }
    )


def answering(*args: Any, **options: Any) -> Any:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(*args, **options)

    return handler


async def sent(serve: Serve, call: Call, **input: Any) -> dict[str, Any]:
    result = await call(await serve(echo) + input.pop("path", ""), **input)
    output: Any = result.unwrap()
    found: dict[str, Any] = output["json"]
    return found


@pytest.mark.parametrize(
    ("body", "text", "content_type"),
    [
        ({"json": {"a": [1, "ü"]}}, '{"a":[1,"ü"]}', "application/json"),
        ({"json": None}, "null", "application/json"),
        ({"body": "plain ü"}, "plain ü", "text/plain; charset=utf-8"),
        (
            {"form": {"a b": "1&2", "c": [1, True]}},
            "a+b=1%262&c=1&c=true",
            "application/x-www-form-urlencoded",
        ),
    ],
)
async def test_a_body_is_sent_with_its_type(
    serve: Serve, call: Call, body: dict[str, Any], text: str, content_type: str
):
    found = await sent(serve, call, method="POST", **body)

    assert (found["body"], found["headers"]["content-type"]) == (text, content_type)


async def test_query_and_headers_are_added_to_those_of_the_address(serve: Serve, call: Call):
    found = await sent(
        serve, call, path="/p?x=1", query={"y": ["a b", 2], "z": True}, headers={"X-N": 5}
    )

    assert found["path"] == "/p?x=1&y=a+b&y=2&z=true"
    assert found["headers"]["x-n"] == "5"


async def test_headers_of_the_step_win_over_ours(serve: Serve, call: Call):
    mine = {"content-type": "application/vnd.mine+json", "idempotency-key": "mine"}

    found = await sent(serve, call, method="POST", json={}, headers=mine)

    assert {name: found["headers"][name] for name in mine} == mine


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"bearer": "abc"}, "Bearer abc"),
        (
            {"basic": {"username": "u", "password": "pä"}},
            "Basic " + base64.b64encode("u:pä".encode()).decode(),
        ),
    ],
)
async def test_authentication_is_a_header(serve: Serve, call: Call, auth: Any, header: str):
    found = await sent(serve, call, auth=auth)

    assert found["headers"]["authorization"] == header


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_idempotency_key_is_the_same_with_every_attempt(
    serve: Serve, call: Call, method: str
):
    keys = {
        (
            await sent(
                serve, call, method=method, context={"attempt": attempt, "idempotency_key": "k"}
            )
        )["headers"]["idempotency-key"]
        for attempt in (1, 2, 3)
    }

    assert keys == {"k"}


async def test_a_call_that_changes_nothing_carries_no_key(serve: Serve, call: Call):
    assert "idempotency-key" not in (await sent(serve, call))["headers"]


async def test_the_trace_goes_on_at_the_other_side(serve: Serve, call: Call):
    found = await sent(serve, call, context={"trace_headers": TRACE})

    assert found["headers"]["traceparent"] == TRACE["traceparent"]


async def test_no_cookie_of_one_call_is_sent_with_another(serve: Serve, call: Call):
    async def handler(request: web.Request) -> web.Response:
        response = web.json_response(dict(request.cookies))
        response.set_cookie("session", "of-another-tenant")
        return response

    url = await serve(handler)

    answers = [(await call(url)).unwrap() for _ in range(2)]
    assert [answer["json"] for answer in answers] == [{}, {}]  # type: ignore[index, call-overload]  # JSON


@pytest.mark.parametrize(
    ("options", "mode", "field", "value"),
    [
        ({"text": '{"a": 1}', "content_type": "application/json"}, "auto", "json", {"a": 1}),
        ({"text": "[1]", "content_type": "application/problem+json"}, "auto", "json", [1]),
        ({"text": '{"a": 1}', "content_type": "text/plain"}, "auto", "text", '{"a": 1}'),
        ({"text": '{"a": 1}', "content_type": "text/plain"}, "json", "json", {"a": 1}),
        ({"text": "[1]", "content_type": "application/json"}, "text", "text", "[1]"),
        (
            {"body": "ü".encode("latin-1"), "content_type": "text/plain", "charset": "latin-1"},
            "auto",
            "text",
            "ü",
        ),
        ({"body": b"\xff\xfe\x00"}, "auto", "base64", "//4A"),
        ({"body": b"a\x00b", "content_type": "text/plain"}, "auto", "base64", "YQBi"),
        (
            {"body": b"x", "headers": {"Content-Type": "text/plain; charset=nonsense"}},
            "auto",
            "base64",
            "eA==",
        ),
    ],
)
async def test_a_response_is_read_by_its_type(
    serve: Serve, call: Call, options: Any, mode: str, field: str, value: Any
):
    output: Any = (await call(await serve(answering(**options)), response=mode)).unwrap()

    found = {name: output[name] for name in ("json", "text", "base64")}
    assert found == {"json": None, "text": None, "base64": None} | {field: value}


async def test_status_headers_and_address_are_part_of_the_output(serve: Serve, call: Call):
    url = await serve(answering(status=201, headers={"X-Id": "7"})) + "/made"

    output: Any = (await call(url)).unwrap()

    assert (output["status"], output["headers"]["x-id"], output["url"]) == (201, "7", url)
    assert (output["json"], output["text"]) == (None, None)


@pytest.mark.parametrize("expected", [[404], ["4xx"], ["2xx", 404]])
async def test_a_status_is_a_success_when_the_step_expects_it(
    serve: Serve, call: Call, expected: Any
):
    output: Any = (
        await call(await serve(answering(status=404)), expected_status=expected)
    ).unwrap()

    assert output["status"] == 404


async def test_a_status_that_is_not_expected_fails_even_when_it_is_a_2xx(serve: Serve, call: Call):
    error = (await call(await serve(answering(status=202)), expected_status=[200])).error

    assert error is not None
    assert (error.type, error.kind) == ("http.status", "permanent")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (400, {}, "permanent", None),
        (401, {}, "permanent", None),
        (403, {"Retry-After": "5"}, "permanent", 5.0),
        (408, {}, "transient", None),
        (425, {}, "transient", None),
        (429, {}, "throttled", None),
        (429, {"Retry-After": "7"}, "throttled", 7.0),
        (429, {"Retry-After": "Thu, 01 Jan 2026 00:01:30 GMT"}, "throttled", 90.0),
        (429, {"Retry-After": "Wed, 31 Dec 2025 00:00:00 GMT"}, "throttled", 0.0),
        (429, {"Retry-After": "soon"}, "throttled", None),
        (429, {"Retry-After": "9" * 400}, "throttled", 1e12),
        (500, {}, "transient", None),
        (502, {"Retry-After": "5"}, "transient", 5.0),
        (503, {}, "transient", None),
        (503, {"Retry-After": "2"}, "throttled", 2.0),
    ],
)
async def test_a_status_says_whether_to_try_again(
    serve: Serve,
    call: Call,
    status: int,
    headers: dict[str, str],
    kind: str,
    retry_after: float | None,
):
    url = await serve(answering(status=status, headers=headers, text="why"))

    error = (await call(url)).error

    assert error is not None
    assert (error.type, error.kind, error.retry_after) == ("http.status", kind, retry_after)
    assert error.details == {"status": status, "body": "why"}


@pytest.mark.parametrize(
    ("status", "uncertain"),
    [(500, None), (502, True), (503, None), (504, True), (522, True), (408, None)],
)
async def test_what_a_gateway_says_leaves_open_whether_the_call_was_made(
    serve: Serve, call: Call, status: int, uncertain: bool | None
):
    """RFC 9110, 15.6.3 and 15.6.5: it acted for a system that may have had the request."""
    error = (await call(await serve(answering(status=status)), method="POST")).error

    assert error is not None
    assert error.uncertain is uncertain


async def test_the_error_shows_the_beginning_of_a_long_body(serve: Serve, call: Call):
    error = (await call(await serve(answering(status=500, text="x" * 9_000)))).error

    assert error is not None
    assert error.details == {"status": 500, "body": "x" * 2_048}


async def test_no_part_of_a_secret_is_left_at_the_cut_of_a_long_body(serve: Serve, call: Call):
    url = await serve(answering(status=500, text="x" * 2_040 + "hunter2-hunter2"))

    error = (await call(url, context={"mask": Masker(["hunter2-hunter2"]).mask})).error

    assert error is not None
    assert error.details == {"status": 500, "body": "x" * 2_040 + "***"}


async def test_secrets_that_a_server_sends_back_are_masked(serve: Serve, call: Call):
    result = await call(
        await serve(echo),
        auth={"basic": {"username": "me", "password": "hunter2-hunter2"}},
        query={"key": "hunter2-hunter2"},
        context={"mask": Masker(["hunter2-hunter2"]).mask},
    )

    assert "hunter2" not in repr(result)
    assert base64.b64encode(b"hunter2").decode()[:8] not in repr(result)


async def test_json_that_is_none_is_a_failure_by_name(serve: Serve, call: Call):
    url = await serve(answering(text="<html>", content_type="application/json"))

    error = (await call(url)).error

    assert error is not None
    assert (error.type, error.kind) == ("http.response_invalid", "permanent")


@pytest.mark.parametrize(
    ("input", "path"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "/relative"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://u:p@x"}, "url"),
        ({"method": "TRACE"}, "method"),
        ({"headers": {"Host": "other"}}, "headers"),
        ({"headers": {"Content-Length": "1"}}, "headers"),
        ({"headers": {"a b": "1"}}, "headers"),
        ({"headers": {"a": "1\r\nX: 2"}}, "headers"),
        ({"auth": {}}, "auth"),
        ({"auth": {"bearer": "a", "basic": {"username": "a", "password": "b"}}}, "auth"),
        ({"expected_status": ["ok"]}, "expected_status"),
        ({"expected_status": []}, "expected_status"),
        ({"max_redirects": 6}, "max_redirects"),
        ({"timeout": "soon"}, "timeout"),
        ({"json": 1, "body": "x"}, "write one of json and body"),
        ({"cookies": {}}, "cookies"),
    ],
)
async def test_an_input_that_can_not_be_sent_is_refused_by_field(
    call: Call, input: dict[str, Any], path: str
):
    error = (await call(**{"url": "http://127.0.0.1:9", **input})).error

    assert error is not None
    assert error.type == "input.invalid"
    assert path in error.message
