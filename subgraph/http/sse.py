"""Subscriptions over server-sent events: `POST /graphql` with `Accept: text/event-stream`, distinct connections mode.

For clients behind proxies that let no WebSocket through. The whole stream lives in one task, so that its span and its
subscription end where they began, whether the operation, the client or the server ends it; a comment now and then keeps
intermediaries from taking silence for death, and the stream ends with the caller's token.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.types.execution import ExecutionResult

from runtime.bootstrap import Runtime
from runtime.model.identity import Principal
from subgraph.context import Door
from subgraph.documents import Operation
from subgraph.http.observe import observed
from subgraph.schema.build import Schema

MEDIA_TYPE: Final = "text/event-stream"
_ALIVE: Final = b":\n\n"
_ALIVE_SECONDS: Final = 12.0


class EventStream(Response):
    """The answer to one operation as a stream of `next` events and a `complete`."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        rt: Runtime,
        schema: Schema,
        door: Door,
        *,
        request: Request,
        who: Principal,
        operation: Operation,
        text: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._rt, self._schema, self._door = rt, schema, door
        self._request, self._who, self._operation = request, who, operation
        self._text, self._variables, self._name = text, variables, operation_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Stream until the operation, the client or the token comes to its end."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        tasks = [
            asyncio.create_task(work)
            for work in (self._events(send), _alive(send), _gone(receive), self._expired())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self, send: Send) -> None:
        headers = self._request.headers
        with observed(self._rt, self._operation, headers, self._who) as seen:
            trace_id = self._door.trace_id(headers)
            results = await self._schema.stream(
                self._text,
                variable_values=self._variables,
                context_value=self._door.context(self._who, self._operation.document, trace_id),
                operation_name=self._name,
            )
            async with aclosing(results):
                async for result in results:
                    if isinstance(result, ExecutionResult):
                        seen.errors = result.errors or seen.errors
                        await send(_chunk(b"event: next\ndata: " + _payload(result) + b"\n\n"))
            await send(_chunk(b"event: complete\ndata:\n\n"))

    async def _expired(self) -> None:
        while (left := self._who.expires_at - self._rt.clock.now().timestamp()) > 0:
            await asyncio.sleep(min(left, 86_400.0))


async def _alive(send: Send) -> None:
    while True:
        await asyncio.sleep(_ALIVE_SECONDS)
        await send(_chunk(_ALIVE))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _chunk(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _payload(result: ExecutionResult) -> bytes:
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    return orjson.dumps(answer, default=str)
