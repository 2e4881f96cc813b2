"""The API as an ASGI application: which address goes where, and in which order a request meets what.

Made by `mc` and by tests from a runtime that is open already; the caller closes it. CORS is off: a page of another
origin gets nothing. What is open without a token is listed here by mount; everything else asks `Door` first.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.bootstrap import Runtime
from runtime.model.errors import MaestroError, NotFound
from subgraph.context import Door
from subgraph.document.documents import Documents
from subgraph.document.limits import Limits, answer_bound
from subgraph.document.persisted import PersistedDocuments
from subgraph.http import artifact, graphiql, health, metrics, schemas
from subgraph.http.graphql import GraphQLOverHttp
from subgraph.http.listeners import Listeners
from subgraph.http.middleware import Surroundings
from subgraph.http.problem import problem
from subgraph.http.request import GraphQLRequest
from subgraph.http.websocket import GraphQLOverWebSocket
from subgraph.schema.build import build_schema
from subgraph.streams import Streams

GRAPHQL: Final = "/graphql"
METHODS: Final = ("PUT", "PATCH", "DELETE", "OPTIONS")


class _Api(Starlette):
    """Starlette's, with a short way to the address that nearly all requests are for: past routes and other handlers.

    A WebSocket would hold all that it passes as well, for as long as it stays.
    """

    def __init__(self, graphql: Surroundings, sockets: ASGIApp, **more: Any) -> None:
        super().__init__(**more)
        self._graphql = graphql
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, WebSocket or lifespan."""
        kind = scope["type"]
        if kind == "http" and scope["path"] == GRAPHQL:
            await self._graphql(scope, receive, send)
        elif kind == "websocket" and scope["path"] == GRAPHQL:
            await self._sockets(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(rt: Runtime) -> Starlette:
    """The application over an open runtime."""
    fallbacks = rt.metrics.graphql_fallbacks
    graph = rt.settings.api.graph
    limits = Limits(cost=graph.max_cost, answer_bytes=graph.max_answer_bytes)
    schema = build_schema(
        compiled=rt.settings.api.executor == "compiled",
        fell_back=lambda reason: fallbacks.labels(reason).inc(),
        bound=answer_bound(limits),
    )
    door = Door(rt)
    documents = Documents(
        schema,
        limits,
        shows_schema=graph.shows_schema,
        tells_cost=graph.shows_cost,
    )
    trusted = rt.settings.api.trusted_documents
    persisted = PersistedDocuments(trusted.mode, trusted.files)
    streams = Streams(schema, bound=schema.bound, owe=rt.services.rates.owe)
    listeners = Listeners(graph.max_streams)
    http = GraphQLOverHttp(rt, schema, documents, persisted, door, streams, listeners)
    sockets = GraphQLOverWebSocket(rt, schema, documents, persisted, door, streams, listeners)

    async def elsewhere(request: Request) -> Response:
        """Ask who it is before saying that there is nothing."""
        try:
            who = await door.admit(request.headers)
            rt.services.rates.check(who)
            await rt.services.rates.take(who, 0)
        except MaestroError as error:
            return problem(error, door.trace_id(request.headers))
        missing = NotFound(
            f"There is nothing at {request.url.path[:128]}.", reason="ROUTE_NOT_FOUND"
        )
        return problem(missing, door.trace_id(request.headers))

    async def graphql(scope: Scope, receive: Receive, send: Send) -> None:
        """One request for the graph."""
        response = await http.answer(GraphQLRequest(scope, receive))
        await response(scope, receive, send)

    return _Api(
        Surroundings(graphql, rt),
        sockets,
        routes=[
            Route(GRAPHQL, http.answer, methods=[*METHODS, "GET", "POST"]),
            *graphiql.routes(),
            *health.routes(rt),
            *metrics.routes(rt, door),
            *schemas.routes(rt),
            *artifact.routes(rt, door),
            Route("/{path:path}", elsewhere, methods=[*METHODS, "GET", "POST"]),
        ],
        middleware=[Middleware(Surroundings, rt=rt)],
    )
