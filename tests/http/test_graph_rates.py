"""Budgets of tenants over every transport: what is used up is refused with the time to wait, and only there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import Unavailable
from runtime.queue.keys import bucket
from runtime.services.rate import RateService
from runtime.store.tenant import TenantStore
from subgraph.http.artifact import COST
from tests.http.serving import Served, serving
from tests.http.test_graph_over_sse import events
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


WIDE = "name: wide\nversion: 1.0.0\nsteps:\n" + "".join(
    f"  - {{id: s{n}, uses: core.noop@1}}\n" for n in range(120)
)
ASKED = "query($id: ID!) { execution(id: $id) { steps { id } } }"
WATCHED = "subscription($id: ID!) { executionEvents(id: $id) { execution { steps { id } } } }"


async def over_post(server: Served, asked: dict[str, Any]) -> None:
    answer = await server.ask(asked["query"], asked["variables"], **server.bearer(tenant="acme"))
    assert len(answer.body["data"]["execution"]["steps"]) == 120


async def over_events(server: Served, asked: dict[str, Any]) -> None:
    found = await events(replace(server, tenant="acme"), **asked)
    assert len(found[0][1]["data"]["execution"]["steps"]) == 120


async def over_websocket(server: Served, asked: dict[str, Any]) -> None:
    token = server.bearer(tenant="acme")["Authorization"]
    async with await initialised(server, {"authorization": token}) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked}))
        (told, *_) = await answers(socket, "1")
    assert len(told["payload"]["data"]["execution"]["steps"]) == 120


async def wide(limited: Served) -> tuple[str, float]:
    """An execution of 120 steps of a tenant that may cost much, and what that tenant has left."""
    await limited.rt.tenants.resolve("acme", create=True)
    async with limited.rt.database.engine() as connection:
        await connection.execute(
            "update tenants set settings = $1 where name = 'acme'",
            {"rate_requests": "off", "rate_cost": "1/h burst 3000"},
        )
    await limited.publish(WIDE, "wide", tenant="acme")
    async with limited.client(tenant="acme") as session:
        one = await limited.enqueue(session, workflowName="wide", input={})
    return one, await left(limited, "acme")


async def until_taken(limited: Served, before: float, most: int) -> None:
    """Until so much has been taken, and not more: it may be taken when the answer is there."""
    async with asyncio.timeout(10):
        while before - await left(limited, "acme") < most - 1:
            await asyncio.sleep(0.01)
    assert before - await left(limited, "acme") == pytest.approx(most, abs=1)


@pytest.mark.parametrize("transport", [over_post, over_events, over_websocket])
async def test_steps_beyond_those_that_were_assumed_are_owed(
    limited: Served, transport: Any
) -> None:
    """Estimated at 51; 70 steps more are known only when they are there."""
    one, before = await wide(limited)

    await transport(limited, {"query": ASKED, "variables": {"id": one}})

    await until_taken(limited, before, 51 + 70)


async def test_steps_in_each_event_are_owed(limited: Served) -> None:
    one, before = await wide(limited)
    asked = {"query": WATCHED, "variables": {"id": one}}
    token = limited.bearer(tenant="acme")["Authorization"]

    async with await initialised(limited, {"authorization": token}) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked}))
        async with asyncio.timeout(10):
            while (told := json.loads(await socket.recv()))["type"] != "next":
                pass
        shown = told["payload"]["data"]["executionEvents"]["execution"]["steps"]
        assert len(shown) == 120
        await until_taken(limited, before, (1 + 1 + 50) + 70)


@pytest.mark.parametrize("transport", [over_post, over_events, over_websocket])
async def test_nothing_stands_between_an_answer_and_its_caller(
    limited: Served, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await wide(limited)
    taken, may_go = [], asyncio.Event()

    async def owe(_self: Any, _who: Any, cost: int) -> None:
        taken.append(cost)
        await may_go.wait()

    monkeypatch.setattr(RateService, "owe", owe)
    given = asyncio.create_task(transport(limited, {"query": ASKED, "variables": {"id": one}}))
    if transport is over_events:  # Its end comes after what is owed, its answer before.
        async with asyncio.timeout(10):
            while not taken:
                await asyncio.sleep(0.01)
        may_go.set()

    async with asyncio.timeout(10):
        await given

    assert taken == [70]
    may_go.set()


async def test_what_is_owed_while_the_stores_are_away_is_told_to_nobody(
    limited: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("nobody there")

    rates = limited.rt.services.rates
    who = await limited.rt.authenticator.principal(limited.bearer()["Authorization"], None)
    monkeypatch.setattr(TenantStore, "settings", away)

    await rates.owe(who, 5)

    assert b"maestro_rate_unchecked_total 1.0" in limited.rt.metrics.render()[0]


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
