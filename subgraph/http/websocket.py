"""Subscriptions: `graphql-transport-ws` on the address of GraphQL over HTTP.

Strawberry speaks the protocol; what is ours stands here. The token comes in `connection_init` or with the upgrade; a
connection without a valid one is closed with 4401, one of an unknown tenant with 4403, and every connection when its
token expires or is not good any more. Every operation has a context, a span and batches of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import NonJsonMessageReceived
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    Operation as Running,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)
from strawberry.types.execution import PreExecutionError
from strawberry.types.unset import UNSET, UnsetType

from runtime.bootstrap import Runtime
from runtime.model.errors import Exhausted, MaestroError
from runtime.model.identity import Principal
from subgraph.context import Door, OperationContext, Trace
from subgraph.document.documents import Documents, Operation
from subgraph.document.persisted import PersistedDocuments
from subgraph.errors import body_of, present, present_all
from subgraph.http.asked import read_asked
from subgraph.http.body import exact_json
from subgraph.http.frames import FRAMES, Sockets, frame_of
from subgraph.http.listeners import Listeners
from subgraph.http.observe import Seen, observed
from subgraph.schema.build import Schema
from subgraph.streams import Streams
from subgraph.written import answer_of, written, written_within

UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
TOO_MANY: Final = 4429
FAULT: Final = 1011
TRY_LATER: Final = 1013
# What a refused connection is closed with, by the code of the refusal.
_CLOSED_WITH: Final = {
    "UNAUTHENTICATED": UNAUTHORIZED,
    "FORBIDDEN": FORBIDDEN,
    "INTERNAL": FAULT,
    "RATE_LIMITED": TOO_MANY,
}
_LONGEST_REASON: Final = 123  # bytes: what a close frame holds beside its code
_INIT_WAIT: Final = timedelta(seconds=3)


@dataclass(slots=True)
class Connection:
    """One WebSocket: what it came with, and who it turned out to be."""

    headers: Mapping[str, str]
    connection_params: Mapping[str, object] | None = None
    who: Principal | None = None
    is_counted: bool = False


@dataclass(slots=True)
class Pace:
    """How many messages a connection may send: `burst` at once, `rate` a second in the long run."""

    burst: float = 500.0
    rate: float = 100.0
    left: float = 500.0
    at: float = 0.0

    def allows(self, now: float) -> bool:
        """Take one message; whether it is within the pace."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate) - 1
        self.at = now
        return self.left >= 0


class Handler(BaseGraphQLTransportWSHandler[Connection, None]):
    """One connection: admits it once, then runs each operation as HTTP would."""

    view: GraphQLOverWebSocket
    _timer: asyncio.TimerHandle | None = None
    _look: asyncio.Task[None] | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._pace = Pace()
        self._told: set[str] = set()

    async def handle_message(self, message: Message) -> None:
        """Take one frame; what is no message of the protocol ends the connection."""
        if not self._pace.allows(self.view.rt.clock.monotonic()):
            await self.websocket.close(TOO_MANY, "Too many messages")
            return
        # Strawberry believes the types it declares: a frame of another form would end the task, not the connection.
        if is_message(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("This is no message of graphql-transport-ws")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Start an operation, or refuse it as a request over HTTP is refused."""
        most = self.max_subscriptions_per_connection
        is_known = message["id"] in self.operations
        if not self.connection_acknowledged or is_known:
            await super().handle_subscribe(message)
            return
        try:
            asked = read_asked(dict(message["payload"]))
            text = self.view.persisted.text_of(asked.text, asked.sha256)
            if asked.sha256 and not self.view.documents.prepare(text).errors:
                self.view.persisted.remember(text, asked.sha256)
            if most is not None and len(self.operations) >= most:
                raise Exhausted(
                    f"A connection takes {most} operations at once.", reason="TOO_MANY_OPERATIONS"
                )
        except MaestroError as refused:
            error = await self._counted(refused)
            refusal = body_of(error, self.view.door.trace_id(self.context.headers))["errors"]
            await self.send_message({"id": message["id"], "type": "error", "payload": refusal})
            return
        if asked.wants_cost:
            self._told.add(message["id"])
        await super().handle_subscribe(
            {**message, "payload": {**message["payload"], "query": text}}
        )

    async def _counted(self, refused: MaestroError) -> MaestroError:
        """The refusal of what can't be read, which counts as a request; or that of a tenant who has none left."""
        rates = self.view.rt.services.rates
        try:
            if self.context.who is not None:
                rates.check(self.context.who)
                await rates.take(self.context.who, 0)
        except MaestroError as error:
            return error
        return refused

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Let the caller in, or close with the code that says why not."""
        try:
            await super().handle_connection_init(message)
        except Exception as error:  # noqa: BLE001 - a fault closes it too, and is logged by `_shown`
            await self._turn_away(error)
        who = self.context.who
        if self.connection_acknowledged and who and self._timer is None:
            # It was cancelled, and would keep its last moment, with all frames of it, for as long as the connection.
            self.connection_init_timeout_task = None
            self._look_later(who)

    async def run_operation(self, operation: Running[Connection, None]) -> None:
        """Run an operation to its end; a fault is told as its end, or its client would wait for ever."""
        try:
            await self._check_and_run(operation)
        except Exception as error:  # noqa: BLE001 - logged by `_shown`
            if not self._is_closed:
                await operation.send_initial_errors([self._shown(error)])

    async def _check_and_run(self, operation: Running[Connection, None]) -> None:
        """Check the document, then run it within its own context and span."""
        is_told = operation.id in self._told
        self._told.discard(operation.id)
        who, headers = self.context.who, self.context.headers
        trace_id = self.view.door.trace_id(headers)
        found = self.view.documents.operation(
            str(operation.query), operation.operation_name, operation.variables
        )
        if who is not None and not await self._may_go_on(operation, found, who):
            return
        if not isinstance(found, Operation) or who is None:
            errors = () if isinstance(found, Operation) else found
            await operation.send_initial_errors(present_all(errors, trace_id))
            return
        with observed(self.view.rt, found, headers, who) as seen:
            await self._run(operation, found, who, seen, is_told=is_told)

    async def _may_go_on(
        self,
        operation: Running[Connection, None],
        found: Operation | tuple[GraphQLError, ...],
        who: Principal,
    ) -> bool:
        """Take the operation from the tenant's budgets; tells the client when they lack."""
        try:
            rates = self.view.rt.services.rates
            rates.check(who)
            await rates.take(who, found.cost if isinstance(found, Operation) else 0)
        except MaestroError as error:
            await operation.send_initial_errors([self._shown(error)])
            return False
        return True

    async def shutdown(self) -> None:
        """End everything that this connection started."""
        if self.context.is_counted and self.context.who is not None:
            self.context.is_counted = False
            self.view.listeners.leave(self.context.who.tenant_id)
        if self._timer:
            self._timer.cancel()
        if self._look:
            self._look.cancel()
            with suppress(asyncio.CancelledError):
                await self._look
        await super().shutdown()

    async def _run(
        self,
        operation: Running[Connection, None],
        found: Operation,
        who: Principal,
        seen: Seen,
        *,
        is_told: bool,
    ) -> None:
        context = self.view.door.context(
            who,
            found.document,
            Trace(id=self.view.door.trace_id(self.context.headers)),
            tell_cost=self.view.documents.teller(found, operation.variables, is_asked=is_told),
            cost=found.cost,
            item_cost=self.view.documents.item_cost(found, operation.variables),
        )
        if found.is_subscription:
            await self._follow(operation, found, context, seen)
            return
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.operation_name,
        )
        try:
            async with aclosing(results):
                async for result in results:
                    await self._send_result(operation, found, result, context.trace, seen)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        finally:
            await self.view.rt.services.rates.owe(who, context.cost_room.more)

    async def _send_result(
        self,
        operation: Running[Connection, None],
        found: Operation,
        result: Any,
        trace: Trace,
        seen: Seen,
    ) -> None:
        """Send an answer, or what is told instead of a larger one; or that the operation never began."""
        if isinstance(result, PreExecutionError):
            seen.note(None, result.errors)
            await operation.send_initial_errors(result.errors or [])
            return
        told = written_within(
            answer_of(result),
            cast("Schema", self.schema).bound,
            trace,
            is_done=found.kind == "mutation",
        )
        seen.note(told.refusal, result.errors)
        payload: Any = orjson.Fragment(told.body)
        await operation.send_operation_message(
            {"id": operation.id, "type": "next", "payload": payload}
        )

    def _shown(self, error: Exception) -> GraphQLError:
        """A refusal or a fault as the client may see it."""
        trace_id = self.view.door.trace_id(self.context.headers)
        return present(GraphQLError(str(error), original_error=error), trace_id)

    @property
    def _is_closed(self) -> bool:
        # Whoever still sends when a connection has ended gets an error that is nobody's fault.
        socket: WebSocket = cast(Any, self.websocket).ws
        states = (socket.client_state, socket.application_state)
        return any(state is not WebSocketState.CONNECTED for state in states)

    async def _follow(
        self,
        operation: Running[Connection, None],
        found: Operation,
        context: OperationContext,
        seen: Seen,
    ) -> None:
        """Send what a subscription tells: written once for all who asked the same, with this one's id before it."""
        head = b'{"type":"next","id":' + orjson.dumps(operation.id) + b',"payload":'
        send, sockets = cast("ASGIWebSocketAdapter", self.websocket).ws.send_text, self._sockets
        payloads = self.view.streams.run(found, operation.variables, context)
        try:
            async with aclosing(payloads):
                async for payload in payloads:
                    if payload.errors:
                        seen.note(None, payload.errors)
                    if payload.is_refusal:
                        await operation.send_initial_errors(list(payload.errors))
                        return
                    text = head + payload.body + b"}"
                    # As a frame of ours where the server takes one.
                    if sockets is None:
                        await send(text.decode())
                    elif not sockets.write(frame_of(text)):
                        await sockets.drained()
        except (WebSocketDisconnect, OSError):
            # The client left between two messages: its own task says so too, and ends everything.
            return
        await operation.send_operation_message({"id": operation.id, "type": "complete"})

    @property
    def _sockets(self) -> Sockets | None:
        """The connection under us, where the server is ours."""
        scope = cast("ASGIWebSocketAdapter", self.websocket).ws.scope
        found: Sockets | None = (scope.get("extensions") or {}).get(FRAMES)
        return found

    def _look_later(self, who: Principal) -> None:
        # A token that was taken back or ran out must not go on listening for days. A timer is less than a task that
        # sleeps, for each of thousands.
        def look() -> None:
            self._look = loop.create_task(self._look_again(who))

        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.view.door.next_look(who), look)

    async def _look_again(self, who: Principal) -> None:
        params = self.context.connection_params or {}
        why = await self.view.door.look_again(who, self.context.headers, params)
        self._look = None
        if why is None:
            self._look_later(who)
        else:
            await self._turn_away(why)

    async def _turn_away(self, error: Exception) -> None:
        """Close with the code and the words that say why, and send nothing more before."""
        for operation in tuple(self.operations):
            await self.cleanup_operation(operation)
        if (sockets := self._sockets) is not None and sockets.give_up():
            return
        shown = self._shown(error)
        code = _CLOSED_WITH.get(str((shown.extensions or {})["code"]), TRY_LATER)
        reason = shown.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
        with suppress(WebSocketDisconnect, OSError):
            await self.websocket.close(code, reason)


def is_message(frame: object) -> bool:
    """Whether a frame has the form of a message; which of them it is, is looked at later."""
    if not isinstance(frame, dict) or not isinstance(kind := frame.get("type"), str):
        return False
    has_id = isinstance(frame.get("id"), str) and frame["id"] != ""
    payload = frame.get("payload")
    if kind == "subscribe":
        return has_id and isinstance(payload, dict)
    return (has_id or kind != "complete") and isinstance(payload, dict | None)


class GraphQLOverWebSocket(GraphQL[Connection, None]):
    """The endpoint of all WebSockets."""

    graphql_transport_ws_handler_class = Handler

    def __init__(
        self,
        rt: Runtime,
        schema: Schema,
        documents: Documents,
        persisted: PersistedDocuments,
        door: Door,
        streams: Streams,
        listeners: Listeners,
    ) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=_INIT_WAIT,
        )
        self.rt = rt
        self.documents = documents
        self.persisted = persisted
        self.door = door
        self.streams = streams
        self.listeners = listeners

    async def get_context(self, request: Any, response: Any) -> Connection:  # noqa: ARG002 - their signature
        """A connection that nobody has come in by yet."""
        return Connection(headers=cast("WebSocket", request).headers)

    async def on_ws_connect(self, context: Connection) -> UnsetType | dict[str, object] | None:
        """Find out who it is; raises Unauthenticated or Denied."""
        who = await self.door.admit_connection(context.headers, context.connection_params or {})
        self.listeners.enter(who.tenant_id)
        context.who, context.is_counted = who, True
        nothing_to_add: UnsetType = UNSET
        return nothing_to_add

    def decode_json(self, data: str | bytes) -> object:
        """A message no larger than a request's body may be."""
        if len(data) > self.rt.settings.api.max_body_bytes:
            raise NonJsonMessageReceived
        return exact_json(data.encode() if isinstance(data, str) else data)

    def encode_json(self, data: object) -> str:
        """A message as text."""
        return written(data).decode()
