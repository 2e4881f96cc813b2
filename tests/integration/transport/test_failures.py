"""What http.request says when there is no answer, a bad one, or too much of one."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from runtime.clock import ManualClock
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.transport.egress import EgressRule
from runtime.transport.http import HttpCall, HttpLimits, HttpTransport
from tests.integration.transport.conftest import Call, Serve

Raw = Callable[[bytes | None], Awaitable[str]]


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    """Starts a server that reads a request and answers with these bytes; None: with a reset."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes | None) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                writer.transport.abort()
                return
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        host, port = server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def failure(call: Call, *args: Any, **options: Any) -> StepFailed:
    error = (await call(*args, **options)).error
    assert error is not None
    return error


async def closed_port() -> int:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_a_refused_connection_was_never_sent(call: Call):
    error = await failure(call, f"http://127.0.0.1:{await closed_port()}/p?key=secret")

    assert (error.type, error.kind) == ("http.connect", StepErrorKind.TRANSIENT)
    assert error.details == {"sent": False}
    assert "secret" not in error.message


async def test_a_name_that_does_not_exist_was_never_sent(call: Call):
    error = await failure(call, "http://no-such-host.invalid/")

    assert (error.type, error.kind) == ("http.dns", StepErrorKind.TRANSIENT)
    assert error.details == {"sent": False}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
async def test_a_connection_that_breaks_may_have_had_its_effect(
    raw: Raw, call: Call, answer: bytes | None
):
    error = await failure(call, await raw(answer), method="POST")

    assert (error.type, error.kind) == ("http.reset", StepErrorKind.TRANSIENT)
    assert error.details == {"sent": True}


@pytest.mark.parametrize(
    "answer",
    [b"220 smtp.example.org ESMTP\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"],
)
async def test_an_answer_that_is_no_http_is_said_to_be_so(raw: Raw, call: Call, answer: bytes):
    error = await failure(call, await raw(answer))

    assert (error.type, error.kind) == ("http.protocol", StepErrorKind.TRANSIENT)


@pytest.mark.parametrize("when", ["before the headers", "in the body"])
async def test_an_answer_that_takes_too_long_times_out(serve: Serve, call: Call, when: str):
    forever = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if when == "in the body":
            await response.prepare(request)
            await response.write(b"the beginning")
        await forever.wait()
        return response

    error = await failure(call, await serve(slow), timeout="100ms")

    assert (error.type, error.kind) == ("http.timeout", StepErrorKind.TIMEOUT)
    assert "0.1 s" in error.message
    assert error.details == {"sent": True}


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_response_over_the_limit_is_refused_by_name(
    serve: Serve, call: Call, chunked: bool
):
    async def large(request: web.Request) -> web.Response:
        response = web.Response(body=b"x" * 1_001)
        if chunked:
            response.enable_chunked_encoding()
        return response

    error = await failure(call, await serve(large), max_response_bytes=1_000)

    assert (error.type, error.kind) == ("http.response_too_large", StepErrorKind.PERMANENT)
    assert error.details == {"status": 200, "max_response_bytes": 1_000}


async def test_a_response_of_exactly_the_limit_is_accepted(serve: Serve, call: Call):
    async def exact(request: web.Request) -> web.Response:
        return web.Response(text="x" * 1_000)

    assert (await call(await serve(exact), max_response_bytes=1_000)).ok


async def test_a_small_response_that_unpacks_to_a_large_one_is_refused(serve: Serve, call: Call):
    packed = gzip.compress(b"\0" * 20_000_000)

    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    error = await failure(call, await serve(bomb))

    assert error.type == "http.response_too_large"


async def test_an_endless_response_is_cut_off(serve: Serve, call: Call):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            return response

    error = await failure(call, await serve(endless))

    assert error.type == "http.response_too_large"


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that nobody signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "server.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_certificate_that_is_not_trusted_is_a_permanent_failure(
    serve: Serve, call: Call, untrusted: ssl.SSLContext
):
    async def never(request: web.Request) -> web.Response:
        raise AssertionError

    error = await failure(call, await serve(never, ssl_context=untrusted))

    assert (error.type, error.kind) == ("http.tls", StepErrorKind.PERMANENT)


@pytest.mark.parametrize("host", ["127.0.0.2", "0.0.0.0", "[::1]", "2130706433"])
async def test_a_private_address_is_refused_before_anything_is_sent(call: Call, host: str):
    error = await failure(call, f"http://{host}:{await closed_port()}/")

    assert (error.type, error.kind) == ("http.egress_denied", StepErrorKind.PERMANENT)
    assert error.details == {"host": host.strip("[]"), "sent": False}


async def test_a_name_is_judged_by_what_it_resolves_to(serve: Serve):
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    port = URL(await serve(hello)).port
    by_address = HttpTransport(EgressRule(["127.0.0.0/8"]), ManualClock())
    by_name = HttpTransport(EgressRule([f"localhost:{port}"]), ManualClock())

    nothing = HttpTransport(EgressRule(), ManualClock())

    with pytest.raises(StepFailed, match="the egress rule forbids localhost"):
        await nothing.call(HttpCall("GET", URL(f"http://localhost:{port}/")))
    await nothing.close()
    for transport in (by_address, by_name):
        answer = await transport.call(HttpCall("GET", URL(f"http://localhost:{port}/")))
        assert answer.body == b"hello"
        await transport.close()


async def test_calls_share_connections_and_wait_for_a_free_one(serve: Serve):
    peers: list[Any] = []

    async def peer(request: web.Request) -> web.Response:
        peers.append(request.transport.get_extra_info("peername") if request.transport else None)
        return web.Response()

    transport = HttpTransport(
        EgressRule(["127.0.0.1"]), ManualClock(), limits=HttpLimits(connections_per_host=1)
    )
    one = HttpCall("GET", URL(await serve(peer)))

    await asyncio.gather(*(transport.call(one) for _ in range(5)))
    await transport.close()

    assert len(peers) == 5
    assert len(set(peers)) == 1
