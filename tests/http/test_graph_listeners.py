"""Sockets and streams of a tenant are bounded in each process: one more is refused, and other tenants do not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.http.serving import Served, serving
from tests.http.test_graph_over_websocket import close_code, initialised

WATCH = "subscription { executions { cursor } }"


@pytest.fixture
async def narrow(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Served]:
    """A server on which a tenant may keep two sockets and streams."""
    async with serving(
        database_url, redis_url, home, environment={"MC_MAX_STREAMS": "2"}
    ) as served:
        yield served


async def acknowledged(server: Served, **who: Any) -> Any:
    socket = await initialised(server, {"authorization": server.bearer(**who)["Authorization"]})
    assert "connection_ack" in str(await socket.recv())
    return socket


async def test_one_more_is_refused_until_one_ends(narrow: Served) -> None:
    first = await acknowledged(narrow)
    headers = {**narrow.bearer(), "Accept": "text/event-stream"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{narrow.url}/graphql", json={"query": WATCH}) as stream:
            assert stream.status == 200

            async with session.post(f"{narrow.url}/graphql", json={"query": WATCH}) as refused:
                body = await refused.json()
            assert refused.status == 429
            assert body["errors"][0]["extensions"]["reason"] == "TOO_MANY_STREAMS"
            more = await initialised(narrow, {"authorization": narrow.bearer()["Authorization"]})
            assert await close_code(more) == 4429
            assert "keeps 2 sockets and streams open" in str(more.close_reason)
            other = await acknowledged(narrow, tenant="other")
            await other.close()

        await first.close()
        # What has ended is counted off when its task has seen it.
        while True:
            async with session.post(f"{narrow.url}/graphql", json={"query": WATCH}) as again:
                if again.status == 200:
                    break


async def test_who_is_not_let_in_takes_no_place(narrow: Served) -> None:
    for _ in range(3):
        assert await close_code(await initialised(narrow, {"authorization": "Bearer x"})) == 4401

    for _ in range(2):
        await acknowledged(narrow)
