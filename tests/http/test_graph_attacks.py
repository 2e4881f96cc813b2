"""Attacks on a real server process, over both transports: each is refused by its name, and the server lives on.

The documents are those of `benchmarks/attacks.py`, which measures what each costs. Here every one of them is sent to one
`mc serve`, whose answers between them and afterwards are those of a server that nobody attacks.
"""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest
import websockets

from benchmarks.attacks import BORDERLINE, REFUSED, look_at
from runtime.clock import SystemClock
from runtime.identity.development import DevIssuer
from subgraph.document.documents import Documents
from subgraph.schema.build import build_schema
from tests.support.effort import effort
from tests.support.processes import Mc, Running

QUERY = "{ workflows { totalCount } }"
COUNTED = {"data": {"workflows": {"totalCount": 0}}}
PROTOCOL = websockets.Subprotocol("graphql-transport-ws")
CODES = {"QUERY_TOO_COMPLEX", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}
VARIABLES: dict[str, tuple[str, Any]] = {
    "many ids": ("query($x: [ID!]!) { nodes(ids: $x) { id } }", ["x"] * 200_000),
    "many words": (
        "query($x: ExecutionFilter) { executions(filter: $x) { totalCount } }",
        {"status": ["RUNNING"] * 100_000},
    ),
    "many objects": (
        "mutation($x: EnqueueExecutionInput!) { enqueueExecution(input: $x) { created } }",
        {"workflowName": "x", "labels": [{"key": "a", "value": "b"}] * 40_000},
    ),
    "a page without an end": (
        "query($x: Int) { executions(first: $x) { edges { node { id } } } }",
        2_147_483_647,
    ),
}


@pytest.fixture
async def served(mc: Mc, database_url: str, redis_url: str) -> Running:
    """`mc serve` as a process of its own."""
    mc.environ |= {"MC_DATABASE_URL": database_url, "MC_REDIS_URL": redis_url}
    return await mc.start("serve").ready()


def bearer(mc: Mc) -> str:
    issuer = DevIssuer.open(mc.home, SystemClock())
    token = issuer.issue(
        tenant="default", subject="eve", roles=["admin"], scopes=[], ttl_seconds=600
    )
    return f"Bearer {token}"


async def post(session: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post(f"{url}/graphql", data=io.BytesIO(data)) as response:
        return response.status, await response.json(content_type=None)


def codes(body: Any) -> set[str]:
    return {error["extensions"]["code"] for error in body["errors"]}


async def test_every_attack_over_http_is_refused_and_the_server_lives(
    mc: Mc, served: Running
) -> None:
    headers = {"Authorization": bearer(mc), "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for name, text in (REFUSED | BORDERLINE).items():
            status, body = await post(session, served.url, {"query": text})
            if name in REFUSED:
                assert codes(body) <= CODES, name
                assert status == 200, name
            else:
                assert "errors" not in body or "INTERNAL" not in codes(body), name
            assert await post(session, served.url, {"query": QUERY}) == (200, COUNTED), name
        for name, (text, value) in VARIABLES.items():
            _, body = await post(session, served.url, {"query": text, "variables": {"x": value}})
            assert codes(body) == {"QUERY_TOO_COMPLEX"}, name
        batch = await post(session, served.url, [{"query": QUERY}] * 1_000)
        digits = await post(
            session, served.url, b'{"query": "{ a }", "variables": {"x": ' + b"9" * 100_000 + b"}}"
        )
        after = await post(session, served.url, {"query": QUERY})

    assert (batch[0], codes(batch[1])) == (400, {"BAD_USER_INPUT"})
    assert (digits[0], codes(digits[1])) == (400, {"BAD_USER_INPUT"})
    assert after == (200, COUNTED)
    assert served.process.poll() is None


async def test_every_attack_over_the_websocket_ends_its_operation_only(
    mc: Mc, served: Running
) -> None:
    url = f"{served.url.replace('http', 'ws', 1)}/graphql"
    async with websockets.connect(url, subprotocols=[PROTOCOL], max_size=None) as socket:
        await socket.send(
            json.dumps({"type": "connection_init", "payload": {"authorization": bearer(mc)}})
        )
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        for name, text in REFUSED.items():
            first = await answer(socket, name, text)
            assert first["type"] == "error", name
            assert {each["extensions"]["code"] for each in first["payload"]} <= CODES, name
        lives = await answer(socket, "lives", QUERY)

    assert lives["payload"] == COUNTED


async def answer(socket: websockets.ClientConnection, id: str, text: str) -> Any:
    """The first message of an operation."""
    message = {"type": "subscribe", "id": id, "payload": {"query": text}}
    await socket.send(json.dumps(message))
    while (found := json.loads(await socket.recv())).get("id") != id:
        pass
    return found


@pytest.fixture(scope="module")
def documents() -> Documents:
    return Documents(build_schema())


@pytest.mark.parametrize("name", REFUSED | BORDERLINE)
def test_an_attack_takes_bounded_effort(documents: Documents, name: str) -> None:
    """The bound is far above what it takes, and far below what it would take without limits."""
    text = (REFUSED | BORDERLINE)[name]

    with effort() as spent:
        errors = look_at(documents, text)

    assert spent.seconds < 1
    if name in REFUSED:
        assert {(error.extensions or {})["code"] for error in errors} <= CODES
        assert errors
