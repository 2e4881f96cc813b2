"""Downloads: outputs and inputs of any size, as they were stored, in pieces.

`GET /api/executions/{id}/steps/{step}/output` (with `?at=SEQUENCE` as it was at that event, with `?item=N` of an item),
`GET /api/executions/{id}/output` and `.../input`, with the token and scope that reading executions needs. The body's
digest goes along (RFC 9530) and has been proven when the last piece is sent: a damaged value is an error or, when its
first pieces are out already, a connection that breaks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from resolvers.ids import execution_uuid
from runtime.bootstrap import Runtime
from runtime.model.errors import BadInput, MaestroError, NotFound
from runtime.model.identity import Principal
from runtime.services.artifact import Artifact
from subgraph.context import Door
from subgraph.http.problem import problem

# What a download takes from a tenant's budget of cost: as much as an input that is derived for an answer.
COST: Final = 5
_MOST_DIGITS: Final = {"at": 18, "item": 9}
_REASONS: Final = {"at": "UNKNOWN_SEQUENCE", "item": "ITEM_NOT_FOUND"}
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

Find = Callable[[Principal, UUID, Mapping[str, str]], Awaitable[Artifact]]


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes asked for, both ends included."""

    first: int
    last: int


def routes(rt: Runtime, door: Door) -> list[Route]:
    """What can be downloaded."""
    artifacts = rt.services.artifacts

    def served(find: Find) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                who = await door.admit(request.headers)
                rt.services.rates.check(who)
                await rt.services.rates.take(who, COST)
                found = await find(
                    who, _id(request), {**request.query_params, **request.path_params}
                )
                return await _response(request, found)
            except MaestroError as error:
                return problem(error, door.trace_id(request.headers))

        return answer

    async def step_output(who: Principal, id: UUID, given: Mapping[str, str]) -> Artifact:
        item = _number(given, "item", "`item` is the number of an item, from 0.")
        at = _number(given, "at", "`at` is the sequence of an event, a number.")
        return await artifacts.output(
            who, id, given["step"], item=-1 if item is None else item, at=at
        )

    async def output(who: Principal, id: UUID, _given: Mapping[str, str]) -> Artifact:
        return await artifacts.output(who, id)

    async def input_(who: Principal, id: UUID, given: Mapping[str, str]) -> Artifact:
        at = _number(given, "at", "`at` is the sequence of an event, a number.")
        return await artifacts.input(who, id, at=at)

    return [
        Route("/api/executions/{id}/steps/{step}/output", served(step_output)),
        Route("/api/executions/{id}/output", served(output)),
        Route("/api/executions/{id}/input", served(input_)),
    ]


def _id(request: Request) -> UUID:
    found = execution_uuid(request.path_params["id"])
    if found is None:
        raise NotFound("There is no such execution.", reason="EXECUTION_NOT_FOUND")
    return found


def _number(given: Mapping[str, str], name: str, words: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS[name]):
        raise BadInput(words, reason=_REASONS[name])
    return int(text)


async def _response(request: Request, found: Artifact) -> Response:
    span = _span(request.headers, found)
    if span is not None and span.first > span.last:
        return Response(None, 416, {"Content-Range": f"bytes */{found.size}"})
    digest = base64.b64encode(bytes.fromhex(found.digest.removeprefix("sha256:"))).decode()
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": "attachment",
        "ETag": f'"{found.digest}"',
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    if span is None:
        headers |= {"Content-Length": str(found.size), "Content-Digest": f"sha-256=:{digest}:"}
    else:
        headers["Content-Length"] = str(span.last - span.first + 1)
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{found.size}"
    if request.method == "HEAD":
        return Response(None, 200, headers, "application/json")
    pieces = _cut(found.content, span or Span(0, found.size - 1))
    # What is wrong from the start is still said properly; later there is only the broken connection.
    first = await anext(pieces)
    body = _after(first, pieces)
    return StreamingResponse(body, 200 if span is None else 206, headers, "application/json")


def _span(headers: Mapping[str, str], found: Artifact) -> Span | None:
    """The one range that is asked for; None when the whole is meant. Outside of the value it ends before it begins."""
    asked = headers.get("range")
    condition = headers.get("if-range")
    if asked is None or (condition is not None and condition != f'"{found.digest}"'):
        return None
    match = _RANGE.fullmatch(asked.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]) if match[2] else found.size, found.size - 1)
    else:
        first, last = max(0, found.size - int(match[2])), found.size - 1
    return Span(first, last)


async def _cut(content: AsyncIterator[bytes], span: Span) -> AsyncIterator[bytes]:
    """The bytes of a range. All of it is read, and the last of them held back, so that its digest is proven."""
    at, held = 0, b""
    async for piece in content:
        part = piece[max(0, span.first - at) : max(0, span.last + 1 - at)]
        at += len(piece)
        if part:
            if held:
                yield held
            held = part
    yield held


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
