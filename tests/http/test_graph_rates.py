"""Budgets of tenants over every transport: what is used up is refused with the time to wait, and only there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.queue.keys import bucket
from subgraph.http.artifact import COST
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


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/graphql", {"data": b"{"}),
        ("/graphql", {"data": b"[]"}),
        ("/graphql", {"data": b'{"query": 5}'}),
        (
            "/graphql",
            {
                "data": b'{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "%s"}}}'
                % (b"0" * 64)
            },
        ),
    ],
)
async def test_what_can_not_be_read_counts_as_a_request(
    limited: Served, path: str, more: dict[str, Any]
) -> None:
    headers = {**limited.bearer(), "Content-Type": "application/json"}
    answers = [await limited.request("POST", path, headers=headers, **more) for _ in range(4)]
    other = await limited.request(
        "POST", path, headers={**headers, "Authorization": "Bearer x"}, **more
    )

    assert [each.codes == ["RATE_LIMITED"] for each in answers] == [False, False, False, True]
    assert answers[3].status == 429
    assert other.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    "path", [f"/api/executions/{UUID(int=1)}/input", "/api/executions/x/output", "/nowhere"]
)
async def test_other_addresses_count_too(limited: Served, path: str) -> None:
    answers = [await limited.request("GET", path, headers=limited.bearer()) for _ in range(4)]

    assert [each.status for each in answers] == [404, 404, 404, 429]
    assert answers[3].body["reason"] == "REQUESTS_USED_UP"
    assert (await limited.request("GET", path)).status == 401


async def test_a_download_costs(limited: Served) -> None:
    await limited.rt.tenants.resolve("acme", create=True)
    async with limited.rt.database.engine() as connection:
        await connection.execute(
            "update tenants set settings = $1 where name = 'acme'",
            {"rate_requests": "off", "rate_cost": f"1/h burst {2 * COST}"},
        )
    path, who = f"/api/executions/{UUID(int=1)}/input", limited.bearer(tenant="acme")

    answers = [await limited.request("GET", path, headers=who) for _ in range(3)]

    assert [each.status for each in answers] == [404, 404, 429]
    assert answers[2].body["reason"] == "COST_USED_UP"


async def test_operations_of_a_websocket_that_can_not_be_read_count(limited: Served) -> None:
    payload = {"authorization": limited.bearer()["Authorization"]}
    reasons = []
    async with await initialised(limited, payload) as socket:
        for key in "1234":
            await socket.send(
                json.dumps({"type": "subscribe", "id": key, "payload": {"query": ""}})
            )
            (told,) = await answers(socket, key)
            reasons.append(told["payload"][0]["extensions"]["reason"])

    assert reasons == ["QUERY_MISSING"] * 3 + ["REQUESTS_USED_UP"]


async def test_steps_beyond_those_that_were_assumed_are_owed(limited: Served) -> None:
    """Estimated at 51; 70 steps more are known only when they are there, and then the bucket is empty."""
    await limited.rt.tenants.resolve("acme", create=True)
    async with limited.rt.database.engine() as connection:
        await connection.execute(
            "update tenants set settings = $1 where name = 'acme'",
            {"rate_requests": "off", "rate_cost": "1/h burst 300"},
        )
    steps = "\n".join(f"  - {{id: s{n}, uses: core.noop@1}}" for n in range(120))
    source = f"name: wide\nversion: 1.0.0\nsteps:\n{steps}\n"
    await limited.publish(source, "wide", tenant="acme")
    async with limited.client(tenant="acme") as session:
        one = await limited.enqueue(session, workflowName="wide", input={})
    asked, who = (
        "query($id: ID!) { execution(id: $id) { steps { id } } }",
        limited.bearer(tenant="acme"),
    )
    before = await left(limited, "acme")

    answer = await limited.ask(asked, {"id": one}, **who)

    assert len(answer.body["data"]["execution"]["steps"]) == 120
    assert before - await left(limited, "acme") == pytest.approx(51 + 70, abs=1)


async def left(limited: Served, tenant: str) -> float:
    """What is left of a tenant's cost."""
    tenant_id = await limited.rt.tenants.resolve(tenant, create=False)
    assert tenant_id is not None
    found = await limited.rt.link.ask(lambda client: client.hget(bucket(tenant_id), "c"))
    return float(found)


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
