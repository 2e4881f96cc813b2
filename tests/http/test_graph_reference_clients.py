"""The reference clients and the audit suite of GraphQL's protocols, from npm, as judges of our servers."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.http.serving import Served

NODE = shutil.which("node")
CLIENTS = Path(__file__).parents[1] / "node"
LIVE = "subscription { executions(first: 2) { kind execution { id status } } }"
WATCH = "subscription($id: ID!) { executionEvents(id: $id) { sequence type } }"
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="reference clients of GraphQL: node not found"),
    pytest.mark.skipif(
        not (CLIENTS / "node_modules" / "graphql-http").is_dir(),
        reason="reference clients of GraphQL: npm ci --prefix tests/node was not run",
    ),
]


async def run(script: str, *arguments: str) -> list[Any]:
    """What a script prints, a JSON value a line."""
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(CLIENTS / script), *arguments, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


async def test_every_audit_of_graphql_over_http_passes(server: Served) -> None:
    audits = await run("audit.mjs", f"{server.url}/graphql", server.token())

    assert len(audits) >= 61
    assert [each for each in audits if each["status"] != "ok"] == []


BOTH = pytest.mark.parametrize(
    ("script", "scheme"), [("watch_ws.mjs", "ws"), ("watch_sse.mjs", "http")]
)


@BOTH
async def test_a_reference_client_watches_an_execution_to_its_end(
    server: Served, worker: None, script: str, scheme: str
) -> None:
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)

    url = f"{server.url.replace('http', scheme, 1)}/graphql"
    seen = await run(script, url, server.token(), WATCH, json.dumps({"id": execution_id}))

    events = [each["data"]["executionEvents"] for each in seen]
    assert [event["sequence"] for event in events] == [str(n + 1) for n in range(len(events))]
    assert events[-1]["type"] == "EXECUTION_COMPLETED"


@BOTH
async def test_a_reference_client_watches_a_list(server: Served, script: str, scheme: str) -> None:
    await server.publish()
    async with server.client() as session:
        ids = [await server.enqueue(session) for _ in range(3)]

    url = f"{server.url.replace('http', scheme, 1)}/graphql"
    seen = await run(script, url, server.token(), LIVE, "{}", "2")

    told = [each["data"]["executions"] for each in seen]
    assert [one["kind"] for one in told] == ["CREATED"] * 2
    assert [one["execution"]["id"] for one in told] == ids[:0:-1]
