"""Streams through the graph: replayed, then live; nothing lost and nothing twice, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gql import gql
from gql.transport.exceptions import TransportQueryError

from subgraph.app import create_app
from tests.http.serving import EVENTS, Served, asking, listening, working
from tests.support.processes import eventually
from tests.support.steps import CALLS

GATED = """
name: greet
version: 1.0.0
params: {name: {type: string}}
steps:
  - {id: first, uses: probe.gate@1, with: {marker: first, value: 1}}
  - {id: second, uses: probe.gate@1, with: {marker: second, value: 2}, depends_on: [first]}
"""
LOGS = gql("""
subscription($id: ID!, $after: String, $stepKey: String) {
  executionLogs(id: $id, after: $after, stepKey: $stepKey) {
    cursor level message fields stepKey attempt
  }
}
""")


async def watch(session: Any, execution_id: str, **more: Any) -> list[dict[str, Any]]:
    found = session.subscribe(asking(EVENTS, {"id": execution_id, **more}))
    return [answer["executionEvents"] async for answer in found]


async def follow(session: Any, execution_id: str, **more: Any) -> list[dict[str, Any]]:
    found = session.subscribe(asking(LOGS, {"id": execution_id, **more}))
    return [answer["executionLogs"] async for answer in found]


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    """The gates of the steps, all closed at first."""
    CALLS.clear()
    yield
    CALLS.clear()


async def test_watching_what_is_not_there_says_so(server: Served) -> None:
    async with server.listener() as listener:
        with pytest.raises(TransportQueryError) as caught:
            await watch(listener, "01890a5d-ac96-774b-bcce-b302099a8057")

    assert caught.value.errors
    assert caught.value.errors[0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_subscription_resumes_after_its_cursor_without_gap_or_duplicate(
    server: Served,
) -> None:
    await server.publish(GATED)
    seen: list[int] = []
    async with server.client() as session, working(server.rt):
        execution_id = await server.enqueue(session)
        async with server.listener() as listener:
            async for answer in listener.subscribe(asking(EVENTS, {"id": execution_id})):
                seen.append(int(answer["executionEvents"]["sequence"]))
                if answer["executionEvents"]["type"] == "STEP_STARTED":
                    break
        CALLS.gates["first"].set()
        await CALLS.begun["second"].wait()
        async with server.listener() as listener:
            resumed = asyncio.create_task(watch(listener, execution_id, after=str(seen[-1])))
            CALLS.gates["second"].set()
            rest = await resumed
            replay = await watch(listener, execution_id)

    assert seen + [int(event["sequence"]) for event in rest] == list(range(1, len(replay) + 1))
    assert replay[-1]["type"] == "EXECUTION_COMPLETED"
    assert [event["id"] for event in replay[len(seen) :]] == [event["id"] for event in rest]


async def test_what_steps_log_is_followed_live_and_read_again(server: Served, worker: None) -> None:
    await server.publish(GATED)

    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        following = asyncio.create_task(follow(listener, execution_id))
        for marker in ("first", "second"):
            await CALLS.begun[marker].wait()
            CALLS.contexts[marker].log.info(f"{marker} is here", weight=3)
            CALLS.gates[marker].set()
        lines = await following
        after = await follow(listener, execution_id, after=lines[0]["cursor"])
        of_first = await follow(listener, execution_id, stepKey="first")

    expected = {"level": "info", "fields": {"weight": 3}, "attempt": 1}
    assert [line | {"cursor": ""} for line in lines] == [
        {"cursor": "", "message": f"{key} is here", "stepKey": key, **expected}
        for key in ("first", "second")
    ]
    assert after == lines[1:]
    assert of_first == lines[:1]


async def test_logs_are_pages_too(server: Served, worker: None) -> None:
    await server.publish(GATED)
    look = """query($id: ID!) { execution(id: $id) { status
      logs(first: 1) { edges { node { message } } pageInfo { hasNextPage endCursor } }
      rest: logs(after: "1") { edges { node { message } } }
      step(key: "second") { logs { edges { node { message stepKey } } } } } }"""

    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        for marker in ("first", "second"):
            await CALLS.begun[marker].wait()
            CALLS.contexts[marker].log.warning(marker)
            CALLS.gates[marker].set()
        await follow(listener, execution_id)
    found = (await server.ask(look, {"id": execution_id})).body["data"]["execution"]

    assert found["logs"]["edges"] == [{"node": {"message": "first"}}]
    assert found["logs"]["pageInfo"] == {"hasNextPage": True, "endCursor": "1"}
    assert found["rest"]["edges"] == [{"node": {"message": "second"}}]
    assert found["step"]["logs"]["edges"] == [{"node": {"message": "second", "stepKey": "second"}}]


async def test_a_listener_that_leaves_is_forgotten(server: Served) -> None:
    await server.publish(GATED)
    open_now = server.rt.metrics.subscribers._value
    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        leaving = asyncio.create_task(watch(listener, execution_id))
        await eventually(lambda: open_now.get() == 1)
        leaving.cancel()
        await asyncio.wait([leaving])

    await eventually(lambda: open_now.get() == 0)


async def test_an_execution_that_is_cancelled_ends_its_stream(server: Served, worker: None) -> None:
    await server.publish(GATED)

    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        watching = asyncio.create_task(watch(listener, execution_id))
        await CALLS.begun["first"].wait()
        await server.ask(
            'mutation($id: ID!) { cancelExecution(input: {executionId: $id, reason: "enough"}) { errors { code } } }',
            {"id": execution_id},
        )
        events = await watching

    assert events[-1]["type"] == "EXECUTION_CANCELLED"
    assert events[-1]["executionStatus"] == "CANCELLED"


async def test_a_subscription_can_be_narrowed_to_some_kinds(server: Served, worker: None) -> None:
    await server.publish()

    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        events = await watch(listener, execution_id, types=["STEP_COMPLETED"])

    assert [event["stepKey"] for event in events] == ["hello", "shout"]
    assert {event["stepStatus"] for event in events} == {"COMPLETED"}


async def test_two_watch_while_it_runs_and_see_the_same(server: Served) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as one, server.listener() as two:
        execution_id = await server.enqueue(session)
        watching = [asyncio.create_task(watch(each, execution_id)) for each in (one, two)]
        await eventually(lambda: server.rt.metrics.subscribers._value.get() == 2)
        async with working(server.rt):
            first, second = await asyncio.gather(*watching)

    assert [event["id"] for event in first] == [event["id"] for event in second]
    assert first[-1]["type"] == "EXECUTION_COMPLETED"


async def test_a_server_that_takes_no_frames_of_ours_sends_the_same(
    server: Served, worker: None
) -> None:
    await server.publish()
    async with listening(create_app(server.rt), ws="websockets-sansio") as url:
        plain = replace(server, url=url)
        async with server.client() as session, server.listener() as one, plain.listener() as two:
            execution_id = await server.enqueue(session)
            first = await watch(one, execution_id)
            second = await watch(two, execution_id)

    assert [event["id"] for event in first] == [event["id"] for event in second]
