"""graphql-transport-ws: how a connection is let in, what closes it, and that operations stand alone."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import websockets
from gql import gql

from runtime.model.errors import MaestroError
from runtime.model.identity import Principal
from subgraph.context import Door
from subgraph.document.persisted import digest_of
from subgraph.http.frames import Sockets
from tests.http.serving import Served, asking
from tests.support.processes import eventually

PROTOCOL = "graphql-transport-ws"
QUERY = "{ workflows { totalCount } }"


@pytest.fixture
def server(tenant_server: Served) -> Served:
    """These tests only speak to it."""
    return tenant_server


async def connect(server: Served, **more: Any) -> websockets.ClientConnection:
    url = f"{server.url.replace('http', 'ws', 1)}/graphql"
    return await websockets.connect(url, subprotocols=[websockets.Subprotocol(PROTOCOL)], **more)


async def initialised(
    server: Served, payload: Any = None, **more: Any
) -> websockets.ClientConnection:
    socket = await connect(server, **more)
    await socket.send(json.dumps({"type": "connection_init", "payload": payload or {}}))
    return socket


async def close_code(socket: websockets.ClientConnection) -> int | None:
    async with asyncio.timeout(10):
        await socket.wait_closed()
    return socket.close_code


async def answers(socket: websockets.ClientConnection, id: str) -> list[dict[str, Any]]:
    """The messages of one operation until its last."""
    found = []
    async with asyncio.timeout(10):
        async for text in socket:
            message = json.loads(text)
            if message.get("id") == id:
                found.append(message)
                if message["type"] != "next":
                    return found
    return found


@pytest.mark.parametrize(
    "payload", [{}, {"authorization": "Bearer x.y.z"}, {"authorization": 5}, {"token": "x"}]
)
async def test_without_a_valid_token_the_connection_is_closed_with_4401(
    server: Served, payload: dict[str, Any]
) -> None:
    socket = await initialised(server, payload)

    assert await close_code(socket) == 4401


async def test_a_purpose_that_cannot_be_one_is_closed_with_4403(server: Served) -> None:
    payload = {"authorization": server.bearer()["Authorization"], "x-purpose": "x" * 300}

    assert await close_code(await initialised(server, payload)) == 4403


async def test_a_token_that_runs_out_ends_one_who_reads_and_one_who_does_not(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[Sockets] = []
    connected = Sockets.handle_connect

    def noted(one: Sockets, event: Any) -> None:
        here.append(one)
        connected(one, event)

    # It runs out when both are let in, however long that takes.
    has_run_out = asyncio.Event()
    looked = Door.look_again

    async def looked_again(door: Door, who: Principal, *more: Any) -> MaestroError | None:
        return await looked(
            door, replace(who, expires_at=0.0) if has_run_out.is_set() else who, *more
        )

    monkeypatch.setattr(Sockets, "handle_connect", noted)
    monkeypatch.setattr(Door, "next_look", lambda *_: 0.05)
    monkeypatch.setattr(Door, "look_again", looked_again)
    payload = {"authorization": server.bearer()["Authorization"]}
    reader, slow = [await initialised(server, payload) for _ in range(2)]
    for socket in (reader, slow):
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        query = {"query": "subscription { executions { kind } }"}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
    live = server.rt.services.executions._live
    who = await server.rt.authenticator.principal(payload["authorization"])

    def watching() -> int:
        # Of this test alone: the server lasts, and what others watched may not be over.
        topics = live._topics.items()
        return sum(len(topic._seats) for (tenant, _), topic in topics if tenant == who.tenant_id)

    await eventually(lambda: watching() == 2, what="both subscriptions")
    here[1].pause_writing()
    has_run_out.set()

    assert await close_code(reader) == 4401
    assert await close_code(slow) == 1006
    await eventually(lambda: watching() == 0, what="the end of both subscriptions")


async def test_the_token_may_come_with_the_upgrade(server: Served) -> None:
    socket = await initialised(server, additional_headers=server.bearer())

    async with socket:
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}


async def test_to_subscribe_before_the_token_is_closed_with_4401(server: Served) -> None:
    socket = await connect(server)
    await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": QUERY}}))

    assert await close_code(socket) == 4401


async def test_pages_of_other_origins_are_turned_away(server: Served) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await connect(server, origin=websockets.Origin("https://evil.example"))

    assert caught.value.response.status_code == 403


async def test_queries_and_refusals_share_a_connection(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    async with socket:
        for key, query in {
            "ok": QUERY,
            "parse": "{",
            "unknown": "{ nothing }",
            "deep": "{a" * 99,
        }.items():
            await socket.send(
                json.dumps({"type": "subscribe", "id": key, "payload": {"query": query}})
            )
            found = await answers(socket, key)
            if key == "ok":
                assert found[0]["payload"] == {"data": {"workflows": {"totalCount": 0}}}
                assert found[-1]["type"] == "complete"
            else:
                assert [message["type"] for message in found] == ["error"]
                assert found[0]["payload"][0]["extensions"]["code"].startswith(
                    ("GRAPHQL_", "QUERY_")
                )


async def test_what_one_operation_read_the_next_reads_anew(server: Served) -> None:
    look = gql("query($id: ID!) { workflow(id: $id) { description } }")
    workflow_id = await server.publish()

    async with server.listener() as session:
        before = await session.execute(asking(look, {"id": workflow_id}))
        await server.ask(
            'mutation($id: ID!) { updateWorkflow(input: {workflowId: $id, description: "new"}) { errors { code } } }',
            {"id": workflow_id},
        )
        after = await session.execute(asking(look, {"id": workflow_id}))

    assert before["workflow"]["description"] != "new"
    assert after["workflow"]["description"] == "new"


async def test_a_message_over_the_limit_ends_the_connection(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    assert json.loads(await socket.recv()) == {"type": "connection_ack"}

    await socket.send(json.dumps({"type": "ping", "payload": {"x": "x" * 2_000_000}}))

    assert await close_code(socket) == 4400


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        b"{}",
        "[]",
        "null",
        "5",
        '"x"',
        "{}",
        '{"type": []}',
        '{"type": "start"}',
        '{"type": "next", "id": "1", "payload": {}}',
        '{"type": "ping", "payload": 5}',
        '{"type": "pong", "payload": []}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": 5, "payload": {"query": "{ a }"}}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{ a }"}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "complete", "id": []}',
        '{"type": "complete"}',
    ],
)
async def test_a_frame_that_is_no_message_closes_with_4400(
    server: Served, frame: str | bytes
) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    assert json.loads(await socket.recv()) == {"type": "connection_ack"}

    await socket.send(frame)

    assert await close_code(socket) == 4400


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"query": QUERY, "variables": []}, "VARIABLES"),
        ({"query": QUERY, "operationName": 5}, "OPERATION_NAME"),
        ({"query": 5}, "QUERY_MISSING"),
        ({}, "QUERY_MISSING"),
    ],
)
async def test_an_operation_is_refused_as_over_http(
    server: Served, payload: dict[str, Any], reason: str
) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    async with socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        (refused,) = await answers(socket, "1")

    assert refused["type"] == "error"
    assert refused["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert refused["payload"][0]["extensions"]["reason"] == reason


async def test_other_subprotocols_are_not_spoken(server: Served) -> None:
    url = f"{server.url.replace('http', 'ws', 1)}/graphql"
    for offered in (["graphql-ws"], ["graphql-transport-ws-2"], []):
        protocols = [websockets.Subprotocol(each) for each in offered] or None
        socket = await websockets.connect(url, subprotocols=protocols)

        assert await close_code(socket) == 4406


async def test_who_does_not_say_hello_is_left(server: Served) -> None:
    socket = await connect(server)

    assert await close_code(socket) == 4408


async def test_a_hello_that_is_no_object_closes_with_4400(server: Served) -> None:
    socket = await connect(server)
    await socket.send('{"type": "connection_init", "payload": []}')

    assert await close_code(socket) == 4400


async def test_hello_is_said_once(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    await socket.send(json.dumps({"type": "connection_init"}))

    assert await close_code(socket) == 4429


async def test_an_id_is_used_by_one_operation_at_a_time(server: Served) -> None:
    await server.publish()
    async with server.client() as session:
        execution = await server.enqueue(session)
    query = f'subscription {{ executionEvents(id: "{execution}") {{ sequence }} }}'
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    for _ in range(2):
        message = {"type": "subscribe", "id": "1", "payload": {"query": query}}
        await socket.send(json.dumps(message))

    assert await close_code(socket) == 4409


async def test_a_ping_is_answered_and_a_bad_document_ends_itself_only(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    async with socket:
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        await socket.send('{"type": "pong"}')
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}
        for key, query in (("bad", "{"), ("good", QUERY)):
            message = {"type": "subscribe", "id": key, "payload": {"query": query}}
            await socket.send(json.dumps(message))
        (refused,) = await answers(socket, "bad")
        good = await answers(socket, "good")

    assert refused["payload"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert [message["type"] for message in good] == ["next", "complete"]


async def test_too_many_messages_end_the_connection(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    with suppress(websockets.ConnectionClosed):
        for _ in range(5_000):
            await socket.send('{"type": "pong"}')

    assert await close_code(socket) == 4429


async def test_messages_are_not_compressed(server: Served) -> None:
    socket = await connect(server)
    async with socket:
        response = socket.response

    assert response is not None
    assert "Sec-WebSocket-Extensions" not in response.headers


async def test_a_document_is_named_by_its_digest(server: Served) -> None:
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(QUERY)}}
    async with socket:
        for key, more in (("1", {}), ("2", {"query": QUERY}), ("3", {})):
            payload = {"extensions": extensions, **more}
            await socket.send(json.dumps({"type": "subscribe", "id": key, "payload": payload}))
            found = await answers(socket, key)
            if key == "1":
                assert found[0]["payload"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
            else:
                assert [message["type"] for message in found] == ["next", "complete"]


async def test_one_operation_too_many_is_refused_with_a_code(server: Served) -> None:
    await server.publish()
    async with server.client() as session:
        execution = await server.enqueue(session)
    query = f'subscription {{ executionEvents(id: "{execution}") {{ sequence }} }}'
    socket = await initialised(server, {"authorization": server.bearer()["Authorization"]})
    async with socket:
        for number in range(101):
            message = {"type": "subscribe", "id": str(number), "payload": {"query": query}}
            await socket.send(json.dumps(message))
        (refused,) = await answers(socket, "100")

    assert refused["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
