"""Faults: by whichever door a caller came, nothing of the inside leaves, and each error has a code and a trace."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
import websockets

from runtime.identity.authenticator import Authenticator
from runtime.model.errors import Denied, MaestroError, NotFound, SetupError, Unavailable
from runtime.services.execution import ExecutionService
from subgraph import streams
from subgraph.schema.build import Schema
from tests.http.serving import Served

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
WATCH = f'subscription {{ executionEvents(id: "{ID}") {{ sequence }} }}'
# What happens inside, in words that must stay there.
FAULTS: list[Callable[[], Exception]] = [
    lambda: RuntimeError("postgresql://maestro:hunter2@db7.internal/x"),
    lambda: asyncpg.UndefinedTableError('relation "hunter2" does not exist: select * from hunter2'),
    lambda: FileNotFoundError(2, "No such file or directory", "/var/lib/hunter2"),
    lambda: KeyError("hunter2"),
    lambda: TimeoutError("hunter2"),
    lambda: UnicodeEncodeError("utf-8", "hunter2\ud800", 7, 8, "surrogates not allowed"),
    lambda: MaestroError("hunter2"),
    lambda: SetupError("Redis at redis://:hunter2@cache refuses."),
    lambda: Unavailable(
        "PostgreSQL at db7.internal/hunter2 does not answer.", reason="DATABASE_UNAVAILABLE"
    ),
]
OPERATIONS = {
    "query": (f'{{ execution(id: "{ID}") {{ id }} }}', "get_many"),
    "list": ("{ executions { edges { node { id } } } }", "list"),
    "entity": (
        f'{{ _entities(representations: [{{__typename: "Execution", id: "{ID}"}}]) {{ __typename }} }}',
        "get_many",
    ),
    "mutation": (
        'mutation { enqueueExecution(input: {workflowName: "greet"}) { created } }',
        "enqueue",
    ),
}


def judge(text: str) -> None:
    """Nothing of the inside is in an answer, and its errors have what callers need."""
    for word in ("hunter2", "Error(", "Traceback", "db7.", ".py", "select "):
        assert word not in text
    errors = json.loads(text)
    errors = errors["errors"] if isinstance(errors, dict) else errors
    assert errors
    for error in errors:
        assert error["extensions"]["code"] in {"INTERNAL", "UNAVAILABLE"}
        assert re.fullmatch("[0-9a-f]{32}", error["extensions"]["trace_id"])


def raising(error: Exception) -> Callable[..., Awaitable[None]]:
    """What fails with this error, however it is called."""

    async def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def returning(answer: object) -> Callable[..., Awaitable[object]]:
    """What answers this, however it is called."""

    async def answered(*_: object, **__: object) -> object:
        return answer

    return answered


async def connected(server: Served) -> websockets.ClientConnection:
    """A WebSocket whose upgrade carries the token; hello is still to be said."""
    protocol = websockets.Subprotocol("graphql-transport-ws")
    url = f"{server.url.replace('http', 'ws', 1)}/graphql"
    return await websockets.connect(
        url, subprotocols=[protocol], additional_headers=server.bearer()
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Makes a method of the service fail."""

    def fail_in(name: str, fault: Exception) -> None:
        fail = raising(fault)

        async def stream(*_: object, **__: object) -> Any:
            await fail()
            yield

        monkeypatch.setattr(ExecutionService, name, stream if name == "watch" else fail)

    return fail_in


@pytest.mark.parametrize("door", OPERATIONS)
async def test_nothing_of_the_inside_leaves_in_an_answer(
    server: Served, failing: Callable[[str, Exception], None], door: str
) -> None:
    query, method = OPERATIONS[door]
    for fault in FAULTS:
        failing(method, fault())

        answer = await server.ask(query)

        judge(json.dumps(answer.body))


async def test_of_several_to_start_those_that_could_not_be_are_named_beside_the_others(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, none = FAULTS[-1](), NotFound("There is no workflow b.")
    outcomes: list[Exception] = []
    monkeypatch.setattr(ExecutionService, "enqueue_many", returning(outcomes))
    query = (
        'mutation { enqueueExecutions(input: [{workflowName: "a"}, {workflowName: "b"}])'
        " { createdCount results { errors { code message path } } } }"
    )

    outcomes[:] = [away, none]
    some = (await server.ask(query)).body["data"]["enqueueExecutions"]["results"]
    outcomes[:] = [away, away]
    all_of_them = await server.ask(query)

    assert [one["errors"][0]["code"] for one in some] == ["UNAVAILABLE", "NOT_FOUND"]
    assert some[0]["errors"][0]["path"] == ["input", "0"]
    assert "hunter2" not in str(some)
    judge(json.dumps(all_of_them.body))
    assert all_of_them.body["errors"][0]["extensions"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    "accept", ["text/event-stream", 'multipart/mixed;subscriptionSpec="1.0", application/json']
)
async def test_nothing_of_the_inside_leaves_in_a_stream(
    server: Served, failing: Callable[[str, Exception], None], accept: str
) -> None:
    for fault in FAULTS:
        failing("watch", fault())

        answer = await server.ask(WATCH, **server.bearer(), Accept=accept)

        found = re.search(r'\{"errors.*\}|\{"data":null.*\}|\{"payload.*\}', str(answer.body))
        assert found, answer.body
        told = json.loads(found[0])
        judge(json.dumps(told.get("payload", told)))


async def test_nothing_of_the_inside_leaves_over_the_socket(
    server: Served, failing: Callable[[str, Exception], None]
) -> None:
    async with await connected(server) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        for number, fault in enumerate(FAULTS):
            failing("watch", fault())
            body = {"type": "subscribe", "id": str(number), "payload": {"query": WATCH}}

            await socket.send(json.dumps(body))
            answer = json.loads(await socket.recv())

            judge(json.dumps(answer["payload"]))
            if answer["type"] == "next":
                await socket.recv()


async def test_a_connection_that_is_refused_hears_nothing_of_the_inside(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is longer than a close frame holds would break the frame.
    refusals = {1011: FAULTS[0](), 1013: FAULTS[-1](), 4403: Denied("ü" * 300)}
    for code, refusal in refusals.items():
        monkeypatch.setattr(Authenticator, "principal", raising(refusal))
        socket = await connected(server)
        await socket.send('{"type": "connection_init"}')
        await socket.wait_closed()

        assert socket.close_code == code
        assert socket.close_reason
        assert "hunter2" not in socket.close_reason


@pytest.mark.parametrize("query", ["{ workflows { totalCount } }", WATCH])
async def test_a_fault_of_the_machinery_ends_its_operation_and_is_told(
    server: Served, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    fault = FAULTS[0]()

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(Schema, "stream", raising(fault))
    monkeypatch.setattr(streams, "create_source_event_stream", fail)
    socket = await connected(server)
    async with socket, asyncio.timeout(10):
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        # An id is free again once its operation has ended.
        for _ in range(2):
            body = {"type": "subscribe", "id": "1", "payload": {"query": query}}
            await socket.send(json.dumps(body))
            answer = json.loads(await socket.recv())

            assert answer["type"] == "error"
            judge(json.dumps(answer["payload"]))
    streamed = await server.ask(query, **server.bearer(), Accept="text/event-stream")

    name, data, *rest = str(streamed.body).split("\n")
    assert name == "event: next"
    judge(data.removeprefix("data: "))
    assert rest == ["", "event: complete", "data:", "", ""]


async def test_each_way_of_asking_wrongly_has_its_code_and_a_trace(server: Served) -> None:
    asked = {
        "{": "GRAPHQL_PARSE_FAILED",
        "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
        "{ a " * 70 + "}" * 70: "QUERY_TOO_COMPLEX",
        "query($id: ID!) { execution(id: $id) { id } }": "BAD_USER_INPUT",
        'query { executions(after: "x") { isPartial } }': "BAD_USER_INPUT",
    }
    for query, code in asked.items():
        answer = await server.ask(query)

        assert answer.codes == [code]
        assert re.fullmatch("[0-9a-f]{32}", answer.body["errors"][0]["extensions"]["trace_id"])


async def test_a_body_that_cannot_be_read_has_its_code_and_a_trace(server: Served) -> None:
    headers = {**server.bearer(), "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/graphql", data=b"\xff{", headers=headers) as answer,
    ):
        body = await answer.json(content_type=None)

    assert answer.status == 400
    assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert body["errors"][0]["extensions"]["trace_id"]
