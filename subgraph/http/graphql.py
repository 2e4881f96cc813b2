"""GraphQL over HTTP: who asks, then what, then the answer.

The order is a promise: a caller without a valid token learns nothing and costs nothing, a body over the limit is
refused before it is read, a document is checked before anything runs. A browser's GET shows GraphiQL.
"""

from __future__ import annotations

from typing import Any, Final

from graphql import GraphQLError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from runtime.bootstrap import Runtime
from runtime.model.errors import BadInput, MaestroError
from subgraph.context import Door
from subgraph.document.documents import Documents, Operation
from subgraph.document.persisted import PersistedDocuments
from subgraph.errors import STATUS, body_of, headers_of, present, status_of
from subgraph.http.asked import Asked, read_asked, read_query
from subgraph.http.body import parse_object, read_body
from subgraph.http.graphiql import graphiql_page
from subgraph.http.listeners import Listeners
from subgraph.http.observe import observed
from subgraph.http.stream import EVENTS, Stream, framing_of
from subgraph.schema.build import Schema
from subgraph.streams import Streams
from subgraph.written import answer_of, written, written_within

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
_OK: Final = 200
_ALWAYS: Final = {"Cache-Control": "no-store", "Vary": "Accept"}
_RAW: Final = {
    kind: [
        *((name.lower().encode(), value.encode()) for name, value in _ALWAYS.items()),
        (b"content-type", kind.encode()),
    ]
    for kind in (JSON, GRAPHQL_JSON)
}


class _Answer(Response):
    """An answer as nearly all are, whose headers are known but for its length."""

    def __init__(self, body: bytes, kind: str) -> None:
        self.status_code = _OK
        self.media_type = kind
        self.background = None
        self.body = body
        self.raw_headers = [*_RAW[kind], (b"content-length", b"%d" % len(body))]


class GraphQLOverHttp:
    """`POST /graphql`, and `GET` for queries and for people."""

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
        self._rt = rt
        self._schema = schema
        self._documents = documents
        self._persisted = persisted
        self._door = door
        self._streams = streams
        self._listeners = listeners

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        if wants_page(request):
            return await graphiql_page(request)
        if request.method not in {"GET", "POST"}:
            trace_id = self._door.trace_id(request.headers)
            return not_allowed(request, trace_id, "GET, POST", "This address takes GET and POST.")
        try:
            return await self._run(request)
        except MaestroError as error:
            return respond(
                body_of(error, self._door.trace_id(request.headers)),
                request,
                status=status_of(error),
                headers=headers_of(error),
            )

    async def _asked(self, request: Request) -> Asked:
        """What a request asks; raises BadInput or PayloadTooLarge when that can't be made out."""
        if request.method == "GET":
            return read_query(request)
        return read_asked(
            parse_object(await read_json(request, self._rt.settings.api.max_body_bytes))
        )

    async def _run(self, request: Request) -> Response:
        who, rates = await self._door.admit(request.headers), self._rt.services.rates
        rates.check(who)
        try:
            asked = await self._asked(request)
            text = self._persisted.text_of(asked.text, asked.sha256)
        except MaestroError:
            # What can't be read has been read too.
            await rates.take(who, 0)
            raise
        operation = self._documents.operation(text, asked.operation_name, asked.variables)
        await rates.take(who, operation.cost if isinstance(operation, Operation) else 0)
        if not isinstance(operation, Operation):
            return refuse(operation, request, self._door.trace_id(request.headers))
        self._persisted.remember(text, asked.sha256)
        tell = self._documents.teller(operation, asked.variables, is_asked=asked.wants_cost)
        if request.method == "GET" and not (operation.is_query or operation.is_subscription):
            trace_id = self._door.trace_id(request.headers)
            return not_allowed(
                request, trace_id, "POST", "GET changes nothing; send this with POST."
            )
        framing = framing_of(request.headers.get("accept", ""), operation)
        if framing is not None:
            return Stream(
                self._rt,
                self._schema,
                self._door,
                framing=framing,
                request=request,
                who=who,
                operation=operation,
                text=text,
                variables=asked.variables,
                operation_name=asked.operation_name,
                streams=self._streams,
                listeners=self._listeners,
                tell_cost=tell,
                item_cost=self._documents.item_cost(operation, asked.variables),
            )
        if operation.is_subscription:
            raise BadInput(
                "Subscriptions go over the WebSocket (graphql-transport-ws) on the same address, or with `Accept: "
                'text/event-stream` or `Accept: multipart/mixed;subscriptionSpec="1.0"`.',
                reason="SUBSCRIPTION_OVER_HTTP",
            )
        with observed(self._rt, operation, request.headers, who) as seen:
            trace = self._door.trace(request.headers)
            context = self._door.context(
                who,
                operation.document,
                trace,
                tell_cost=tell,
                is_introspection=operation.is_introspection,
                cost=operation.cost,
                item_cost=self._documents.item_cost(operation, asked.variables),
            )
            result = await self._schema.execute(
                text,
                variable_values=asked.variables,
                context_value=context,
                operation_name=asked.operation_name,
            )
            seen.note(None, result.errors)
            if result.data is None and result.errors and not any(map(_has_begun, result.errors)):
                # Variables that don't fit: the operation never began, so there is no data to speak of.
                return refuse(tuple(result.errors), request, trace())
            told = written_within(
                answer_of(result),
                self._schema.bound,
                trace,
                is_done=operation.kind == "mutation",
            )
            seen.note(told.refusal, result.errors)
        response = respond(told.body, request)
        if context.cost_room.more > 0:
            # Nothing stands between what is done and its answer.
            response.background = BackgroundTask(rates.owe, who, context.cost_room.more)
        return response


def _has_begun(error: GraphQLError) -> bool:
    """Whether an error comes from the operation itself: from one of its fields, or from the size of its answer."""
    return bool(error.path) or (error.extensions or {}).get("code") == "QUERY_TOO_COMPLEX"


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to look at."""
    return (
        request.method == "GET"
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )


async def read_json(request: Request, limit: int) -> bytes:
    """The body of a request that says it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise BadInput(
            "Send the request as `Content-Type: application/json`.", reason="CONTENT_TYPE"
        )
    return await read_body(request, limit)


def refuse(errors: tuple[GraphQLError, ...], request: Request, trace_id: str) -> Response:
    """The answer to a document that can't run: data is absent, so strict clients get a 4xx."""
    shown = [e if "trace_id" in (e.extensions or {}) else present(e, trace_id) for e in errors]
    status = 200
    accept = request.headers.get("accept", "")
    if media_type(request) == GRAPHQL_JSON or EVENTS.media_type in accept:
        status = STATUS.get((shown[0].extensions or {}).get("code", ""), 400)
    return respond({"errors": [error.formatted for error in shown]}, request, status=status)


def not_allowed(request: Request, trace_id: str, allowed: str, message: str) -> Response:
    """The answer to a method that this request can't be sent with."""
    error = BadInput(message, reason="METHOD_NOT_ALLOWED")
    return respond(body_of(error, trace_id), request, status=405, headers={"Allow": allowed})


def media_type(request: Request) -> str:
    """The media type of the answer: the newer one for clients that name it."""
    return GRAPHQL_JSON if GRAPHQL_JSON in request.headers.get("accept", "") else JSON


def respond(
    body: dict[str, Any] | bytes,
    request: Request,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """A GraphQL response."""
    text = body if isinstance(body, bytes) else written(body)
    if status == _OK and headers is None:
        return _Answer(text, media_type(request))
    return Response(
        text,
        status_code=status,
        headers={**_ALWAYS, **(headers or {})},
        media_type=media_type(request),
    )
