"""A secret reaches the service that a step calls, and no other place: every sink of a whole engine is searched for it.

The journey is made once: the secret goes out in a header, a body, a query; comes back in answers, errors, redirects; is
logged, refused, misused. Then each sink is read as a whole. A plain text that takes the same ways is found in each, so the
search can fail. Eight letters in a row of the secret, plain or in Base64, count as the secret.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import redis.asyncio
from gql import GraphQLRequest

from tests.support.listening import Collector, Echo, listening
from tests.support.processes import Mc
from tests.support.stack import Service, Stack

CORE = "Wq8ZrTmX4bLpYk2Nf7Hs"
SECRET = f'p/{CORE}+="x'
PLAIN = "plainly-visible-5150"
LETTERS = 8
REDACTED = "***"

CALL = """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/echo/{{ params.plain }}", method: PUT,
    headers: {X-Key: "{{ secrets.CANARY }}", X-Mixed: "Token {{ secrets.CANARY }} {{ params.plain }}"},
    query: {key: "{{ secrets.CANARY }}"}, json: {deep: [{key: "{{ secrets.CANARY }}", plain: "{{ params.plain }}"}]}}}"""
PROBES = {
    "echoed": f"""{CALL}
  - {{id: after, uses: core.set@1, depends_on: [call], with: {{all: "{{{{ steps.call.output }}}}"}}}}
outputs: {{all: "{{{{ steps.call.output }}}}"}}""",
    "basic": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/echo", method: PUT, body: "key={{ secrets.CANARY }}",
    auth: {basic: {username: "{{ params.plain }}", password: "{{ secrets.CANARY }}"}}}}""",
    "bearer": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/echo", auth: {bearer: "{{ secrets.CANARY }}"}}}""",
    "form": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/echo", method: PUT, form: {key: "{{ secrets.CANARY }}"}}}""",
    "refused": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/refuse?key={{ secrets.CANARY }}", method: PUT,
    json: {key: "{{ secrets.CANARY }}"}}}""",
    "cut": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/refuse?key={{ secrets.CANARY }}", max_response_bytes: 60}}""",
    "path": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/{{ secrets.CANARY }}", response: json, expected_status: [418]}}""",
    "redirected": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/go", query: {key: "{{ secrets.CANARY }}"},
    headers: {X-Key: "{{ secrets.CANARY }}"}}}""",
    "not-followed": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/go", query: {key: "{{ secrets.CANARY }}"}, max_redirects: 0}}""",
    "no-address": """{id: call, uses: http.request@1, with: {url: "{{ secrets.CANARY }}"}}""",
    "no-method": """{id: call, uses: http.request@1, with: {url: "{{ params.url }}/echo", method: "{{ secrets.CANARY }}"}}""",
    "no-host": """{id: call, uses: http.request@1, with: {url: "http://{{ secrets.CANARY }}.invalid/"}}""",
    "no-duration": """{id: call, uses: core.sleep@1, with: {duration: "{{ secrets.CANARY }}"}}""",
    "no-number": """{id: call, uses: core.set@1, with: {number: "{{ secrets.CANARY - 1 }}"}}""",
    "no-key": """{id: call, uses: core.set@1, with: {number: "{{ secrets.CANARY.missing }}"}}""",
    "handed-on": """{id: call, uses: core.set@1, with: {key: "{{ secrets.CANARY }}"}}
  - {id: next, uses: core.set@1, depends_on: [call], with: {key: "{{ steps.call.output.key }}"}}""",
    "failed": """{id: call, uses: core.fail@1, with: {message: "could not use {{ secrets.CANARY }} {{ params.plain }}"}}""",
    "logged": """{id: call, uses: talk.quote@1, with: {text: "{{ secrets.CANARY }} {{ params.plain }}"}}""",
    "raised": """{id: call, uses: talk.quote@1, with: {text: "{{ secrets.CANARY }}", fail: true}, retry: {max_attempts: 2, initial: 10ms}}""",
}
EVERYTHING = """query ($id: ID!) { execution(id: $id) { id status input output error { type message details stack }
  workflow { name } workflowVersion { source definition inputSchema steps { key condition config } }
  steps { stepKey input output error { type message details stack } attempts { error { type message details stack } }
    logs { edges { node { level message fields stack } } } }
  events(first: 1000) { edges { node { type stepKey data } } }
  logs(first: 1000) { edges { node { level message fields stack } } } } }"""
EVENTS = "subscription ($id: ID!) { executionEvents(id: $id) { type data } }"
LOGS = "subscription ($id: ID!) { executionLogs(id: $id) { message fields } }"
SINKS = (
    "database",
    "redis",
    "graph",
    "subscriptions",
    "mc",
    "metrics",
    "spans",
    "dev.log",
    "folder",
)


def grams(text: str) -> Iterator[str]:
    return (text[at : at + LETTERS] for at in range(len(text) - LETTERS + 1))


def needles() -> set[str]:
    """What betrays the secret: parts of it, as they are and in Base64 at each place in a group of three bytes."""
    shifted = (base64.b64encode(b"\0" * shift + CORE.encode()).decode()[4:-4] for shift in range(3))
    return {*grams(CORE), *(gram for text in shifted for gram in grams(text))}


@dataclass(slots=True)
class Journey:
    """What was found where, and what proves that the place was read."""

    echo: Echo
    found: dict[str, str]
    control: dict[str, str]
    ended: dict[str, dict[str, Any]]


async def database(url: str) -> str:
    """Each row of each table of the product, all columns."""
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'"
    )
    rows = []
    for schema, name in tables:
        found = await connection.fetch(f'select to_jsonb(t)::text from "{schema}"."{name}" t')
        rows += [f"{name}: {row[0]}" for row in found]
    await connection.close()
    return "\n".join(rows)


async def everything_in_redis(url: str) -> str:
    """Each key with its value; one of ours proves that values are read."""
    link = redis.asyncio.from_url(url, decode_responses=True)
    await link.set("control", PLAIN)
    read: dict[str, Callable[[str], Any]] = {
        "string": link.get,
        "hash": link.hgetall,
        "set": link.smembers,
        "stream": link.xrange,
        "list": lambda key: link.lrange(key, 0, -1),
        "zset": lambda key: link.zrange(key, 0, -1, withscores=True),
    }
    found = [
        f"{key}: {await read[str(await link.type(key))](key)}" async for key in link.scan_iter()
    ]
    await link.aclose()
    return "\n".join(map(str, found))


async def graph(stack: Stack, ids: list[str]) -> str:
    return "\n".join([json.dumps(await stack.ask(EVERYTHING, id=one)) for one in ids])


async def subscriptions(stack: Stack, ids: list[str]) -> str:
    found = []
    async with stack.socket() as session:
        for one in ids:
            for text in (EVENTS, LOGS):
                asked = GraphQLRequest(text, variable_values={"id": one})
                found += [json.dumps(answer) async for answer in session.subscribe(asked)]
    return "\n".join(found)


async def printed(mc: Mc, ids: list[str]) -> str:
    found = []
    for one in ids:
        for words in (["get", one], ["get", one, "-o", "json"], ["logs", one], ["watch", one]):
            done = await mc.run("executions", *words)
            found.append(done.stdout + done.stderr)
    return "\n".join(found)


def folder(home: Path) -> str:
    """Each file of the data folder as bytes: tables, write-ahead log, logs, keys; not the secrets' own."""
    files = (path for path in home.rglob("*") if path.is_file() and path.name != "secrets.yaml")
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


async def metrics(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        return await answer.text()


async def run_probes(stack: Stack, url: str) -> dict[str, dict[str, Any]]:
    head = "params: {url: {type: string}, plain: {type: string}}\nsteps:\n  - "
    names = [
        await stack.publish(f"name: {name}\nversion: 1.0.0\n{head}{text}")
        for name, text in PROBES.items()
    ]
    ids = [await stack.enqueue(name, {"url": url, "plain": PLAIN}) for name in names]
    return dict(zip(names, [await stack.finished(one) for one in ids], strict=True))


async def make_journey(mc: Mc) -> Journey:
    secrets = mc.home / "secrets.yaml"
    secrets.touch(0o600)
    secrets.write_text(f"CANARY: {json.dumps(SECRET)}\n")
    echo, collector = Echo(), Collector()
    async with listening(echo.answer) as url, listening(collector.answer) as spans:
        mc.environ |= {
            "MC_EGRESS_ALLOW": "127.0.0.0/8",
            "MC_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": spans,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        dev = await mc.start("dev", "--import", "tests.support.talking").ready()
        facts = json.loads((mc.home / "dev.json").read_text())
        stack = Stack(Service(mc), (mc.home / "dev-token").read_text().strip())
        ended = await run_probes(stack, url)
        ids = [one["id"] for one in ended.values()]
        found = {
            "database": await database(facts["database_url"]),
            "redis": await everything_in_redis(facts["redis_url"]),
            "graph": await graph(stack, ids),
            "subscriptions": await subscriptions(stack, ids),
            "mc": await printed(
                mc, [ended[name]["id"] for name in ("echoed", "refused", "logged")]
            ),
            "metrics": await metrics(mc.url),
        }
        await dev.stop()
    log = mc.home / "dev.log"
    found |= {
        "spans": b"".join(collector.raw).decode("latin-1"),
        "dev.log": log.read_text() + dev.output(),
        "folder": await asyncio.to_thread(folder, mc.home),
    }
    control = dict.fromkeys(SINKS, PLAIN) | {
        "metrics": "http.request",
        "spans": ids[0],
        "dev.log": ids[0],
    }
    return Journey(echo, found, control, ended)


@pytest.fixture(scope="module")
def journey(ground_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("canary")
    (place / "home").mkdir(mode=0o700)
    mc = Mc(home=place / "home", folder=place)
    try:
        yield ground_run(make_journey(mc))
    finally:
        mc.end_all()


@pytest.mark.parametrize("sink", SINKS)
def test_no_part_of_the_secret_is_in(journey, sink):
    text = journey.found[sink]

    leaks = {
        needle: text[max(0, text.index(needle) - 300) :][:600]
        for needle in needles()
        if needle in text
    }

    assert leaks == {}
    assert journey.control[sink] in text


def test_the_service_that_was_called_got_the_secret_in_each_way(journey):
    paths = {seen.path for seen in journey.echo.seen if CORE in seen.text}
    headers = [seen.headers for seen in journey.echo.seen]
    basic = base64.b64encode(f"{PLAIN}:{SECRET}".encode()).decode()

    assert {"/refuse", "/go", "/gone", "/echo", f"/echo/{PLAIN}"} <= paths
    assert any(one.get("x-key") == SECRET for one in headers)
    assert any(one.get("authorization") == f"Bearer {SECRET}" for one in headers)
    assert any(one.get("authorization") == f"Basic {basic}" for one in headers)


def test_answers_show_a_mask_where_the_secret_was(journey):
    steps = {name: one["steps"][0] for name, one in journey.ended.items()}

    assert steps["echoed"]["output"]["json"]["headers"]["x-mixed"] == f"Token {REDACTED} {PLAIN}"
    assert steps["logged"]["output"] == {"text": f"said {REDACTED} {PLAIN}"}
    assert steps["failed"]["error"]["message"] == f"could not use {REDACTED} {PLAIN}"
    assert steps["raised"]["error"]["message"] == f"refused: {REDACTED}"


@pytest.mark.parametrize("name", PROBES)
def test_every_way_was_gone_to_its_end(journey, name):
    succeed = {"echoed", "basic", "bearer", "form", "redirected", "handed-on", "logged"}

    assert journey.ended[name]["status"] == ("COMPLETED" if name in succeed else "FAILED")
