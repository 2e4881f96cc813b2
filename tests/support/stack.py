"""The whole service as its users meet it: `mc serve`, `mc worker`, `mc scheduler`, the shop, and a real GraphQL client."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from gql import Client, GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.websockets import WebsocketsTransport

from runtime.clock import SystemClock
from runtime.identity.development import DevIssuer
from tests.support.processes import ROOT, Mc, Running

CREATE = """mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) {
  workflow { id name } findings { rule message line } errors { code message } } }"""
PUBLISH = """mutation ($input: PublishWorkflowInput!) { publishWorkflow(input: $input) {
  version { version digest } errors { code message } } }"""
ENQUEUE = """mutation ($input: EnqueueExecutionInput!) { enqueueExecution(input: $input) {
  created execution { id status } errors { code message path } } }"""
EXECUTION = """query ($id: ID!) { execution(id: $id) {
  id status output error { type message stepKey } generation
  steps { stepKey status attempt output error { type message } attempts { attempt status } }
  events(first: 1000) { edges { node { sequence type stepKey attempt at } } } } }"""
WATCH = """subscription ($id: ID!, $after: String) { executionEvents(id: $id, after: $after) {
  sequence cursor type stepKey attempt executionStatus } }"""
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT", "DEAD_LETTERED"}


@dataclass(slots=True)
class Service:
    """The processes of one service."""

    mc: Mc
    running: dict[str, Running] = field(default_factory=dict)

    def start(self, verb: str, *arguments: str) -> Running:
        """Start one of the service's processes, or start it again."""
        self.running[verb] = self.mc.start(verb, *arguments)
        return self.running[verb]


@dataclass(slots=True)
class Stack:
    """A service seen by one tenant; `ask` speaks HTTP, `watch` WebSocket."""

    service: Service
    token: str
    tenant: str = "default"

    @classmethod
    def of_tenant(cls, service: Service, tenant: str, role: str = "admin") -> Stack:
        """With a token of the development issuer of the service's folder."""
        issuer = DevIssuer.open(service.mc.home, SystemClock())
        return cls(service, issuer.issue(tenant=tenant, subject="ann", roles=[role]), tenant)

    @property
    def mc(self) -> Mc:
        return self.service.mc

    async def ask(self, document: str, **variables: Any) -> Any:
        """One operation over HTTP; raises TransportQueryError for top-level errors."""
        transport = AIOHTTPTransport(
            f"{self.mc.url}/graphql", headers={"Authorization": f"Bearer {self.token}"}
        )
        async with Client(transport=transport) as session:
            return await session.execute(GraphQLRequest(document, variable_values=variables))

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[AsyncClientSession]:
        """A WebSocket session."""
        transport = WebsocketsTransport(
            f"{self.mc.url.replace('http', 'ws')}/graphql",
            init_payload={"authorization": f"Bearer {self.token}"},
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        )
        async with Client(transport=transport) as session:
            yield session

    async def watch(self, execution: str, after: str | None = None) -> list[dict[str, Any]]:
        """Every event of an execution until its end."""
        async with self.socket() as session:
            asked = GraphQLRequest(WATCH, variable_values={"id": execution, "after": after})
            return [answer["executionEvents"] async for answer in session.subscribe(asked)]

    async def until(self, execution: str, kind: str, step: str) -> None:
        """Wait, by subscription, for an event of a step."""
        async with self.socket() as session:
            asked = GraphQLRequest(WATCH, variable_values={"id": execution})
            async for answer in session.subscribe(asked):
                event = answer["executionEvents"]
                if (event["type"], event["stepKey"]) == (kind, step):
                    return
        raise AssertionError(f"{execution} ended without {kind} of {step}")

    async def publish(self, source: str) -> str:
        """Create and publish a definition; its name."""
        name = yaml.safe_load(source)["name"]
        made = (await self.ask(CREATE, input={"name": name, "source": source}))["createWorkflow"]
        assert made["errors"] == [], made
        done = await self.ask(PUBLISH, input={"workflowId": made["workflow"]["id"]})
        assert done["publishWorkflow"]["errors"] == [], done
        return str(made["workflow"]["name"])

    async def enqueue(self, workflow: str, value: Any = None, **more: Any) -> str:
        """Start an execution; its id."""
        body = {"workflowName": workflow, "input": value or {}, **more}
        answer = (await self.ask(ENQUEUE, input=body))["enqueueExecution"]
        assert answer["errors"] == [], answer
        return str(answer["execution"]["id"])

    async def finished(self, execution: str, seconds: float = 60.0) -> dict[str, Any]:
        """The execution, once it has ended."""
        async with asyncio.timeout(seconds):
            while True:
                found: dict[str, Any] = (await self.ask(EXECUTION, id=execution))["execution"]
                if found["status"] in FINAL:
                    return found
                await asyncio.sleep(0.05)


async def start_service(
    mc: Mc, database_url: str, redis_url: str, *, imports: tuple[str, ...] = ()
) -> Service:
    """API, worker and scheduler as three processes on the given servers, with the packages of steps."""
    mc.environ |= {
        "MC_DATABASE_URL": database_url,
        "MC_REDIS_URL": redis_url,
        "MC_EGRESS_ALLOW": "127.0.0.0/8",
    }
    service = Service(mc)
    packages = [word for name in imports for word in ("--import", name)]
    service.start("serve", *packages)
    service.start("worker", *packages)
    service.start("scheduler")
    await service.running["serve"].ready()
    return service


@dataclass(slots=True)
class Shop:
    """The example's shop as a process; its counters are the judge."""

    process: subprocess.Popen[str]
    url: str

    async def counters(self) -> dict[str, Any]:
        """Totals of calls and effects."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/counters") as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found


@contextlib.contextmanager
def open_shop(folder: Path, *flags: str) -> Iterator[Shop]:
    """A shop on a free port, with its ledger in the folder."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "examples.shop",
            "--port",
            "0",
            "--db",
            str(folder / "shop.db"),
            *flags,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "http://" in line, line
        yield Shop(process, line.split()[-1].strip())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
