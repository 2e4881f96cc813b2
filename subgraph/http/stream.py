"""Subscriptions over plain HTTP, for clients behind proxies that let no WebSocket through.

Two framings of one stream: server-sent events (`Accept: text/event-stream`, distinct connections mode) and parts
(`Accept: multipart/mixed;subscriptionSpec="1.0"`, Apollo's protocol between router and subgraph). The whole stream
lives in one task, so that its span and its subscription end where they began, whether the operation, the client or
the server ends it; a heartbeat now and then keeps intermediaries from taking silence for death, and the stream ends
with the caller's token. Events carry the cursor of what they show as their id, so a browser that was cut off goes on
after it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.types.execution import ExecutionResult

from runtime.bootstrap import Runtime
from runtime.model.errors import MaestroError
from runtime.model.identity import Principal
from subgraph.context import Door, OperationContext, Trace
from subgraph.document.documents import Operation
from subgraph.errors import body_of, headers_of, present, status_of
from subgraph.http.frames import CONNECTION, Requests
from subgraph.http.listeners import Listeners
from subgraph.http.observe import Seen, observed
from subgraph.schema.build import Schema
from subgraph.streams import Streams
from subgraph.written import answer_of, written, written_within

_ALIVE_SECONDS: Final = 12.0
_LAST: Final = {"type": "http.response.body", "body": b"", "more_body": False}
_SUBSCRIPTION_SPEC: Final = re.compile(r"""subscriptionSpec\s*=\s*"?1\.0"?""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Framing:
    """How results are told apart on the wire.

    `media_type` is what a client names, `content_type` what the answer says.
    """

    media_type: str
    content_type: str
    before: bytes
    after: bytes
    alive: bytes
    end: bytes
    is_wrapped: bool = False

    def frame(self, body: bytes, cursor: str | None = None) -> bytes:
        """One result as JSON, and where a client that was cut off after it goes on."""
        if self.is_wrapped:
            return self.before + b'{"payload":' + body + b"}" + self.after
        place = b"" if cursor is None else f"id: {cursor}\n".encode()
        return place + self.before + body + self.after


EVENTS: Final = Framing(
    media_type="text/event-stream",
    content_type="text/event-stream",
    before=b"event: next\ndata: ",
    after=b"\n\n",
    alive=b":\n\n",
    end=b"event: complete\ndata:\n\n",
)
PARTS: Final = Framing(
    media_type="multipart/mixed",
    content_type='multipart/mixed;boundary="graphql";subscriptionSpec="1.0"',
    before=b"\r\n--graphql\r\nContent-Type: application/json\r\n\r\n",
    after=b"",
    alive=b"\r\n--graphql\r\nContent-Type: application/json\r\n\r\n{}",
    end=b"\r\n--graphql--\r\n",
    is_wrapped=True,
)


def framing_of(accept: str, operation: Operation) -> Framing | None:
    """The framing that a client asks for, in whatever order its `Accept` names things; None for a single answer.

    A client that takes parts gets them for subscriptions only: it takes a plain answer for everything else.
    """
    if EVENTS.media_type in accept:
        return EVENTS
    if operation.is_subscription and PARTS.media_type in accept:
        return PARTS if _SUBSCRIPTION_SPEC.search(accept) else None
    return None


class Stream(Response):
    """The answer to one operation as a stream of results and an end."""

    def __init__(
        self,
        rt: Runtime,
        schema: Schema,
        door: Door,
        *,
        framing: Framing,
        request: Request,
        who: Principal,
        operation: Operation,
        text: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        streams: Streams,
        listeners: Listeners,
        tell_cost: Callable[[Any], dict[str, int]] | None = None,
        item_cost: Callable[[Iterable[Any]], int] = lambda _nodes: 1,
    ) -> None:
        super().__init__(
            headers={
                "Content-Type": framing.content_type,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        del self.headers["content-length"]
        self._framing = framing
        self._rt, self._schema, self._door = rt, schema, door
        self._request, self._who, self._operation = request, who, operation
        self._text, self._variables, self._name = text, variables, operation_name
        self._tell_cost, self._item_cost, self._streams = tell_cost, item_cost, streams
        self._listeners = listeners
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the operation, the client or the token comes to its end; or refuse one more stream."""
        try:
            self._listeners.enter(self._who.tenant_id)
        except MaestroError as error:
            refusal = written(body_of(error, self._door.trace_id(self._request.headers)))
            headers = {"Cache-Control": "no-store", **headers_of(error)}
            answer = Response(refusal, status_of(error), headers, "application/json")
            await answer(scope, receive, send)
            return
        try:
            await self._stream(scope, receive, send)
        finally:
            self._listeners.leave(self._who.tenant_id)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        tasks = [
            asyncio.create_task(work)
            for work in (self._results(send), self._alive(send), _gone(receive), self._outlived())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._is_over:
            return
        connection: Requests | None = (scope.get("extensions") or {}).get(CONNECTION)
        if connection is not None:
            connection.give_up()
        with suppress(OSError):
            await send(_LAST)

    async def _results(self, send: Send) -> None:
        headers, trace_id = self._request.headers, ""
        try:
            with observed(self._rt, self._operation, headers, self._who) as seen:
                trace_id = self._door.trace_id(headers)
                await self._send_results(send, trace_id, seen)
        except Exception as error:  # noqa: BLE001 - logged by `present`; a client hears of it before the end
            fault = present(GraphQLError(str(error), original_error=error), trace_id)
            await send(_chunk(self._framing.frame(written({"errors": [fault.formatted]}))))
        await send(_chunk(self._framing.end))
        # Before the token is looked at no more: a client that takes nothing is sent nothing for ever.
        await send(_LAST)
        self._is_over = True

    async def _send_results(self, send: Send, trace_id: str, seen: Seen) -> None:
        operation = self._operation
        context = self._door.context(
            self._who,
            operation.document,
            Trace(id=trace_id),
            tell_cost=self._tell_cost,
            cost=operation.cost,
            item_cost=self._item_cost,
        )
        context.resume.after = self._request.headers.get("last-event-id") or None
        if self._operation.is_subscription:
            await self._follow(send, seen, context)
            return
        results = await self._schema.stream(
            self._text,
            variable_values=self._variables,
            context_value=context,
            operation_name=self._name,
        )
        try:
            async with aclosing(results):
                async for result in results:
                    if isinstance(result, ExecutionResult):
                        told = written_within(
                            answer_of(result),
                            self._schema.bound,
                            context.trace,
                            is_done=operation.kind == "mutation",
                        )
                        seen.note(told.refusal, result.errors)
                        await send(_chunk(self._framing.frame(told.body, context.resume.at)))
        finally:
            await self._rt.services.rates.owe(self._who, context.cost_room.more)

    async def _follow(self, send: Send, seen: Seen, context: OperationContext) -> None:
        payloads = self._streams.run(self._operation, self._variables, context)
        async with aclosing(payloads):
            async for payload in payloads:
                seen.note(None, payload.errors)
                await send(_chunk(self._framing.frame(payload.body, payload.cursor)))

    async def _alive(self, send: Send) -> None:
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            await send(_chunk(self._framing.alive))

    async def _outlived(self) -> None:
        while await self._door.look_again(self._who, self._request.headers, {}) is None:
            await asyncio.sleep(self._door.next_look(self._who))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _chunk(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}
