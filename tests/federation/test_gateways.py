"""Two real gateways in front of two real subgraphs: queries both ways, who asks, refusals with their place, changes, streams."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from subgraph.document.documents import Documents, Operation
from subgraph.schema.build import build_schema
from subgraph.schema.sdl import write_sdl
from tests.federation.composing import IS_INSTALLED, NODE, ROOT, compose, node_version, supergraph
from tests.federation.directory import SCHEMA
from tests.http.serving import Served, serving, working
from tests.support.servers import flush_redis

CLIENTS = ROOT / "tests" / "node"
GATEWAYS = ("@apollo/gateway", "@graphql-hive/gateway-runtime")
pytestmark = [
    pytest.mark.node,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(NODE is None, reason="gateways: node not found"),
    pytest.mark.skipif(node_version() < 20, reason="gateways: they need Node.js 20 or newer"),
    pytest.mark.skipif(
        not (IS_INSTALLED and all((CLIENTS / "node_modules" / name).is_dir() for name in GATEWAYS)),
        reason="gateways: npm ci in tests/node and in scripts/compose was not run",
    ),
]
both = pytest.mark.parametrize("gateway", ["apollo", "hive"])
KEEP = "mutation($customer: ID!, $id: ID!) { keepExecution(customer: $customer, execution: $id) { id } }"
WATCH = """subscription($id: ID!) { executionEvents(id: $id) {
  sequence type execution { id requestedBy { name } } } }"""


@dataclass(slots=True)
class Graph:
    """The engine, both gateways, and how the engine was spoken to."""

    engine: Served
    heard: list[str]
    gateways: dict[str, str] = field(default_factory=dict)

    async def ask(
        self, gateway: str, query: str, variables: dict[str, Any] | None = None, /, **headers: str
    ) -> Any:
        """One operation through a gateway, as an admin unless other headers are given; the whole response."""
        body = {"query": query, "variables": variables}
        sent = headers or self.engine.bearer()
        url = self.gateways[gateway]
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=sent) as answer,
        ):
            return await answer.json(content_type=None)

    async def enqueue(self, **more: Any) -> str:
        """An execution of `greet`; its id."""
        async with self.engine.client() as session:
            return await self.engine.enqueue(session, **more)


def listening_in(heard: list[str]) -> Any:
    """Notes by which way each request came to the engine."""

    def around(app: Any) -> Any:
        async def heard_by(scope: Any, receive: Any, send: Any) -> None:
            accept = dict(scope["headers"]).get(b"accept", b"").decode()
            heard.append("sse" if accept.startswith("text/event-stream") else scope["type"])
            await app(scope, receive, send)

        return heard_by

    return around


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[str]:
    """A process that serves; the line in which it says where."""
    made = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert made.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await made.stdout.readline()
        assert line.startswith(b"http://"), command
        yield line.decode().strip()
    finally:
        # Hive's runtime does not end by itself when it is asked to.
        made.kill()
        await made.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def graph(
    databases: Any, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Graph]:
    """Everything at once: the engine with a worker, the directory, and a supergraph for each gateway."""
    folder: Path = tmp_path_factory.mktemp("gateways")
    home = folder / "home"
    home.mkdir(mode=0o700)
    await flush_redis(redis_server)
    heard: list[str] = []
    async with AsyncExitStack() as stack:
        around = listening_in(heard)
        engine = await stack.enter_async_context(
            serving(databases.clone(), redis_server, home, around=around)
        )
        await stack.enter_async_context(working(engine.rt))
        url = f"{engine.url}/graphql"
        directory = await stack.enter_async_context(
            process(sys.executable, "-m", "tests.federation.directory", url)
        )
        config = supergraph(folder, write_sdl(SCHEMA), "directory", engine=url, url=directory)
        made = Graph(engine, heard)
        whole, plain = folder / "whole.graphql", folder / "plain.graphql"
        done = await asyncio.gather(
            asyncio.to_thread(compose, config, str(whole)),
            asyncio.to_thread(compose, config, str(plain), "--without-access"),
        )
        assert [each.returncode for each in done] == [0, 0], done
        apollo, hive = await asyncio.gather(
            stack.enter_async_context(process(str(NODE), str(CLIENTS / "apollo.mjs"), str(plain))),
            stack.enter_async_context(process(str(NODE), str(CLIENTS / "hive.mjs"), str(whole))),
        )
        made.gateways = dict(
            zip(("apollo", "hive", "hive-socket"), (apollo, *hive.split()), strict=True)
        )
        await engine.publish()
        yield made


@both
async def test_they_say_who_owns_our_workflow_and_we_what_their_person_owns(
    graph: Graph, gateway: str
) -> None:
    query = """{ workflow(name: "greet") { status owner { name
      workflows { id name currentVersion { version } } } } }"""

    answer = await graph.ask(gateway, query)

    workflow = answer["data"]["workflow"]
    assert workflow["owner"]["name"] == "Ada Lovelace"
    assert workflow["status"] == "PUBLISHED"
    (owned,) = workflow["owner"]["workflows"]
    assert (owned["name"], owned["currentVersion"]) == ("greet", {"version": "1.0.0"})


@both
async def test_their_customer_and_their_team_show_executions_of_ours_in_one_batch(
    graph: Graph, gateway: str
) -> None:
    customer, team = f"c-of-{gateway}", f"team-of-{gateway}"
    ids = [await graph.enqueue(labels=[{"key": "team", "value": team}]) for _ in range(3)]
    for one in ids:
        await graph.ask(gateway, KEEP, {"customer": customer, "id": one})
    kept = """query($id: ID!) { customer(id: $id) {
      executions { id input workflow { name } requestedBy { name } } } }"""
    labelled = "query($id: ID!) { team(id: $id) { executions { id priority } } }"

    graph.heard.clear()
    of_customer = await graph.ask(gateway, kept, {"id": customer})
    batches = list(graph.heard)
    of_team = await graph.ask(gateway, labelled, {"id": team})

    executions = of_customer["data"]["customer"]["executions"]
    assert [each["id"] for each in executions] == ids
    assert executions[0]["input"] == {"name": "Ada"}
    assert executions[0]["workflow"] == {"name": "greet"}
    assert executions[0]["requestedBy"] == {"name": "Alice Liddell"}
    assert {each["id"] for each in of_team["data"]["team"]["executions"]} == set(ids)
    assert batches == ["http"]


@both
async def test_both_subgraphs_hear_who_asks(graph: Graph, gateway: str) -> None:
    query = '{ me { name } workflow(name: "greet") { id } }'

    mine = await graph.ask(gateway, query)
    others = await graph.ask(gateway, query, **graph.engine.bearer(tenant="other"))
    nobodys = await graph.ask(gateway, query, Authorization="Bearer x.e30=.z")

    assert mine["data"]["me"] == others["data"]["me"] == {"name": "Alice Liddell"}
    assert mine["data"]["workflow"]["id"]
    assert others["data"]["workflow"] is None
    assert nobodys["data"]["workflow"] is None
    (refusal,) = nobodys["errors"]
    assert refusal["extensions"]["code"] == "UNAUTHENTICATED"


# Hive leaves the position out of the paths of what it gathered.
@pytest.mark.parametrize(
    ("gateway", "place"),
    [
        ("apollo", ["customer", "executions", 1]),
        ("hive", ["customer", "executions", "priority"]),
    ],
)
async def test_a_reference_that_names_nothing_is_refused_at_its_place(
    graph: Graph, gateway: str, place: list[Any]
) -> None:
    customer = f"lost-of-{gateway}"
    for one in (await graph.enqueue(), "01890a5d-ac96-774b-bcce-b302099a8057"):
        await graph.ask(gateway, KEEP, {"customer": customer, "id": one})
    query = "query($id: ID!) { customer(id: $id) { name executions { id priority } } }"

    answer = await graph.ask(gateway, query, {"id": customer})

    known, lost = answer["data"]["customer"]["executions"]
    assert known["priority"] == 0
    assert lost is None
    (refusal,) = answer["errors"]
    assert refusal["path"] == place
    assert refusal["extensions"]["code"] == "NOT_FOUND"
    assert refusal["extensions"]["serviceName"] == "maestro"
    assert re.fullmatch("[0-9a-f]{32}", refusal["extensions"]["trace_id"])


@both
async def test_a_change_goes_through_and_a_refused_one_says_why(graph: Graph, gateway: str) -> None:
    query = """mutation($input: EnqueueExecutionInput!) { enqueueExecution(input: $input) {
      created execution { id workflow { owner { name } } } errors { code path } } }"""

    done = await graph.ask(
        gateway, query, {"input": {"workflowName": "greet", "input": {"name": "Bo"}}}
    )
    wrong = await graph.ask(gateway, query, {"input": {"workflowName": "greet", "input": {}}})
    denied = await graph.ask(
        gateway, query, {"input": {"workflowName": "greet"}}, **graph.engine.bearer("viewer")
    )

    payload = done["data"]["enqueueExecution"]
    assert payload["created"] is True
    assert payload["execution"]["workflow"]["owner"] == {"name": "Ada Lovelace"}
    assert wrong["data"]["enqueueExecution"]["errors"][0]["path"][:2] == ["input", "input"]
    assert denied["data"]["enqueueExecution"]["errors"][0]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(("gateway", "way"), [("hive", "sse"), ("hive-socket", "websocket")])
async def test_hive_streams_our_events_with_what_they_know(
    graph: Graph, gateway: str, way: str
) -> None:
    execution_id = await graph.enqueue()
    body = {"query": WATCH, "variables": {"id": execution_id}}
    headers = {**graph.engine.bearer(), "Accept": "text/event-stream"}

    graph.heard.clear()
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as session,
        session.post(graph.gateways[gateway], json=body, headers=headers) as answer,
    ):
        text = (await answer.read()).decode()
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    events = [json.loads(line)["data"]["executionEvents"] for line in lines]

    assert [event["sequence"] for event in events] == [str(n + 1) for n in range(len(events))]
    assert events[-1]["type"] == "EXECUTION_COMPLETED"
    assert events[0]["execution"] == {"id": execution_id, "requestedBy": {"name": "Alice Liddell"}}
    assert way in graph.heard


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ('{ workflow(name: "greet") { id name status } }', {}),
        ("{ executions { totalCount edges { node { id } } } }", {}),
        (
            "query($n: Int) { executions(first: $n) { edges { node { id steps { id } } } pageInfo { endCursor } } }",
            {"n": 7},
        ),
        (
            """{ executions(first: 3) { edges { node {
              events(first: 4) { edges { node { id } } } cost { amount } } } } }""",
            {},
        ),
    ],
)
async def test_a_gateway_counts_the_cost_that_we_count(
    graph: Graph, query: str, variables: dict[str, Any]
) -> None:
    """Hive counts by the SDL alone, in code that is not ours (fragments with a name as if they stood alone, so none here)."""
    found = Documents(build_schema()).operation(query, None, variables)
    assert isinstance(found, Operation)

    answer = await graph.ask("hive", query, variables)

    assert "errors" not in answer
    assert answer["extensions"]["cost"]["estimated"] == found.cost
