"""Server-sent events: the same streams for those whose proxies let no WebSocket through."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runtime.model.errors import MaestroError
from runtime.model.identity import Principal
from subgraph.context import Door
from subgraph.http.frames import Requests
from tests.http.serving import Served, serving
from tests.http.test_graph_streams import GATED
from tests.support.processes import eventually
from tests.support.steps import CALLS

WATCH = "subscription($id: ID!, $after: String) { executionEvents(id: $id, after: $after) { cursor type } }"
ACCEPT = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    CALLS.clear()
    yield
    CALLS.clear()


async def events(server: Served, **more: Any) -> list[tuple[str, Any]]:
    """The events of one stream until it ends."""
    found: list[tuple[str, Any]] = []
    headers = {**server.bearer(**more.pop("who", {})), **ACCEPT}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/graphql", json=more, headers=headers) as response,
    ):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        name = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data:"):
                found.append((name, json.loads(line[5:].strip() or b"null")))
    return found


async def test_an_execution_is_watched_to_its_end(server: Served, worker: None) -> None:
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)

    found = await events(server, query=WATCH, variables={"id": execution_id})
    seen = [data["data"]["executionEvents"] for name, data in found if name == "next"]
    rest = await events(
        server, query=WATCH, variables={"id": execution_id, "after": seen[1]["cursor"]}
    )

    assert found[-1] == ("complete", None)
    assert [int(event["cursor"]) for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "EXECUTION_COMPLETED"
    assert [data for name, data in rest if name == "next"] == [data for _, data in found[2:-1]]


async def test_a_subscription_may_come_by_get_as_browsers_and_gateways_send_it(
    server: Served, worker: None
) -> None:
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    asked = {"query": WATCH, "variables": json.dumps({"id": execution_id})}

    streamed = await server.request(
        "GET", "/graphql", params=asked, headers={**server.bearer(), **ACCEPT}
    )
    plain = await server.request("GET", "/graphql", params=asked, headers=server.bearer())

    assert streamed.body.endswith("event: complete\ndata:\n\n")
    assert "EXECUTION_COMPLETED" in streamed.body
    assert plain.body["errors"][0]["extensions"]["reason"] == "SUBSCRIPTION_OVER_HTTP"


async def test_a_browser_that_was_cut_off_goes_on_after_the_last_event_it_saw(
    server: Served, worker: None
) -> None:
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    query = "subscription($id: ID!) { executionEvents(id: $id) { sequence } }"
    body = {"query": query, "variables": {"id": execution_id}}

    async def lines(**headers: str) -> list[str]:
        sent = {**server.bearer(), **ACCEPT, **headers}
        answer = await server.request("POST", "/graphql", json=body, headers=sent)
        return str(answer.body).split("\n")

    whole = [line for line in await lines() if line.startswith("id: ")]
    rest = [line for line in await lines(**{"Last-Event-ID": "3"}) if line.startswith("id: ")]

    assert whole == [f"id: {n + 1}" for n in range(len(whole))]
    assert rest == whole[3:]


@pytest.mark.parametrize("query", [WATCH, "{ workflows { totalCount } }"])
async def test_what_a_client_says_it_has_seen_is_no_place_of_an_event(
    server: Served, query: str
) -> None:
    sent = {**server.bearer(), **ACCEPT, "Last-Event-ID": "x retry: 1"}
    body = {"query": query, "variables": {"id": "01890a5d-ac96-774b-bcce-b302099a8057"}}

    answer = await server.request("POST", "/graphql", json=body, headers=sent)

    assert answer.body.startswith("event: next\n")
    assert "retry" not in answer.body


@pytest.mark.parametrize(
    "accept",
    [
        'multipart/mixed;subscriptionSpec="1.0", application/json',
        'application/json, multipart/mixed; boundary="x"; subscriptionSpec=1.0',
    ],
)
async def test_a_router_gets_parts(server: Served, worker: None, accept: str) -> None:
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)

    answer = await server.request(
        "POST",
        "/graphql",
        json={"query": WATCH, "variables": {"id": execution_id}},
        headers={**server.bearer(), "Accept": accept},
    )
    plain = await server.request(
        "POST",
        "/graphql",
        json={"query": "{ __typename }"},
        headers={**server.bearer(), "Accept": accept},
    )

    kind = answer.headers["Content-Type"]
    assert kind == 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"'
    assert answer.body.endswith("\r\n--graphql--\r\n")
    parts = [
        part.partition("\r\n\r\n")[2] for part in str(answer.body).split("\r\n--graphql")[1:-1]
    ]
    seen = [json.loads(part)["payload"]["data"]["executionEvents"] for part in parts]
    assert [event["cursor"] for event in seen] == [str(n + 1) for n in range(len(seen))]
    assert seen[-1]["type"] == "EXECUTION_COMPLETED"
    assert plain.headers["Content-Type"] == "application/json"


async def test_a_query_is_a_stream_of_one(server: Served) -> None:
    found = await events(server, query="{ workflows { totalCount } }")

    assert found == [("next", {"data": {"workflows": {"totalCount": 0}}}), ("complete", None)]


async def test_what_is_not_there_is_said_in_the_stream(server: Served) -> None:
    found = await events(
        server, query=WATCH, variables={"id": "01890a5d-ac96-774b-bcce-b302099a8057"}
    )

    assert found[0][1]["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert found[-1] == ("complete", None)


@pytest.mark.parametrize(
    ("headers", "query", "status"), [({}, WATCH, 401), (None, "{ nothing }", 400), (None, "{", 400)]
)
async def test_a_refusal_comes_before_the_stream(
    server: Served, headers: dict[str, str] | None, query: str, status: int
) -> None:
    sent = ACCEPT | (server.bearer() if headers is None else headers)
    answer = await server.request("POST", "/graphql", json={"query": query}, headers=sent)

    assert answer.status == status
    assert answer.body["errors"]


async def test_a_client_that_leaves_is_forgotten(server: Served) -> None:
    await server.publish(GATED)
    open_now = server.rt.metrics.subscribers._value
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    leaving = asyncio.create_task(events(server, query=WATCH, variables={"id": execution_id}))
    await eventually(lambda: open_now.get() == 1)

    leaving.cancel()
    await asyncio.wait([leaving])

    await eventually(lambda: open_now.get() == 0)


async def test_a_stream_ends_with_its_token(server: Served) -> None:
    await server.publish(GATED)
    async with server.client() as session:
        execution_id = await server.enqueue(session)

    async with asyncio.timeout(10):
        found = await events(
            server, query=WATCH, variables={"id": execution_id}, who={"ttl_seconds": 2}
        )

    assert [name for name, _ in found] == ["next"]


async def test_a_client_that_takes_nothing_is_given_up_when_its_token_ends(
    database_url: str, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, has_run_out = asyncio.Event(), asyncio.Event()
    here: list[Requests] = []
    complete, looked = Requests.on_headers_complete, Door.look_again

    def noted(one: Requests) -> None:
        here.append(one)
        complete(one)

    async def looked_again(door: Door, who: Principal, *more: Any) -> MaestroError | None:
        return await looked(
            door, replace(who, expires_at=0.0) if has_run_out.is_set() else who, *more
        )

    monkeypatch.setattr(Requests, "on_headers_complete", noted)
    monkeypatch.setattr(Door, "next_look", lambda *_: 0.05)
    monkeypatch.setattr(Door, "look_again", looked_again)

    def around(app: Any) -> Any:
        async def noting(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                ended.set()

        return noting

    query = f"{{ _service {{ {' '.join(f'a{n}: sdl' for n in range(100))} }} }}"
    body = json.dumps({"query": query}).encode()
    async with serving(database_url, redis_url, home, around=around) as server:
        head = [
            "POST /graphql HTTP/1.1",
            "Host: a",
            "Accept: text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Authorization: {server.bearer()['Authorization']}",
        ]
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", int(server.url.rpartition(":")[2])))
            await loop.sock_sendall(client, "\r\n".join([*head, "", ""]).encode() + body)
            assert (await loop.sock_recv(client, 15)) == b"HTTP/1.1 200 OK"

            await eventually(lambda: here[0].flow.write_paused, what="a full buffer")
            has_run_out.set()
            await asyncio.wait_for(ended.wait(), 30)
