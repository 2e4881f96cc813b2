"""Bad input, and what it gets: refused with its place and its limit, before anything is queued; the service goes on."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest
import websockets
from aiohttp import web

from tests.support.listening import listening
from tests.support.processes import ROOT
from tests.support.stack import CREATE, ENQUEUE

FAULTS = ROOT / "tests" / "journey" / "ten_faults.yaml"
LIMIT = 1_048_576
MOST_OUTPUT = 67_108_864
VALIDATE = """query ($source: String!) { validateWorkflow(source: $source) { valid findings { rule line column message } } }"""
ORDER = """
name: order
version: 1.0.0
params:
  type: object
  required: [id, lines]
  additionalProperties: false
  properties:
    id: {type: string, minLength: 3}
    lines: {type: array, items: {type: object, required: [sku], properties: {sku: {type: string}, count: {type: integer, minimum: 1}}}}
steps:
  - {id: only, uses: core.set@1, with: {id: "{{ params.id }}"}}
outputs: {id: "{{ steps.only.output.id }}"}
"""
ECHO = """
name: echo
version: 1.0.0
params: {value: {}}
steps:
  - {id: only, uses: core.set@1, with: {value: "{{ params.value }}"}}
outputs: {value: "{{ steps.only.output.value }}"}
"""
MUCH = """
name: much
version: 1.0.0
params: {bytes: {type: integer}}
steps:
  - {id: only, uses: talk.much@1, with: {bytes: "{{ params.bytes }}"}}
"""
FETCH = """
name: fetch
version: 1.0.0
params: {url: {type: string}}
steps:
  - {id: only, uses: http.request@1, with: {url: "{{ params.url }}"}}
"""


async def post(stack, body: Any, token: str | None = None) -> tuple[int, dict[str, str], Any]:
    """A request as it is, without a client that would mend it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Authorization": f"Bearer {token or stack.token}",
        "Content-Type": "application/json",
    }
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{stack.mc.url}/graphql", data=io.BytesIO(data)) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.json(content_type=None)


async def send(stack, workflow: str, value: str) -> tuple[int, Any]:
    """Enqueue with an input written as raw JSON text."""
    shell = json.dumps(
        {"query": ENQUEUE, "variables": {"input": {"workflowName": workflow, "input": "@"}}}
    )
    status, _, body = await post(
        stack, shell.replace('"@"', value).encode("utf-8", "surrogatepass")
    )
    return status, body


def refusals(body: Any) -> list[dict[str, Any]]:
    """Errors of the answer, wherever they stand: of the request or of the mutation."""
    top = [{"code": one["extensions"]["code"], **one} for one in body.get("errors", ())]
    return top or body["data"]["enqueueExecution"]["errors"]


async def counts(service) -> dict[str, int]:
    connection = await asyncpg.connect(service.mc.environ["MC_DATABASE_URL"])
    names = ("workflow_executions", "step_executions", "execution_events", "idempotency_keys")
    found = {
        name: await connection.fetchval(f"select count(*) from maestro.{name}") for name in names
    }
    await connection.close()
    return found


async def test_a_malformed_token_gets_401_and_says_how(stack):
    for token in ("x", "x.y.z", stack.token[:-4] + "AAAA", f"{stack.token}.more"):
        status, headers, body = await post(stack, {"query": "{ __typename }"}, token)

        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"authorization": "Bearer x.y.z"}, 4401),
        ({"authorization": 7}, 4401),
        ({}, 4401),
        ({"authorization": "@", "x-purpose": "x" * 300}, 4403),
    ],
)
async def test_a_malformed_token_closes_the_socket_with(stack, payload, code):
    payload = {
        key: f"Bearer {stack.token}" if value == "@" else value for key, value in payload.items()
    }
    address = f"{stack.mc.url.replace('http', 'ws')}/graphql"
    protocol = websockets.Subprotocol("graphql-transport-ws")
    async with websockets.connect(address, subprotocols=[protocol]) as socket, asyncio.timeout(10):
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        await socket.wait_closed()

    assert socket.close_code == code


async def test_ten_faults_are_ten_findings_with_their_places(stack):
    found = (await stack.ask(VALIDATE, source=FAULTS.read_text()))["validateWorkflow"]

    assert not found["valid"]
    assert len(found["findings"]) >= 10
    assert len({(one["rule"], one["line"], one["column"]) for one in found["findings"]}) == len(
        found["findings"]
    )
    assert all(one["line"] and one["column"] and one["message"] for one in found["findings"])


async def test_mc_finds_the_same_ten_without_a_server(stack):
    found = (await stack.ask(VALIDATE, source=FAULTS.read_text()))["validateWorkflow"]

    done = await stack.mc.run("validate", str(FAULTS))

    assert done.code == 4
    for one in found["findings"]:
        assert f"{FAULTS.name}:{one['line']}:{one['column']}: " in done.stdout, one


async def test_a_faulty_definition_is_neither_kept_nor_published(stack, service):
    source = "name: bad\nversion: 1.0.0\nsteps:\n  - {id: a, uses: nothing.here@1}\n"

    made = (await stack.ask(CREATE, input={"name": "bad", "source": source}))["createWorkflow"]

    assert made["workflow"] is None
    assert [(one["rule"], one["line"]) for one in made["findings"]] == [("unknown-connector", 4)]
    assert made["errors"][0]["code"] == "VALIDATION_FAILED"
    assert (await stack.ask("{ workflows { totalCount } }"))["workflows"]["totalCount"] == 0


async def test_an_unknown_workflow_is_named(stack, service):
    before = await counts(service)

    answer = await stack.ask(ENQUEUE, input={"workflowName": "no-such-thing", "input": {}})

    (error,) = answer["enqueueExecution"]["errors"]
    assert (error["code"], "no-such-thing" in error["message"]) == ("NOT_FOUND", True)
    assert await counts(service) == before


async def test_input_that_does_not_fit_is_refused_field_by_field_before_anything_is_queued(
    stack, service
):
    name = await stack.publish(ORDER)
    before = await counts(service)
    value = {"id": "a", "lines": [{"sku": "x"}, {"count": 0}], "extra": 1}

    answer = await stack.ask(ENQUEUE, input={"workflowName": name, "input": value})

    errors = answer["enqueueExecution"]["errors"]
    paths = {tuple(error["path"]) for error in errors}
    assert {error["code"] for error in errors} <= {"VALIDATION_FAILED", "BAD_USER_INPUT"}
    assert paths == {
        ("input", "input", "id"),
        ("input", "input", "extra"),
        ("input", "input", "lines", "1", "sku"),
        ("input", "input", "lines", "1", "count"),
    }
    assert await counts(service) == before


@pytest.mark.parametrize("value", ["[]", '"text"', "7", "null", "{}", '{"id": null, "lines": {}}'])
async def test_input_of_the_wrong_kind_is_refused(stack, value):
    name = await stack.publish(ORDER)

    _, body = await send(stack, name, value)

    assert refusals(body)[0]["code"] in {"VALIDATION_FAILED", "BAD_USER_INPUT"}


async def test_ten_megabytes_are_refused_and_the_server_lives(stack, service):
    name = await stack.publish(ECHO)
    before = await counts(service)

    status, body = await send(stack, name, json.dumps({"value": "x" * 10_000_000}))

    assert status == 413
    assert refusals(body)[0]["code"] == "PAYLOAD_TOO_LARGE"
    assert await counts(service) == before
    assert (await stack.finished(await stack.enqueue(name, {"value": 1})))["output"] == {"value": 1}


async def test_input_over_the_limit_is_refused_with_the_limit_named_and_just_under_it_runs(stack):
    name = await stack.publish(
        MUCH.replace("bytes: {type: integer}", "pad: {type: string}").replace(
            '"{{ params.bytes }}"', "10"
        )
    )
    shell = len('{"pad":""}')

    _, over = await send(stack, name, json.dumps({"pad": "x" * (LIMIT - shell + 1)}))
    _, under = await send(stack, name, json.dumps({"pad": "x" * (LIMIT - shell)}))

    assert refusals(over)[0]["code"] == "PAYLOAD_TOO_LARGE"
    assert str(LIMIT) in refusals(over)[0]["message"].replace(",", "")
    assert refusals(under) == []
    ended = await stack.finished(under["data"]["enqueueExecution"]["execution"]["id"])
    assert ended["status"] == "COMPLETED"


async def test_fifty_megabytes_of_output_are_stored_outside_their_row(stack, service):
    worker = psutil.Process(service.running["worker"].pid)
    name = await stack.publish(MUCH)

    ended = await stack.finished(await stack.enqueue(name, {"bytes": 50_000_000}))

    assert ended["status"] == "COMPLETED"
    assert worker.memory_info().rss < 500_000_000
    again = await stack.finished(await stack.enqueue(name, {"bytes": 1000}))
    assert again["status"] == "COMPLETED"


async def test_an_output_of_the_limit_is_kept(stack):
    name = await stack.publish(MUCH)

    ended = await stack.finished(await stack.enqueue(name, {"bytes": MOST_OUTPUT}))

    assert ended["status"] == "COMPLETED"


async def test_an_output_over_the_limit_is_refused_with_the_limit_named(stack, service):
    worker = psutil.Process(service.running["worker"].pid)
    name = await stack.publish(MUCH)

    ended = await stack.finished(await stack.enqueue(name, {"bytes": MOST_OUTPUT + 1}))

    assert ended["status"] == "FAILED"
    assert ended["error"]["stepKey"] == "only"
    assert str(MOST_OUTPUT) in ended["error"]["message"].replace(",", "")
    assert worker.is_running()
    again = await stack.finished(await stack.enqueue(name, {"bytes": 1000}))
    assert again["status"] == "COMPLETED"


async def test_fifty_megabytes_from_the_web_are_not_taken_in(stack):
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(50):
            await answer.write(b"x" * 1_000_000)
            sent += 1
        return answer

    async with listening(pour) as url:
        ended = await stack.finished(await stack.enqueue(await stack.publish(FETCH), {"url": url}))

    assert ended["error"]["type"] == "http.response_too_large"
    assert sent < 20


@pytest.mark.parametrize(
    "value",
    ['"a\\u0000b"', '{"k\\u0000": 1}', '["\\ud800"]'],
    ids=["nul", "nul-in-key", "half-a-surrogate"],
)
async def test_text_that_a_database_can_not_hold_is_refused_or_kept(stack, service, value):
    name = await stack.publish(ECHO)
    before = await counts(service)

    status, body = await send(stack, name, f'{{"value": {value}}}')

    assert status in {200, 400}
    assert refusals(body)[0]["code"] in {"VALIDATION_FAILED", "BAD_USER_INPUT"}
    assert await counts(service) == before


@pytest.mark.parametrize(
    "body", [b'{"query": "\xff\xfe"}', b"\xff", b"", b"{", b"[]", b"null", b"NaN"]
)
async def test_a_body_that_is_no_json_is_refused(stack, body):
    status, _, answer = await post(stack, body)

    assert status == 400
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[1e999]"])
async def test_numbers_that_json_does_not_have_are_refused(stack, service, value):
    name = await stack.publish(ECHO)
    before = await counts(service)

    status, body = await send(stack, name, f'{{"value": {value}}}')

    assert status in {200, 400}
    assert refusals(body)[0]["code"] in {"VALIDATION_FAILED", "BAD_USER_INPUT"}
    assert await counts(service) == before


@pytest.mark.parametrize("depth", [5_000, 200_000])
async def test_very_deep_json_is_refused_and_the_server_lives(stack, depth):
    name = await stack.publish(ECHO)

    status, body = await send(stack, name, f'{{"value": {"[" * depth}{"]" * depth}}}')

    assert status in {200, 400, 413}
    assert refusals(body)[0]["code"] in {"VALIDATION_FAILED", "BAD_USER_INPUT", "PAYLOAD_TOO_LARGE"}
    assert (await post(stack, {"query": "{ __typename }"}))[0] == 200


@pytest.mark.parametrize(
    "value",
    ["Zoë 🐘 \u202e", "\u2028", "日本", "'; drop table workflows; --", "{{ params.value }}"],
)
async def test_any_text_comes_back_as_it_went_in(stack, value):
    ended = await stack.finished(await stack.enqueue(await stack.publish(ECHO), {"value": value}))

    assert ended["output"] == {"value": value}


@pytest.mark.parametrize("name", ["Zoë", "日本", "a b", "../up", "x" * 300, ""])
async def test_a_name_that_can_be_none_is_refused_with_its_place(stack, name):
    source = f"name: {json.dumps(name)}\nversion: 1.0.0\nsteps:\n  - {{id: a, uses: core.noop@1}}\n"

    found = (await stack.ask(VALIDATE, source=source))["validateWorkflow"]

    assert not found["valid"]
    assert any(one["line"] == 1 for one in found["findings"])


@pytest.mark.long
async def test_a_definition_of_ten_thousand_steps_is_published(stack):
    steps: list[dict[str, Any]] = [{"id": "s0", "uses": "core.noop@1"}]
    steps += [
        {"id": f"s{n}", "uses": "core.noop@1", "depends_on": [f"s{n // 2}"]}
        for n in range(1, 10_000)
    ]
    source = json.dumps({"name": "huge", "version": "1.0.0", "steps": steps})

    assert await stack.publish(source) == "huge"


async def test_a_file_that_is_no_definition_is_refused_by_mc(stack, tmp_path: Path):
    for number, data in enumerate((b"\xff\xfe\x00", b"", b"\x00", b"- 1\n- 2\n", b"a: &a [*a]\n")):
        file = tmp_path / f"{number}.yaml"
        file.write_bytes(data)

        done = await stack.mc.run("validate", str(file))

        assert done.code in {2, 4}, (data, done)
        assert "Traceback" not in done.stderr
        assert file.name in done.stdout + done.stderr
