"""Live lists through the graph: over the WebSocket, server-sent events and reference clients; across processes and kills."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from gql import gql
from gql.transport.exceptions import TransportQueryError

from runtime.services.live import LivePace
from tests.http.serving import Served, asking
from tests.http.test_graph_over_sse import WATCH, events

LIVE = gql("""
subscription Live($filter: ExecutionFilter, $first: Int, $after: String) {
  executions(filter: $filter, first: $first, after: $after) {
    kind cursor execution { id status workflow { name } }
  }
}
""")
TEXT = "subscription($after: String) { executions(first: 1, after: $after) { kind execution { id status } } }"


@pytest.fixture(autouse=True)
def fast(server: Served) -> None:
    """Lists are told ten times a second."""
    server.rt.services.executions._live._pace = LivePace(interval=0.1)


async def until(found: AsyncIterator[Any], id: str, status: str = "COMPLETED") -> list[Any]:
    """What is told until an execution is told to be in this status."""
    told = []
    async with asyncio.timeout(15):
        async for answer in found:
            told.append(answer["executions"])
            execution = told[-1]["execution"]
            if (execution["id"], execution["status"]) == (id, status):
                return told
    raise AssertionError(f"the stream ended with {told}")


async def test_a_list_is_watched_by_the_filter_of_the_list(server: Served, worker: None) -> None:
    await server.publish()
    labelled = {"filter": {"labels": [{"key": "team", "value": "a"}], "workflowName": ["greet"]}}

    async with server.client() as session, server.listener() as listener:
        other = await server.enqueue(session)
        mine = await server.enqueue(session, labels=[{"key": "team", "value": "a"}])
        async with aclosing(listener.subscribe(asking(LIVE, labelled))) as found:
            told = await until(found, mine)
            later = await server.enqueue(session, labels=[{"key": "team", "value": "a"}])
            told += await until(found, later)

    assert {one["execution"]["id"] for one in told} == {mine, later}
    assert other not in {one["execution"]["id"] for one in told}
    assert told[0]["kind"] == "CREATED"
    assert told[0]["execution"]["workflow"] == {"name": "greet"}


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({"first": 101}, "PAGE_SIZE"), ({"filter": {"labels": [{"key": "a", "value": "\0"}]}}, None)],
)
async def test_what_the_list_refuses_the_live_list_refuses(
    server: Served, variables: dict[str, Any], reason: str | None
) -> None:
    async with server.listener() as listener:
        with pytest.raises(TransportQueryError) as caught:
            await anext(listener.subscribe(asking(LIVE, variables)))

    assert caught.value.errors
    assert caught.value.errors[0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert reason in (None, caught.value.errors[0]["extensions"]["reason"])


async def test_who_may_not_read_executions_may_not_watch_them(server: Served) -> None:
    async with server.listener(None, scopes=["workflows:read"]) as listener:
        with pytest.raises(TransportQueryError) as caught:
            await anext(listener.subscribe(asking(LIVE, {})))

    assert caught.value.errors
    assert caught.value.errors[0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_browser_that_was_cut_off_goes_on_where_it_was(
    server: Served, worker: None
) -> None:
    await server.publish()
    async with server.client() as session:
        first = await server.enqueue(session)
        place = await of_event_source(server, first, {})
        missed = [await server.enqueue(session) for _ in range(3)]
        for one in missed:
            await events(server, query=WATCH, variables={"id": one})

    # Only what changed since is told, and all of it, though a page has room for one.
    for one in missed:
        assert await of_event_source(server, one, {"Last-Event-ID": place})


async def of_event_source(server: Served, id: str, more: dict[str, str]) -> str:
    """The id of the event that tells the end of an execution, as a browser would read it."""
    headers = {**server.bearer(), "Accept": "text/event-stream", **more}
    place = ""
    async with (
        asyncio.timeout(15),
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/graphql", json={"query": TEXT}, headers=headers) as answer,
    ):
        async for line in answer.content:
            if line.startswith(b"id: "):
                place = line[4:].decode().strip()
            elif line.startswith(b"data: "):
                found = json.loads(line[6:])["data"]["executions"]["execution"]
                if found == {"id": id, "status": "COMPLETED"}:
                    return place
    raise AssertionError(f"the stream ended before {id} did")
