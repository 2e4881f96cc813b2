"""GraphQL over HTTP: who asks, then what, then the answer.

The order is a promise: a caller without a valid token learns nothing and costs nothing, a body over the limit is
refused before it is read, a document is checked before anything runs. A browser's GET shows GraphiQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response

from runtime.bootstrap import Runtime
from runtime.model.errors import BadInput, MaestroError
from subgraph.context import Door
from subgraph.documents import Documents, Operation
from subgraph.errors import STATUS, body_of, headers_of, present_all, status_of
from subgraph.http.body import parse_object, read_body
from subgraph.http.graphiql import graphiql_page
from subgraph.http.observe import observed
from subgraph.http.sse import MEDIA_TYPE, EventStream
from subgraph.schema.build import Schema

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request's body or query string says."""

    text: str
    variables: dict[str, Any] | None
    operation_name: str | None


class GraphQLOverHttp:
    """`POST /graphql`, and `GET` for queries and for people."""

    def __init__(self, rt: Runtime, schema: Schema, documents: Documents, door: Door) -> None:
        self._rt = rt
        self._schema = schema
        self._documents = documents
        self._door = door

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        if wants_page(request):
            return await graphiql_page(request)
        trace_id = self._door.trace_id(request.headers)
        try:
            return await self._run(request, trace_id)
        except MaestroError as error:
            return respond(
                body_of(error, trace_id),
                request,
                status=status_of(error),
                headers=headers_of(error),
            )

    async def _run(self, request: Request, trace_id: str) -> Response:
        who = await self._door.admit(request.headers)
        if request.method == "GET":
            asked = read_query(request)
        else:
            asked = read_asked(
                parse_object(await read_json(request, self._rt.settings.api.max_body_bytes))
            )
        operation = self._documents.operation(asked.text, asked.operation_name, asked.variables)
        if not isinstance(operation, Operation):
            return refuse(operation, request, trace_id)
        if not operation.is_query and request.method == "GET":
            return not_allowed(request, trace_id)
        if wants_events(request):
            return EventStream(
                self._rt,
                self._schema,
                self._door,
                request=request,
                who=who,
                operation=operation,
                text=asked.text,
                variables=asked.variables,
                operation_name=asked.operation_name,
            )
        if operation.is_subscription:
            raise BadInput(
                "Subscriptions go over the WebSocket (graphql-transport-ws) on the same address, or "
                "with `Accept: text/event-stream`.",
                reason="SUBSCRIPTION_OVER_HTTP",
            )
        with observed(self._rt, operation, request.headers, who) as seen:
            trace_id = self._door.trace_id(request.headers)
            result = await self._schema.execute(
                asked.text,
                variable_values=asked.variables,
                context_value=self._door.context(who, operation.document, trace_id),
                operation_name=asked.operation_name,
            )
            seen.errors = result.errors or ()
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer = {"errors": [error.formatted for error in result.errors], **answer}
        return respond(answer, request)


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to look at."""
    return (
        request.method == "GET"
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )


def wants_events(request: Request) -> bool:
    """Whether the answer is to be a stream of events."""
    return MEDIA_TYPE in request.headers.get("accept", "")


async def read_json(request: Request, limit: int) -> bytes:
    """The body of a request that says it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise BadInput(
            "Send the request as `Content-Type: application/json`.", reason="CONTENT_TYPE"
        )
    return await read_body(request, limit)


def read_query(request: Request) -> Asked:
    """What a GET asks."""
    found: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if found.get(name):
            found[name] = parse_object(found[name].encode())
    return read_asked(found)


def read_asked(found: dict[str, Any]) -> Asked:
    """What a body asks; raises BadInput when it is not of the form of GraphQL over HTTP."""
    text, variables, name = (found.get(key) for key in ("query", "variables", "operationName"))
    extensions = found.get("extensions")
    if text is None and isinstance(extensions, dict) and "persistedQuery" in extensions:
        raise PersistedQueryNotSupported
    if not isinstance(text, str) or not text.strip():
        raise BadInput("`query` must hold a GraphQL document.", reason="QUERY_MISSING")
    if not isinstance(variables, dict | None):
        raise BadInput("`variables` must be an object.", reason="VARIABLES")
    if not isinstance(name, str | None):
        raise BadInput("`operationName` must be a string.", reason="OPERATION_NAME")
    return Asked(text, variables, name or None)


class PersistedQueryNotSupported(MaestroError):
    """Persisted queries are not taken; send the document."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"


def refuse(errors: tuple[GraphQLError, ...], request: Request, trace_id: str) -> Response:
    """The answer to a document that can't run: data is absent, so strict clients get a 4xx."""
    shown = present_all(errors, trace_id)
    status = 200
    if media_type(request) == GRAPHQL_JSON or wants_events(request):
        status = STATUS.get((shown[0].extensions or {}).get("code", ""), 400)
    return respond({"errors": [error.formatted for error in shown]}, request, status=status)


def not_allowed(request: Request, trace_id: str) -> Response:
    """The answer to a GET that would change something."""
    error = BadInput("GET is for queries; send this with POST.", reason="GET_QUERY_ONLY")
    return respond(body_of(error, trace_id), request, status=405, headers={"Allow": "POST"})


def media_type(request: Request) -> str:
    """The media type of the answer: the newer one for clients that name it."""
    return GRAPHQL_JSON if GRAPHQL_JSON in request.headers.get("accept", "") else JSON


def respond(
    body: dict[str, Any],
    request: Request,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """A GraphQL response."""
    return Response(
        orjson.dumps(body, default=str),
        status_code=status,
        headers={"Cache-Control": "no-store", "Vary": "Accept", **(headers or {})},
        media_type=media_type(request),
    )
