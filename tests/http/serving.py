"""A real server in this process: the application under uvicorn on loopback, over real PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from gql import Client, GraphQLRequest, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.websockets import WebsocketsTransport

from runtime.bootstrap import Runtime, open_runtime
from runtime.identity.development import DevIssuer
from runtime.settings import Settings
from subgraph.app import create_app
from subgraph.http.frames import Requests, Sockets
from tests.support.processes import chosen

GREET = """
name: greet
version: 1.0.0
params:
  name: {type: string, minLength: 1}
steps:
  - id: hello
    uses: core.set@1
    with: {text: "hello {{ params.name }}"}
  - id: shout
    uses: core.set@1
    depends_on: [hello]
    with: {text: "{{ steps.hello.output.text }}!"}
outputs: {text: "{{ steps.shout.output.text }}"}
"""

CREATE = gql("""
mutation Create($input: CreateWorkflowInput!) {
  createWorkflow(input: $input) {
    workflow { id name status draft { digest state } }
    findings { rule severity line }
    errors { __typename code message path ... on DefinitionError { rule line column } }
  }
}
""")
PUBLISH = gql("""
mutation Publish($input: PublishWorkflowInput!) {
  publishWorkflow(input: $input) {
    created
    workflow { id status currentVersion { version } }
    version { id version state digest steps { key dependsOn type } }
    errors { __typename code message path ... on DefinitionError { rule line column } }
  }
}
""")
ENQUEUE = gql("""
mutation Enqueue($input: EnqueueExecutionInput!) {
  enqueueExecution(input: $input) {
    created
    execution { id status workflow { name } }
    errors { code message path ... on OperationError { reason } }
  }
}
""")
EVENTS = gql("""
subscription Watch($id: ID!, $after: String, $types: [ExecutionEventType!]) {
  executionEvents(id: $id, after: $after, types: $types) {
    id sequence cursor type stepKey executionStatus stepStatus
    execution { id status }
  }
}
""")


def asking(request: GraphQLRequest, variables: dict[str, Any]) -> GraphQLRequest:
    """A document with its variables, as `gql` takes them."""
    return GraphQLRequest(request, variable_values=variables)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def codes(self) -> list[str]:
        """The codes of the errors of a GraphQL response."""
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]


@dataclass(frozen=True, slots=True)
class Served:
    """One running server, and clients for it; `tenant` is whom they belong to unless they say otherwise."""

    rt: Runtime
    url: str
    tenant: str = "default"

    def token(
        self,
        role: str | None = "admin",
        *,
        tenant: str | None = None,
        subject: str = "alice",
        groups: Iterable[str] = (),
        scopes: Iterable[str] = (),
        ttl_seconds: float = 3600,
    ) -> str:
        """A token of the development issuer."""
        issuer = DevIssuer.open(self.rt.settings.home, self.rt.clock)
        return issuer.issue(
            tenant=tenant or self.tenant,
            subject=subject,
            groups=groups,
            roles=[role] if role else [],
            scopes=scopes,
            ttl_seconds=ttl_seconds,
        )

    def bearer(self, *arguments: Any, **more: Any) -> dict[str, str]:
        """The header that carries a token."""
        return {"Authorization": f"Bearer {self.token(*arguments, **more)}"}

    @asynccontextmanager
    async def client(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
        """A `gql` session over HTTP."""
        transport = AIOHTTPTransport(
            f"{self.url}/graphql", headers=self.bearer(*arguments, **more), ssl=True
        )
        async with Client(transport=transport, execute_timeout=20) as session:
            yield session

    @asynccontextmanager
    async def listener(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
        """A `gql` session over the WebSocket, its token in `connection_init`."""
        token = self.bearer(*arguments, **more)["Authorization"]
        transport = WebsocketsTransport(
            f"{self.url.replace('http', 'ws', 1)}/graphql",
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
            init_payload={"authorization": token},
        )
        async with Client(transport=transport, execute_timeout=20) as session:
            yield session

    async def request(self, method: str, path: str, **more: Any) -> Answer:
        """One plain request."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}{path}", **more) as response,
        ):
            is_json = "json" in response.headers.get("Content-Type", "")
            body = await response.json(content_type=None) if is_json else await response.text()
            return Answer(response.status, response.headers, body)

    async def ask(
        self, query: str, variables: dict[str, Any] | None = None, /, **headers: str
    ) -> Answer:
        """One GraphQL request as plain HTTP, as an admin unless other headers are given."""
        body = {"query": query, "variables": variables}
        return await self.request("POST", "/graphql", json=body, headers=headers or self.bearer())

    async def publish(self, source: str = GREET, name: str = "greet", **who: Any) -> str:
        """Create and publish a workflow through the graph; its id."""
        async with self.client(**who) as session:
            made = await session.execute(
                asking(CREATE, {"input": {"name": name, "source": source}})
            )
            assert made["createWorkflow"]["errors"] == []
            workflow_id: str = made["createWorkflow"]["workflow"]["id"]
            done = await session.execute(asking(PUBLISH, {"input": {"workflowId": workflow_id}}))
            assert done["publishWorkflow"]["errors"] == []
            return workflow_id

    async def enqueue(self, session: Any, **more: Any) -> str:
        """Start one execution of `greet`; its id."""
        wanted = {"workflowName": "greet", "input": {"name": "Ada"}, **more}
        done = await session.execute(asking(ENQUEUE, {"input": wanted}))
        assert done["enqueueExecution"]["errors"] == []
        execution_id: str = done["enqueueExecution"]["execution"]["id"]
        return execution_id


@asynccontextmanager
async def serving(
    database_url: str,
    redis_url: str,
    home: Path,
    *,
    around: Callable[[Any], Any] = lambda app: app,
    environment: Mapping[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """A server over a runtime of its own, with the connectors of tests/support/steps.py; `around` wraps the application."""
    plain = Settings.from_env({"MC_HOME": str(home), **chosen(), **(environment or {})})
    settings = replace(
        plain,
        database_url=database_url,
        redis_url=redis_url,
        worker=replace(plain.worker, imports=("tests.support.steps",)),
    )
    async with open_runtime(settings, **more) as rt, listening(around(create_app(rt))) as url:
        yield Served(rt, url)


@asynccontextmanager
async def listening(app: Any, ws: Any = Sockets) -> AsyncIterator[str]:
    """An application under uvicorn on a free port of loopback; its address."""
    opened = loopback_socket()
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        http=Requests,
        ws=ws,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([opened]))
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def loopback_socket() -> socket.socket:
    """A listening socket; without the protocol's number asyncio leaves Nagle on, and answers wait 40 ms."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind(("127.0.0.1", 0))
    opened.listen(128)
    return opened


@asynccontextmanager
async def working(rt: Runtime) -> AsyncIterator[None]:
    """A worker in this process, as long as the block lasts."""
    worker = rt.make_worker()
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(drain_seconds=2)
        await task
