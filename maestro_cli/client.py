"""One-shot GraphQL over the standard library's HTTP client: no aiohttp, no gql, so that a verb starts quickly."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from maestro_cli.errors import CliError, Finding, Place
from maestro_cli.options import Options
from maestro_cli.servers import Server, get_server
from maestro_cli.words import told, typed

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
# A socket's patience is counted in milliseconds of 32 bits.
_LONGEST_REQUEST_SECONDS: Final = 86_400.0
# What to type when the server says why not.
_HINTS: Final = {
    "VERSION_TOO_SMALL": (
        "give a higher --version or --bump (a file that says its `version` has to be changed), "
        "or publish it all the same with --yes"
    ),
    "VERSION_NOT_DEPRECATED": "`mc workflows deprecate NAME@VERSION` does that",
    "WORKFLOW_PUBLISHED": "`mc workflows archive NAME` ends it",
}
_OPERATIONS: Final = Path(__file__).parent / "operations"


def operation(name: str) -> str:
    """The text of `operations/<name>.graphql`."""
    return (_OPERATIONS / f"{name}.graphql").read_text(encoding="utf-8")


class Client:
    """Sends operations to one server."""

    def __init__(self, server: Server, options: Options) -> None:
        self.server = server
        self._options = options
        self._timeout = min(options.timeout or DEFAULT_TIMEOUT_SECONDS, _LONGEST_REQUEST_SECONDS)

    @classmethod
    def of(cls, options: Options) -> Client:
        """A client of the server that flags, environment, profile or the local `mc dev` name."""
        return cls(get_server(options), options)

    @property
    def headers(self) -> dict[str, str]:
        """Token and purpose, as every request carries them."""
        headers = {"Accept": "application/graphql-response+json, application/json"}
        if self.server.token:
            headers["Authorization"] = f"Bearer {self.server.token}"
        if self._options.purpose:
            headers["x-purpose"] = self._options.purpose
        return headers

    def run(self, name: str, /, **variables: Any) -> dict[str, Any]:
        """Run one of our operations; its data, or a CliError in the words of the command line.

        What is None was not given, and is left out; so it is in a mutation's one argument, `input`.
        """
        given = {k: _given(v) if k == "input" else v for k, v in _given(variables).items()}
        return self._data(self.post(operation(name), given, label=name), refusal_of)

    def send(
        self, query: str, variables: Mapping[str, Any], *, label: str = "operation"
    ) -> dict[str, Any]:
        """Send an operation; its data, or a CliError."""
        return self._data(self.post(query, variables, label=label), failure_of)

    def _data(
        self,
        answer: Mapping[str, Any],
        failed: Callable[[Sequence[Mapping[str, Any]]], CliError],
    ) -> dict[str, Any]:
        if answer.get("errors"):
            if self._options.verbose > 1:
                print(f"< {json.dumps(answer['errors'])}", file=sys.stderr)
            raise failed(answer["errors"])
        data: dict[str, Any] = answer.get("data") or {}
        return data

    def post(
        self, query: str, variables: Mapping[str, Any], *, label: str = "operation"
    ) -> dict[str, Any]:
        """Send an operation; the whole answer, errors included. Raises CliError when there is none."""
        if self._options.verbose:
            shown = f" {json.dumps(dict(variables))}" if self._options.verbose > 1 else ""
            print(f"> {label} {self.server.graphql_url}{shown}", file=sys.stderr)
        started = monotonic()
        status, headers, body = self._request(
            json.dumps({"query": query, "variables": variables}).encode()
        )
        if self._options.verbose:
            print(
                f"< {status} {len(body)} bytes in {round((monotonic() - started) * 1000)} ms",
                file=sys.stderr,
            )
        return self._answer(status, headers, body)

    def get(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """A plain GET of the server, e.g. `/readyz`: status, headers, body."""
        return self._request(None, method="GET", path=path)

    def _request(
        self, body: bytes | None, *, method: str = "POST", path: str | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        target = urlsplit(self.server.graphql_url if path is None else self.server.url + path)
        headers = {
            **self.headers,
            **({"Content-Type": "application/json"} if body is not None else {}),
        }
        connection = self._connect(target.scheme, target.hostname or "", target.port)
        try:
            with self._in_words():
                connection.request(method, target.path or "/", body, headers)
                response = connection.getresponse()
                return response.status, response.headers, response.read()
        finally:
            connection.close()

    @contextmanager
    def opened(self, path: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """A GET whose body the caller reads; what breaks then is the caller's."""
        if self._options.verbose:
            print(f"> GET {self.server.url}{path}", file=sys.stderr)
        target = urlsplit(self.server.url + path)
        connection = self._connect(target.scheme, target.hostname or "", target.port)
        try:
            with self._in_words():
                connection.request("GET", target.path, None, {**self.headers, **headers})
                response = connection.getresponse()
            yield response
        finally:
            connection.close()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Whatever keeps a server from answering, as a CliError."""
        try:
            yield
        except TimeoutError as error:
            raise CliError(
                f"{self.server.url} did not answer within {self._timeout:g} s.",
                code="TIMED_OUT",
                hint="give it longer with --timeout",
            ) from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise CliError(
                f"{self.server.url} can't be reached: {_reason(error)}.",
                code="UNAVAILABLE",
                reason="UNREACHABLE",
                hint=f"the address comes from {self.server.origin}; is the server up?",
            ) from error

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _answer(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and ("data" in answer or "errors" in answer):
            return answer
        if isinstance(answer, dict) and "code" in answer:
            raise _problem(answer, status)
        kind = headers.get("Content-Type", "nothing")
        raise CliError(
            f"{self.server.graphql_url} answered {status} with {kind}: this is no GraphQL server.",
            code="UNAVAILABLE",
            hint=f"the address comes from {self.server.origin}",
        )

    def refusal(self, response: http.client.HTTPResponse) -> CliError:
        """The failure that the answer to a GET tells."""
        try:
            answer = json.loads(response.read())
        except (ValueError, OSError, http.client.HTTPException):
            answer = None
        if isinstance(answer, dict) and "code" in answer:
            return _problem(answer, response.status)
        kind = response.headers.get("Content-Type", "nothing")
        return CliError(
            f"{self.server.url} answered {response.status} with {kind}: this is no Maestro Composer.",
            code="UNAVAILABLE",
            hint=f"the address comes from {self.server.origin}",
        )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _problem(answer: Mapping[str, Any], status: int) -> CliError:
    return CliError(
        str(answer.get("detail") or answer.get("title") or f"HTTP {status}"),
        code=str(answer["code"]),
        reason=answer.get("reason"),
        hint=_hint(str(answer["code"])),
    )


def failure_of(errors: Sequence[Mapping[str, Any]]) -> CliError:
    """The CLI's error for the `errors` of the answer to a document that a person wrote."""
    findings = [Finding(str(error.get("message")), code=_code(error)) for error in errors]
    return _failure(errors[0], findings)


def refusal_of(errors: Sequence[Mapping[str, Any]]) -> CliError:
    """The same for an operation of ours: in the words of the command line, since nobody typed any of the graph's."""
    return _failure(errors[0], [told(error) for error in errors])


def _failure(error: Mapping[str, Any], findings: Sequence[Finding]) -> CliError:
    extensions, code = error.get("extensions") or {}, _code(error)
    return CliError(
        findings[0].message,
        code=code,
        reason=extensions.get("reason"),
        findings=findings if len(findings) > 1 or findings[0].path else (),
        hint=_hint(code),
        trace=extensions.get("trace_id"),
    )


def _code(error: Mapping[str, Any]) -> str:
    return str((error.get("extensions") or {}).get("code") or "INTERNAL")


def check_payload(payload: Mapping[str, Any], *, file: str | None = None) -> None:
    """Raise what a mutation refused as data: `errors` of its payload."""
    errors = payload.get("errors") or []
    if not errors:
        return
    findings = [_finding(error, file) for error in errors]
    first = errors[0]
    if len(findings) > 1:
        message, shown = f"{len(findings)} things are wrong.", findings
    else:
        message, shown = first["message"], [f for f in findings if f.place or f.path]
    raise CliError(
        message,
        code=first["code"],
        reason=first.get("reason"),
        findings=shown,
        hint=_hint(first["code"], first.get("reason")),
    )


def _finding(error: Mapping[str, Any], file: str | None) -> Finding:
    line = error.get("line")
    path = tuple(error.get("path") or ())
    return Finding(
        error["message"],
        code=error.get("code"),
        rule=error.get("rule"),
        severity=str(error.get("severity") or "error").lower(),
        path=typed(path),
        place=Place(file, line, error.get("column")) if file and line else None,
        hint=error.get("hint"),
    )


def _hint(code: str, reason: str | None = None) -> str | None:
    if code == "UNAUTHENTICATED":
        return "give a valid token with --token or MC_TOKEN; `mc token create` makes one for a local server"
    return _HINTS.get(reason or "")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    return str(error) or type(error).__name__
