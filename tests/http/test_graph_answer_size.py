"""An answer is bounded in bytes, whoever executes it and however it travels: refused, not built and sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.store.blob import Blobs
from tests.http.serving import Served, serving, working
from tests.http.test_downloads import SOURCE
from tests.http.test_graph_over_sse import events
from tests.http.test_graph_over_websocket import answers, initialised

MOST = 65_536
REFUSED = {"code": "QUERY_TOO_COMPLEX", "reason": "ANSWER_BYTES", "most": MOST, "asked": MOST + 1}
DONE = "Each field of this mutation has been carried out."
ALIASES = " ".join(f"a{n}: input" for n in range(10))
MANY = f"query($id: ID!) {{ execution(id: $id) {{ {ALIASES} }} }}"


@pytest.fixture(params=["compiled", "strawberry"])
async def small(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, home: Path
) -> AsyncIterator[Served]:
    """A server whose answers are small, by either executor."""
    environment = {"MC_MAX_ANSWER_BYTES": str(MOST), "MC_EXECUTOR": request.param}
    async with serving(database_url, redis_url, home, environment=environment) as served:
        yield served


async def enqueued(server: Served, length: int) -> str:
    """An execution whose input is a text so long."""
    await server.publish(SOURCE, "big")
    async with server.client() as session:
        return await server.enqueue(session, workflowName="big", input={"text": "x" * length})


def refusal(body: Any) -> dict[str, Any]:
    """The one error that stands in the place of an answer."""
    assert body["data"] is None
    (error,) = body["errors"]
    return {name: error["extensions"][name] for name in REFUSED}


async def test_an_answer_over_the_bound_is_refused_over_every_transport(small: Served) -> None:
    one = await enqueued(small, 10_000)
    asked: dict[str, Any] = {"query": MANY, "variables": {"id": one}}

    over_post = await small.ask(MANY, {"id": one})
    over_get = await small.request(
        "GET",
        "/graphql",
        params={"query": MANY, "variables": json.dumps({"id": one})},
        headers=small.bearer(),
    )
    over_events = (await events(small, **asked))[0][1]
    payload = {"authorization": small.bearer()["Authorization"]}
    async with await initialised(small, payload) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked}))
        over_socket = (await answers(socket, "1"))[0]["payload"]

    assert over_post.status == over_get.status == 200
    for body in (over_post.body, over_get.body, over_events, over_socket):
        assert refusal(body) == REFUSED
    message = over_post.body["errors"][0]["message"]
    assert message.startswith(f"The answer is larger than {MOST} bytes: ask for smaller pages")
    within = await small.ask("query($id: ID!) { execution(id: $id) { input } }", {"id": one})
    assert within.body["data"]["execution"]["input"]["text"] == "x" * 10_000


async def test_bytes_are_what_counts_in_the_end(small: Served) -> None:
    described = {"name": "big", "source": SOURCE, "description": "\u3042" * 5_000}
    make = "mutation($x: CreateWorkflowInput!) { createWorkflow(input: $x) { errors { message } } }"
    made = await small.ask(make, {"x": described})
    assert made.body["data"]["createWorkflow"]["errors"] == []

    fits, larger = [
        await small.ask(f'{{ workflow(name: "big") {{ {" ".join(names)} }} }}')
        for names in ([f"a{n}: description" for n in range(count)] for count in (4, 5))
    ]

    assert len(fits.body["data"]["workflow"]) == 4  # 20,000 letters in 60,000 bytes
    assert refusal(larger.body) == REFUSED


async def test_what_the_writer_refuses_says_all_that_others_say_over_every_transport(
    small: Served,
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    traced = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    shown = " ".join(f"a{n}: description" for n in range(5))
    make = f"mutation($x: CreateWorkflowInput!) {{ createWorkflow(input: $x) {{ workflow {{ {shown} }} }} }}"

    def asked(name: str) -> dict[str, Any]:
        source = SOURCE.replace("name: big", f"name: {name}")
        what = {"name": name, "source": source, "description": "\u3042" * 5_000}
        return {"query": make, "variables": {"x": what}}

    over_post = (await small.ask(make, asked("post")["variables"], **small.bearer(), **traced)).body
    over_events = (await events(small, **asked("events")))[0][1]
    async with await initialised(small, small.bearer(), additional_headers=traced) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": asked("socket")}))
        over_socket = (await answers(socket, "1"))[0]["payload"]

    for body in (over_post, over_events, over_socket):
        assert refusal(body) == REFUSED
        assert body["errors"][0]["message"].endswith(DONE)
    assert over_post["errors"][0]["extensions"]["trace_id"] == trace
    assert over_socket["errors"][0]["extensions"]["trace_id"] == trace
    metrics = small.rt.metrics.render()[0].decode()
    assert 'maestro_graphql_operations_total{outcome="refused",type="mutation"} 3.0' in metrics
    assert 'outcome="ok",type="mutation"' not in metrics


async def test_large_values_that_do_not_fit_are_not_even_read(
    small: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await enqueued(small, 40_000)
    read: list[int] = []
    load = Blobs.load

    async def counted(self: Any, tenant: Any, execution: Any, ref: Any) -> Any:
        read.append(ref.size)
        return await load(self, tenant, execution, ref)

    monkeypatch.setattr(Blobs, "load", counted)

    shown = await small.ask("query($id: ID!) { execution(id: $id) { input } }", {"id": one})
    reads = sum(read)
    read.clear()
    many = await small.ask(MANY, {"id": one})

    assert len(shown.body["data"]["execution"]["input"]["text"]) == 40_000
    assert reads > 40_000
    assert refusal(many.body) == REFUSED
    assert sum(read) <= MOST


async def test_an_event_over_the_bound_is_told_in_its_place(small: Served) -> None:
    one = await enqueued(small, 10_000)
    watched = f"subscription($id: ID!) {{ executionEvents(id: $id) {{ type execution {{ {ALIASES} }} }} }}"

    async with working(small.rt):
        found = await events(small, query=watched, variables={"id": one})

    told = [body for name, body in found if name == "next"]
    assert len(told) > 3
    assert all(refusal(body) == REFUSED for body in told)


async def test_a_mutation_whose_large_values_do_not_fit_is_refused_and_not_shown_in_part(
    small: Served,
) -> None:
    one = await enqueued(small, 40_000)
    shown = f"status {ALIASES} workflow {{ name }} steps {{ stepKey }}"
    asked = f"""mutation($x: CancelExecutionInput!) {{
      cancelExecution(input: $x) {{ errors {{ message }} execution {{ {shown} }} }}
      again: cancelExecution(input: $x) {{ execution {{ status }} }} }}"""

    answer = await small.ask(asked, {"x": {"executionId": one, "reason": "no more"}})

    assert refusal(answer.body) == REFUSED


async def test_a_mutation_whose_answer_is_too_large_says_that_it_is_done(small: Served) -> None:
    await small.publish(SOURCE, "big")
    asked = f"mutation($x: EnqueueExecutionInput!) {{ enqueueExecution(input: $x) {{ execution {{ {ALIASES} }} }} }}"
    key = {"workflowName": "big", "input": {"text": "x" * 10_000}, "idempotencyKey": "once"}

    answer = await small.ask(asked, {"x": key})
    done = await small.ask('{ executionByIdempotencyKey(key: "once") { status } }')

    assert answer.status == 200
    assert refusal(answer.body) == REFUSED
    assert answer.body["errors"][0]["message"].endswith(DONE)
    assert done.body["data"]["executionByIdempotencyKey"] == {"status": "QUEUED"}
