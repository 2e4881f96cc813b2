"""The graph as whoever has plain strawberry-graphql has it: the library's view, executor and `_entities`.

Schema, resolvers, loaders, statements and the door are ours. Nothing else is: no plan, no document that is remembered,
no limits, no masking of errors.
"""

from __future__ import annotations

from typing import Any

import strawberry
from graphql import DocumentNode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig

from resolvers.context import Context
from runtime.bootstrap import Runtime
from subgraph.context import Door
from subgraph.http.middleware import Surroundings
from subgraph.schema.build import MORE_TYPES
from subgraph.schema.mutation import Mutation
from subgraph.schema.query import Query
from subgraph.schema.subscription import Subscription
from subgraph.types.scalars import SCALARS


class View(GraphQL[Context, None]):
    """Strawberry's, which asks our door who it is."""

    def __init__(self, schema: strawberry.Schema, runtime: Runtime) -> None:
        super().__init__(schema)
        self._door = Door(runtime)

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002 - its form
    ) -> Context:
        """What our resolvers see."""
        who = await self._door.admit(request.headers)
        trace = self._door.trace(request.headers)
        return self._door.context(who, DocumentNode(definitions=()), trace)


def plain(runtime: Runtime) -> Any:
    """The application."""
    schema = strawberry.federation.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=MORE_TYPES,
        federation_version="2.9",
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    return Starlette(
        routes=[Route("/graphql", View(schema, runtime))],
        middleware=[Middleware(Surroundings, rt=runtime)],
    )
