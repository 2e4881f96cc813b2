"""Budgets of tenants over every transport: what is used up is refused with the time to wait, and only there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.serving import Served, serving
from tests.http.test_graph_over_websocket import answers, initialised

DEAR = "{ workflows(first: 10) { edges { node { id } } } }"
CHEAP = "{ __typename }"
TOO_MUCH = "{ " + "... { " * 100 + "__typename" + " }" * 101


@pytest.fixture
async def limited(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Served]:
    """A server that lets three requests and a cost of 30 a tenant through, and little more for hours."""
    rates = {"MC_RATE_REQUESTS": "1/h burst 3", "MC_RATE_COST": "1/h burst 30"}
    async with serving(database_url, redis_url, home, environment=rates) as made:
        yield made


async def test_used_up_requests_are_refused_with_the_time_to_wait(limited: Served) -> None:
    served = [(await limited.ask(CHEAP)).status for _ in range(3)]
    refused, again = await limited.ask(CHEAP), await limited.ask("{")
    other = await limited.ask(CHEAP, **limited.bearer(tenant="other"))

    assert served == [200, 200, 200]
    assert (refused.status, refused.codes) == (429, ["RATE_LIMITED"])
    assert again.codes == ["RATE_LIMITED"], "not even parsed"
    extensions = refused.body["errors"][0]["extensions"]
    assert extensions["reason"] == "REQUESTS_USED_UP"
    assert 3_500 < extensions["retryAfter"] <= 3_600
    assert 3_500 < int(refused.headers["Retry-After"]) <= 3_600
    assert other.status == 200


async def test_used_up_cost_leaves_what_is_cheap(limited: Served) -> None:
    first, second, cheap = [await limited.ask(query) for query in (DEAR, DEAR, CHEAP)]

    assert (first.status, cheap.status) == (200, 200)
    assert (second.status, second.codes) == (429, ["RATE_LIMITED"])
    assert second.body["errors"][0]["extensions"]["reason"] == "COST_USED_UP"


async def test_what_is_too_complex_counts_as_a_request(limited: Served) -> None:
    codes = [(await limited.ask(TOO_MUCH)).codes[0] for _ in range(4)]

    assert codes == ["QUERY_TOO_COMPLEX"] * 3 + ["RATE_LIMITED"]


async def test_operations_of_a_websocket_count_too(limited: Served) -> None:
    payload = {"authorization": limited.bearer()["Authorization"]}
    async with await initialised(limited, payload) as socket:
        last: Any = None
        for key in "1234":
            await socket.send(
                json.dumps({"type": "subscribe", "id": key, "payload": {"query": CHEAP}})
            )
            last = (await answers(socket, key))[0]

    assert last["type"] == "error"
    assert last["payload"][0]["extensions"]["reason"] == "REQUESTS_USED_UP"


async def test_a_tenants_own_rates_go_before_the_usual_ones(limited: Served) -> None:
    await limited.rt.tenants.resolve("acme", create=True)
    async with limited.rt.database.engine() as connection:
        await connection.execute(
            "update tenants set settings = $1 where name = 'acme'",
            {"rate_requests": "off", "rate_cost": "1/h burst 100"},
        )

    own = [await limited.ask(DEAR, **limited.bearer(tenant="acme")) for _ in range(5)]

    assert [each.status for each in own] == [200, 200, 200, 200, 429]


async def test_while_redis_is_away_requests_go_through(
    limited: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(limited.rt.link, "ask", away)
    served = [(await limited.ask(CHEAP)).status for _ in range(5)]

    assert served == [200] * 5
    assert b"maestro_rate_unchecked_total 5.0" in limited.rt.metrics.render()[0]
