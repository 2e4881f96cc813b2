"""The outgoing HTTP session that all steps of a process share.

Called by connectors and users' steps through `context.services["http"]`. It promises that no call
goes where the egress rule forbids (each hop of a redirect is judged again, after DNS, and the
address that was judged is the one connected to), that no response fills the memory, that no cookie
or credential travels to another origin, and that each failure has a stable type and a kind.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from runtime.clock import Clock
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.transport.egress import EgressRule

SERVICE: Final = "http"
MIB: Final = 1_048_576
CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_BODY_HEADERS: Final = ("Content-Type", "Content-Encoding", "Content-Language", "Idempotency-Key")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER: Final = 303
_MOVED: Final = frozenset({301, 302})
_CHUNK: Final = 65_536
_DIGITS: Final = 12  # Of the seconds that somebody may ask us to wait: thirty thousand years.


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Sizes of the pool, and how long a connection may take."""

    connections: int = 256
    connections_per_host: int = 64
    connect_seconds: float = 10.0
    dns_cache_seconds: int = 10


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One call. `sensitive` names headers (lower case) that must not travel to another origin.

    With `body_is_sensitive` the body may not either: such a redirect is not followed.
    """

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout_seconds: float | None = 30.0
    max_bytes: int = MIB
    max_redirects: int = 5
    sensitive: frozenset[str] = CREDENTIALS
    body_is_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back; `truncated` when the body was longer than the call allowed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    truncated: bool
    url: URL
    charset: str | None


class HttpTransport:
    """One aiohttp session, made at the first call, closed with the process."""

    def __init__(
        self, egress: EgressRule, clock: Clock, *, limits: HttpLimits = HttpLimits()
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def call(self, call: HttpCall) -> HttpAnswer:
        """Make a call and follow its redirects; raises StepFailed unless an answer came."""
        try:
            async with asyncio.timeout(call.timeout_seconds):
                for hop in range(call.max_redirects + 1):
                    answer, target = await self._hop(call, last=hop == call.max_redirects)
                    if target is None:
                        return answer
                    call = _redirected(call, answer.status, target)
        except (aiohttp.ClientError, OSError, _RefusedError) as error:
            raise _failure(call, error) from error
        raise AssertionError  # The last hop always answers.

    def retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Seconds that a `Retry-After` header asks for, in either of its forms."""
        text = headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(min(int(text[: _DIGITS + 1]), 10**_DIGITS))
        try:
            when = parsedate_to_datetime(text)
            return max(0.0, (when - self._clock.now()).total_seconds())
        except (TypeError, ValueError):
            return None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _hop(self, call: HttpCall, *, last: bool) -> tuple[HttpAnswer, URL | None]:
        """One request; with the address to go on to, when it answered with a redirect."""
        host, port = call.url.raw_host or "", call.url.port or 0
        if self._egress.permits_literal(host, port) is False:
            raise _RefusedError(host)
        async with self._open_session().request(
            call.method,
            call.url,
            headers=call.headers,
            data=call.body,
            allow_redirects=False,
        ) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location and call.max_redirects:
                if last:
                    raise StepFailed(
                        f"{_name(call)} was redirected more than the allowed times.",
                        type="http.too_many_redirects",
                    )
                return _answer(response, b"", truncated=False), _target(call, location)
            body, truncated = await _read(response, call.max_bytes)
            return _answer(response, body, truncated=truncated), None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            limits = self._limits
            connector = aiohttp.TCPConnector(
                limit=limits.connections,
                limit_per_host=limits.connections_per_host,
                ttl_dns_cache=limits.dns_cache_seconds,
                resolver=_CheckedResolver(self._egress),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                connector_owner=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "maestro-composer"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds),
                trust_env=False,
            )
        return self._session


class _RefusedError(Exception):
    """The egress rule forbids every address of a host."""


class _CheckedResolver(AbstractResolver):
    """Resolves names and lets through only addresses that the rule permits.

    What it answers is numeric and is what the connection is made to; there is no second look-up.
    """

    def __init__(self, egress: EgressRule) -> None:
        self._egress = egress
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The permitted addresses of a name."""
        found = await self._inner.resolve(host, port, family)
        permitted = [
            result
            for result in found
            if self._egress.permits(host, port, ip_address(result["host"]))
        ]
        if found and not permitted:
            raise _RefusedError(host)
        return permitted

    async def close(self) -> None:
        """Nothing is held."""


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of the (decompressed) body, and whether there was more."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > limit:
            response.close()
            return b"".join(parts)[:limit], True
    return b"".join(parts), False


def _answer(response: aiohttp.ClientResponse, body: bytes, *, truncated: bool) -> HttpAnswer:
    return HttpAnswer(
        response.status, response.headers, body, truncated, response.url, response.charset
    )


def _target(call: HttpCall, location: str) -> URL:
    """Where a redirect leads; raises StepFailed when it may not be followed."""
    try:
        target = call.url.join(URL(location))
    except ValueError:
        target = URL()
    if target.scheme not in {"http", "https"} or not target.raw_host:
        raise StepFailed(
            f"{_name(call)} was redirected to something that is no HTTP address.",
            type="http.redirect_refused",
        )
    if call.url.scheme == "https" and target.scheme == "http":
        raise StepFailed(
            f"{_name(call)} was redirected from https to http; such a redirect is not followed.",
            type="http.redirect_refused",
        )
    return target.with_user(None) if target.raw_user is not None else target


def _redirected(call: HttpCall, status: int, target: URL) -> HttpCall:
    """The next call of a redirect by RFC 9110: method and body, and no secrets to strangers."""
    headers = CIMultiDict(call.headers)
    method, body = call.method, call.body
    turns = status == _SEE_OTHER and method != "HEAD"
    if turns or (status in _MOVED and method == "POST"):
        method, body = "GET", None
        for name in _BODY_HEADERS:
            headers.popall(name, None)
    if target.origin() != call.url.origin():
        if body is not None and call.body_is_sensitive:
            raise StepFailed(
                f"{_name(call)} was redirected to another origin, and its body holds a secret; such a redirect is not "
                "followed.",
                type="http.redirect_refused",
            )
        for name in [one for one in headers if one.lower() in call.sensitive]:
            headers.popall(name, None)
    return replace(call, method=method, url=target, headers=headers, body=body)


def _name(call: HttpCall) -> str:
    """The call in words, without query and fragment: those carry secrets more often than not."""
    return f"{call.method} {call.url.with_query(None).with_fragment(None).with_user(None)}"


def _failure(call: HttpCall, error: Exception) -> StepFailed:
    """What the engine understands; never with the query, which may hold a secret."""
    name = _name(call)
    match error:
        case aiohttp.InvalidURL():
            return StepFailed(f"{name}: that is no valid address.", type="http.url")
        case _RefusedError() | aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return _unsent(name, call.url.host or "", error)
        case TimeoutError():
            within = f"within {call.timeout_seconds:g} s" if call.timeout_seconds else "in time"
            return _timeout(f"{name}: no complete answer {within}.")
        case aiohttp.ClientResponseError():
            return _transient("http.protocol", f"{name}: the answer is not HTTP: {error.message}.")
        case _:
            return _transient("http.reset", f"{name}: the connection broke before the answer.")


def _unsent(name: str, host: str, error: Exception) -> StepFailed:
    """No connection: the other side can't have seen the call, so it is in no doubt."""
    match error:
        case _RefusedError():
            return StepFailed(
                f"{name}: the egress rule forbids {host}, because it is a private address. "
                "Whoever runs the workers may allow it by MC_EGRESS_ALLOW.",
                type="http.egress_denied",
                details={"host": host, "sent": False},
                uncertain=False,
            )
        case aiohttp.ClientConnectorDNSError():
            return _transient("http.dns", f"{name}: the name {host} can't be resolved.", sent=False)
        case aiohttp.ClientSSLError():
            return StepFailed(
                f"{name}: no trusted TLS connection: {error}.",
                type="http.tls",
                details={"host": host, "sent": False},
                uncertain=False,
            )
        case aiohttp.ClientConnectorError():
            text = f"{name}: no connection: {error.os_error.strerror or error.os_error}."
            return _transient("http.connect", text, sent=False)
        case _:
            return _timeout(f"{name}: no connection within the time allowed.", sent=False)


def _transient(type: str, message: str, *, sent: bool = True) -> StepFailed:
    return StepFailed(
        message,
        kind=StepErrorKind.TRANSIENT,
        type=type,
        details={"sent": sent},
        uncertain=sent,
    )


def _timeout(message: str, *, sent: bool = True) -> StepFailed:
    return StepFailed(
        message,
        kind=StepErrorKind.TIMEOUT,
        type="http.timeout",
        details={"sent": sent},
        uncertain=sent,
    )
