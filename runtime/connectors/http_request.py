"""http.request: one HTTP call over the session that all steps share.

What a second call would do follows from the method, unless the workflow's step declares it: GET,
HEAD and OPTIONS are pure, PUT and DELETE idempotent, POST and PATCH at most once. Calls that may
change something carry the step's `Idempotency-Key`, the same one with every attempt.

Error types, stable: http.status, http.timeout, http.connect, http.dns, http.tls, http.reset,
http.protocol, http.url, http.egress_denied, http.redirect_refused, http.too_many_redirects,
http.response_too_large, http.response_invalid.
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

import orjson
from multidict import CIMultiDict
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from yarl import URL

from runtime.abi.connector import Connector, NotMade, StepContext, Unknown
from runtime.abi.fields import DurationField
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import Effect
from runtime.model.values import Duration
from runtime.transport.http import CREDENTIALS, MIB, SERVICE, HttpAnswer, HttpCall, HttpTransport

_PURE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_IDEMPOTENT: Final = frozenset({"PUT", "DELETE"})
_TRANSIENT: Final = frozenset({408, 425})
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_SERVER_ERROR: Final = 500
# Said by a gateway, of a request that it may have passed on (RFC 9110, 15.6.3 and 15.6.5; 520 to 524 are Cloudflare's).
_BY_A_GATEWAY: Final = frozenset({502, 504, *range(520, 525)})
_DEFAULT_SECONDS: Final = 30.0
_BODY_IN_ERROR: Final = 2_048
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


Scalar: TypeAlias = str | int | float | bool


def _text(value: Scalar) -> str:
    """As JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _header_value(value: Scalar) -> str:
    text = _text(value)
    if any(ord(char) < ord(" ") and char != "\t" for char in text) or "\x7f" in text:
        raise ValueError("a header value may hold no control characters")
    return text


HeaderValue = Annotated[Scalar, AfterValidator(_header_value)]
StatusRange = Annotated[str, Field(pattern=r"^[1-5]xx$")]
Statuses: TypeAlias = list[Annotated[int, Field(ge=100, le=599)] | StatusRange]
Method = Annotated[
    Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class Basic(BaseModel):
    """A name and a password."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(description="The name.")
    password: str = Field(description="The password; a secret.")


class Auth(BaseModel):
    """How the call proves who makes it: one of the two."""

    model_config = ConfigDict(extra="forbid")

    bearer: str | None = Field(None, description="A token, sent as `Authorization: Bearer`.")
    basic: Basic | None = Field(None, description="Sent as `Authorization: Basic`.")

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if (self.bearer is None) == (self.basic is None):
            raise ValueError("write either bearer or basic")
        return self

    def header(self) -> str:
        """The value of the Authorization header."""
        if self.basic is None:
            return f"Bearer {self.bearer}"
        pair = f"{self.basic.username}:{self.basic.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


def _web_address(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise ValueError("write an address that begins with http:// or https://")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("write name and password into auth.basic, not into the address")
    return text


def _header_names(headers: dict[str, Scalar]) -> dict[str, Scalar]:
    for name in headers:
        if not _TOKEN.match(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is written by the connector itself")
    return headers


Address: TypeAlias = Annotated[str, Field(max_length=8_192), AfterValidator(_web_address)]
Headers: TypeAlias = Annotated[dict[str, HeaderValue], AfterValidator(_header_names)]


class HttpLookUp(BaseModel):
    """How to find out whether a call was made: a GET that carries its Idempotency-Key."""

    model_config = ConfigDict(extra="forbid")

    url: Address = Field(description="Where to ask: http:// or https://.")
    headers: Headers = Field({}, description="Headers to send.")
    query: dict[str, Scalar | list[Scalar]] = Field({}, description="Added to the address.")
    auth: Auth | None = Field(None, description="Authentication; that of the call if absent.")
    made: Statuses = Field(
        ["2xx"], min_length=1, description="It was made; the answer is the output of the step."
    )
    not_made: Statuses = Field(
        [404], description="It was not made, and is not under way any more: it may be made again."
    )
    after: DurationField = Field(
        Duration(5_000),
        validate_default=True,
        description="How long to wait before asking, so that a call on its way has arrived.",
    )


class HttpRequestInput(BaseModel):
    """The call."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    method: Method = Field("GET", description="The HTTP method.")
    url: Address = Field(description="The address: http:// or https://.")
    headers: Headers = Field({}, description="Headers to send.")
    query: dict[str, Scalar | list[Scalar]] = Field({}, description="Added to the address.")
    json_body: Any = Field(None, alias="json", description="A JSON body.")
    body: str | None = Field(None, description="A text body.")
    form: dict[str, Scalar | list[Scalar]] | None = Field(None, description="A form as the body.")
    auth: Auth | None = Field(None, description="Bearer or basic authentication.")
    expected_status: Statuses = Field(
        ["2xx"], min_length=1, description="Statuses that count as success: 200, 404, 2xx."
    )
    response: Literal["auto", "json", "text"] = Field(
        "auto", description="How to read the body; auto follows the Content-Type."
    )
    max_redirects: int = Field(5, ge=0, le=5, description="Redirects to follow; 0 follows none.")
    max_response_bytes: int = Field(
        MIB, ge=1, le=16 * MIB, description="The largest response that is accepted."
    )
    timeout: DurationField | None = Field(
        None, description="For the whole call; default: the step's timeout, else 30 s."
    )
    look_up: HttpLookUp | None = Field(
        None, description="How to find out whether the call was made, when that is in doubt."
    )

    @model_validator(mode="after")
    def _one_body(self) -> HttpRequestInput:
        bodies = [name for name in ("json", "body", "form") if self.has(name)]
        if len(bodies) > 1:
            raise ValueError(f"write one of {' and '.join(bodies)}")
        return self

    def has(self, name: str) -> bool:
        """Whether one of the three bodies was written; a JSON body may be null."""
        return (
            "json_body" in self.model_fields_set
            if name == "json"
            else bool(getattr(self, name) is not None)
        )


class HttpRequestOutput(BaseModel):
    """The response."""

    model_config = ConfigDict(populate_by_name=True)

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="The headers, their names in lower case.")
    json_body: Any = Field(None, alias="json", description="The body, when it is JSON.")
    text: str | None = Field(None, description="The body, when it is other text.")
    base64: str | None = Field(None, description="The body, when it is no text.")
    url: str = Field(description="The address that answered, after redirects.")


class HttpRequest(Connector):
    """One HTTP call."""

    name = "http.request"
    version = "1.0.0"
    summary = "Call an HTTP address."
    effect_class = None
    Input = HttpRequestInput
    Output = HttpRequestOutput

    def effect(self, input: HttpRequestInput) -> Effect:
        """By method: what RFC 9110 promises of it."""
        if input.method in _PURE:
            return Effect.PURE
        return Effect.IDEMPOTENT if input.method in _IDEMPOTENT else Effect.AT_MOST_ONCE

    def target(self, input: HttpRequestInput) -> str:
        """Scheme, host and port."""
        return str(URL(input.url).origin())

    async def execute(self, context: StepContext, input: HttpRequestInput) -> HttpRequestOutput:
        """Make the call; an unexpected status is a failure of the step."""
        transport = _transport(context)
        answer = await transport.call(_call(context, input))
        if not _is_expected(answer.status, input.expected_status):
            raise _status_error(context, transport, input, answer)
        if answer.truncated:
            raise StepFailed(
                f"The response is larger than the {input.max_response_bytes} bytes that this step "
                "accepts; raise max_response_bytes or ask for less.",
                type="http.response_too_large",
                details={"status": answer.status, "max_response_bytes": input.max_response_bytes},
            )
        return _output(input, answer)

    async def look_up(
        self, context: StepContext, input: HttpRequestInput
    ) -> HttpRequestOutput | NotMade | Unknown:
        """Ask the address that the step names; without one nobody knows."""
        look_up = input.look_up
        if look_up is None:
            return Unknown()
        await asyncio.sleep(look_up.after.seconds)
        transport = _transport(context)
        question = _question(input, look_up, context.idempotency_key)
        answer = await transport.call(_call(context, question))
        if _is_expected(answer.status, look_up.not_made):
            return NotMade()
        if _is_expected(answer.status, look_up.made):
            return Unknown() if answer.truncated else _output(question, answer)
        error = _status_error(context, transport, question, answer)
        if error.kind is StepErrorKind.PERMANENT:
            return Unknown()
        raise error


def _transport(context: StepContext) -> HttpTransport:
    transport = context.services.get(SERVICE)
    if not isinstance(transport, HttpTransport):
        raise StepFailed("This process has no HTTP session for steps.", type="http.no_session")
    return transport


def _question(input: HttpRequestInput, look_up: HttpLookUp, key: str) -> HttpRequestInput:
    """The GET of a look-up."""
    return HttpRequestInput(
        url=look_up.url,
        headers={"Idempotency-Key": key, **look_up.headers},
        query=look_up.query,
        auth=look_up.auth or input.auth,
        response=input.response,
        max_redirects=input.max_redirects,
        max_response_bytes=input.max_response_bytes,
        timeout=input.timeout,
    )


def _call(context: StepContext, input: HttpRequestInput) -> HttpCall:
    headers: CIMultiDict[str] = CIMultiDict(context.trace_headers)
    body, content_type = _body(input)
    sent: Any = [input.json_body, input.body, dict(input.form or {})]
    if content_type:
        headers["Content-Type"] = content_type
    if input.method not in _PURE:
        headers["Idempotency-Key"] = context.idempotency_key
    if input.auth:
        headers["Authorization"] = input.auth.header()
    for name, value in input.headers.items():
        headers[name] = _text(value)
    hidden = {name.lower() for name, value in headers.items() if context.mask(value) != value}
    seconds = input.timeout.seconds if input.timeout else None
    if seconds is None and context.timeout_seconds is None:
        seconds = _DEFAULT_SECONDS
    return HttpCall(
        method=input.method,
        url=URL(input.url).extend_query(_pairs(input.query)),
        headers=headers,
        body=body,
        timeout_seconds=seconds,
        max_bytes=input.max_response_bytes,
        max_redirects=input.max_redirects,
        sensitive=CREDENTIALS | hidden,
        body_is_sensitive=context.mask(sent) != sent,
    )


def _body(input: HttpRequestInput) -> tuple[bytes | None, str | None]:
    """The bytes to send and their type."""
    if input.has("json"):
        return orjson.dumps(input.json_body), "application/json"
    if input.form is not None:
        return urlencode(_pairs(input.form)).encode(), "application/x-www-form-urlencoded"
    if input.body is not None:
        return input.body.encode(), "text/plain; charset=utf-8"
    return None, None


def _pairs(values: dict[str, Scalar | list[Scalar]]) -> list[tuple[str, str]]:
    return [
        (name, _text(one))
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
    ]


def _is_expected(status: int, expected: list[int | str]) -> bool:
    return status in expected or f"{status // 100}xx" in expected


def _status_error(
    context: StepContext, transport: HttpTransport, input: HttpRequestInput, answer: HttpAnswer
) -> StepFailed:
    """Which kind a status is; the body's beginning helps who reads the error.

    What a gateway says of a system behind it is no answer of that system: the call may have been made.
    """
    status, retry_after = answer.status, transport.retry_after(answer.headers)
    if status == _TOO_MANY or (status == _UNAVAILABLE and retry_after is not None):
        kind = StepErrorKind.THROTTLED
    elif status >= _SERVER_ERROR or status in _TRANSIENT:
        kind = StepErrorKind.TRANSIENT
    else:
        kind = StepErrorKind.PERMANENT
    # Masked before it is cut: half a secret at the end would not be recognised any more. A body that
    # was cut while it was read is shown only where its end lies far behind what is shown.
    text = str(context.mask(answer.body.decode(answer.charset or "utf-8", errors="replace")))
    if answer.truncated and len(text) < 2 * _BODY_IN_ERROR:
        text = ""
    return StepFailed(
        f"{input.method} {answer.url.with_query(None)} answered {status}.",
        kind=kind,
        type="http.status",
        retry_after=retry_after,
        details={"status": status, "body": text[:_BODY_IN_ERROR].replace("\0", "\ufffd")},
        uncertain=True if status in _BY_A_GATEWAY else None,
    )


def _output(input: HttpRequestInput, answer: HttpAnswer) -> HttpRequestOutput:
    names = {name.lower() for name in answer.headers}
    output = HttpRequestOutput(
        status=answer.status,
        headers={name: ", ".join(answer.headers.getall(name)) for name in sorted(names)},
        url=str(answer.url),
    )
    if not answer.body:
        return output
    media = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if input.response == "json" or (
        input.response == "auto" and (media == "application/json" or media.endswith("+json"))
    ):
        output.json_body = _parse(input, answer)
        return output
    try:
        output.text = answer.body.decode(answer.charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        output.text = None
    if output.text is None or "\0" in output.text:
        output.text, output.base64 = None, base64.b64encode(answer.body).decode()
    return output


def _parse(input: HttpRequestInput, answer: HttpAnswer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise StepFailed(
            f"{input.method} {answer.url.with_query(None)} answered {answer.status} with a body "
            f"that is no JSON: {error}.",
            type="http.response_invalid",
            details={"status": answer.status},
        ) from error
