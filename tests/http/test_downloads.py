"""Downloads: any size, by the right callers only, whole or in ranges, never damaged."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tests.http.serving import Served

BIG = 60_000
SOURCE = """
name: big
version: 1.0.0
params:
  text: {type: string}
steps:
  - id: make-it
    uses: core.set@1
    with: {text: "{{ params.text }}"}
  - id: small
    uses: core.set@1
    depends_on: [make-it]
    with: {size: "{{ steps['make-it'].output.text | length }}"}
outputs: {text: "{{ steps['make-it'].output.text }}"}
"""
SHOWN = """query ($id: ID!) { execution(id: $id) { status
  input output inputRef { uri sizeBytes digest mediaType } outputRef { uri sizeBytes }
  steps { stepKey input output inputHash outputHash outputRef { uri sizeBytes digest } } } }"""


async def got(server: Served, path: str, **headers: str) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url + path, headers={**server.bearer(), **headers}) as response,
    ):
        return response.status, response.headers, await response.read()


@pytest.fixture
async def run(server: Served, worker: None) -> tuple[str, dict[str, Any], str]:
    """An execution with a large input and output, as the graph shows it."""
    text = "ü" * (BIG // 2)
    await server.publish(SOURCE, "big")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="big", input={"text": text})
    async for _ in server.rt.services.executions.watch(await _who(server), UUID(one)):
        continue
    answer = await server.ask(SHOWN, {"id": one})
    return one, answer.body["data"]["execution"], text


async def _who(server: Served) -> Any:
    return await server.rt.authenticator.principal(server.bearer()["Authorization"], None)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


async def test_the_graph_shows_large_values_and_where_they_are(run):
    one, shown, text = run

    assert shown["status"] == "COMPLETED"
    assert shown["input"] == shown["output"] == {"text": text}
    assert shown["inputRef"]["uri"] == f"/api/executions/{one}/input"
    assert shown["inputRef"]["digest"] == digest_of(canonical({"text": text}))
    assert shown["outputRef"]["uri"] == f"/api/executions/{one}/output"
    large, small = shown["steps"]
    assert large["outputRef"]["uri"] == f"/api/executions/{one}/steps/make-it/output"
    assert int(large["outputRef"]["sizeBytes"]) == len(canonical({"text": text}))
    assert small["outputRef"] is None
    for step in (large, small):
        assert step["inputHash"] == digest_of(canonical(step["input"]))
        assert step["outputHash"] == digest_of(canonical(step["output"]))


async def test_a_download_is_the_value_with_its_digest(server: Served, run):
    one, shown, text = run

    for path in (f"/api/executions/{one}/steps/make-it/output", f"/api/executions/{one}/output"):
        status, headers, body = await got(server, path)

        assert status == 200
        assert body == canonical({"text": text})
        wanted = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert headers["Content-Digest"] == headers["Repr-Digest"] == f"sha-256=:{wanted}:"
        assert headers["Content-Length"] == str(len(body))
        assert headers["Content-Type"] == "application/json"
    status, _, body = await got(server, f"/api/executions/{one}/steps/small/output")
    assert (status, json.loads(body)) == (200, {"size": len(text)})
    assert digest_of(body) == shown["steps"][1]["outputHash"]


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-9", 0, 9), ("100-", 100, None), ("-5", -5, None)]
)
async def test_a_range_is_a_part_of_it(
    server: Served, run, asked: str, first: int, last: int | None
):
    one, _, text = run
    whole = canonical({"text": text})

    status, headers, body = await got(
        server, f"/api/executions/{one}/output", Range=f"bytes={asked}"
    )

    assert status == 206
    assert body == whole[first : None if last is None else last + 1]
    assert headers["Content-Range"].endswith(f"/{len(whole)}")
    assert "Content-Digest" not in headers


async def test_a_range_outside_is_refused_and_a_strange_one_ignored(server: Served, run):
    one, _, _ = run
    path = f"/api/executions/{one}/output"

    assert (await got(server, path, Range="bytes=99999999-"))[0] == 416
    assert (await got(server, path, Range="lines=1-2"))[0] == 200
    assert (await got(server, path, Range="bytes=0-9", **{"If-Range": '"other"'}))[0] == 200


async def test_others_find_nothing(server: Served, run):
    one, _, _ = run
    path = f"/api/executions/{one}/steps/make-it/output"

    assert (await server.request("GET", path)).status == 401
    other = await server.request("GET", path, headers=server.bearer(tenant="other"))
    assert (other.status, other.body["reason"]) == (404, "EXECUTION_NOT_FOUND")
    scopeless = await server.request(
        "GET", path, headers=server.bearer(None, scopes=["workflows:read"])
    )
    assert (scopeless.status, scopeless.body["code"]) == (403, "FORBIDDEN")
    missing = await server.request("GET", path.replace("make-it", "x"), headers=server.bearer())
    assert (missing.status, missing.body["reason"]) == (404, "STEP_NOT_FOUND")
    nonsense = await server.request("GET", "/api/executions/x/output", headers=server.bearer())
    assert nonsense.status == 404


async def test_a_damaged_value_is_an_error_and_no_answer(server: Served, run, home: Path):
    one, _, _ = run
    for file in (home / "blobs").rglob("*"):
        if file.is_file():
            file.write_bytes(b"!" * file.stat().st_size)

    answer = await server.request("GET", f"/api/executions/{one}/output", headers=server.bearer())
    graph = await server.ask(
        'query ($id: ID!) { execution(id: $id) { step(key: "make-it") { status } } }', {"id": one}
    )

    assert (answer.status, answer.body["code"], answer.body["reason"]) == (
        500,
        "DATA_DAMAGED",
        "BLOB_DAMAGED",
    )
    assert graph.body["data"]["execution"]["step"]["status"] == "COMPLETED"
