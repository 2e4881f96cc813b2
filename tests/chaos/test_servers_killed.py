"""`mc dev` while its servers die under it: what was acknowledged ends, /readyz names what is missing, nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import asyncpg
import psutil
import pytest
import redis.asyncio

from tests.support.outages import CHAIN, all_end_rightly, ready, try_to_start
from tests.support.processes import eventually, is_alive
from tests.support.stack import Service, Stack

COUNT = 50
_UNDO = "compensate: {uses: core.sleep@1, with: {duration: 1s}}"
SAGA = f"""
name: saga
version: 1.0.0
steps:
  - {{id: a, uses: core.noop@1, {_UNDO}}}
  - {{id: b, uses: core.noop@1, depends_on: [a], {_UNDO}}}
  - {{id: c, uses: core.noop@1, depends_on: [b], {_UNDO}}}
  - {{id: d, uses: core.fail@1, depends_on: [c]}}
"""
pytestmark = pytest.mark.chaos


@pytest.fixture
async def dev(mc):
    """A whole engine of its own, and its client."""
    await mc.start("dev").ready()
    yield Stack(Service(mc, {"dev": mc.started[0]}), (mc.home / "dev-token").read_text().strip())
    mc.end_all()


def server(stack: Stack, name: str) -> psutil.Process:
    """The process of an embedded server: of PostgreSQL the postmaster, the parent of all others."""
    found = [
        one for one in stack.mc.started[-1].descendants() if name in " ".join(one.cmdline()[:1])
    ]
    return min(found, key=lambda one: len(one.parents()))


def facts(stack: Stack) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((stack.mc.home / "dev.json").read_text())
    return read


async def start_many(stack: Stack) -> list[str]:
    name = await stack.publish(CHAIN)
    return [await stack.enqueue(name, {"n": n}) for n in range(COUNT)]


async def start_while(stack: Stack, first: int, condition) -> tuple[list[str], set[str | None]]:
    """Start one after the other as long as the condition lasts, and one more: ids, and codes of refusals."""
    ids: list[str] = []
    codes: set[str | None] = set()
    is_last = False
    while not is_last:
        is_last = not await condition()
        made, code = await try_to_start(stack, first + len(ids))
        ids += [made] if made else []
        codes |= {code} - {None}
    return ids, codes


@pytest.mark.parametrize(("program", "name"), [("postgres", "postgresql"), ("valkey", "redis")])
async def test_a_killed_server_is_named_comes_back_and_nothing_is_lost(dev, program, name):
    ids = await start_many(dev)
    killed = server(dev, program)
    statuses = []

    async def is_away() -> bool:
        status, body = await ready(dev)
        statuses.append(status)
        if status != 200:
            failed = {key for key, one in body["dependencies"].items() if one["status"] == "failed"}
            assert name in failed
            assert failed <= {name, "schema"}
        return status != 200

    killed.kill()
    await eventually(lambda: not is_alive(killed))
    more, codes = await start_while(dev, COUNT, is_away)

    assert codes <= {"UNAVAILABLE"}
    assert statuses[-1] == 200
    await all_end_rightly(dev, ids + more)


@pytest.mark.long
@pytest.mark.parametrize("program", ["postgres", "valkey"])
async def test_a_server_killed_while_steps_are_undone_changes_neither_order_nor_number(
    dev, program
):
    name = await dev.publish(SAGA)
    ids = [await dev.enqueue(name) for _ in range(COUNT)]
    await dev.until(ids[-1], "STEP_COMPENSATED", "c")
    killed = server(dev, program)
    killed.kill()
    await eventually(lambda: not is_alive(killed))

    async def is_back() -> bool:
        return (await ready(dev))[0] == 200

    await eventually(is_back, seconds=30)
    for one in await asyncio.gather(*(dev.finished(one) for one in ids)):
        told = [(edge["node"]["type"], edge["node"]["stepKey"]) for edge in one["events"]["edges"]]
        assert one["status"] == "FAILED"
        assert [key for kind, key in told if kind == "STEP_COMPENSATED"] == ["c", "b", "a"]
        assert [kind for kind, _ in told].count("EXECUTION_COMPENSATING") == 1
        completed = [key for kind, key in told if kind == "STEP_COMPLETED"]
        assert completed[3:] == ["c:compensate", "b:compensate", "a:compensate"]


@pytest.mark.long
async def test_a_server_that_stands_still_is_named_and_no_caller_hangs(dev):
    ids = await start_many(dev)
    stopped = server(dev, "valkey")
    stopped.suspend()
    try:
        await eventually(lambda: is_named(dev, "redis"), seconds=20)
        made, code = await try_to_start(dev, COUNT)
    finally:
        stopped.resume()

    assert code in {None, "UNAVAILABLE"}
    await all_end_rightly(dev, ids + ([made] if made else []))


async def is_named(stack: Stack, name: str) -> bool:
    status, body = await ready(stack)
    return status == 503 and body["dependencies"][name]["status"] == "failed"


@pytest.mark.long
async def test_all_of_redis_may_be_emptied_at_any_moment(dev):
    link = redis.asyncio.from_url(facts(dev)["redis_url"])
    name = await dev.publish(CHAIN)
    ids = []
    for number in range(COUNT):
        ids.append(await dev.enqueue(name, {"n": number}))
        await link.flushall()
    await link.aclose()

    await all_end_rightly(dev, ids)


@pytest.mark.long
async def test_a_cut_connection_is_made_again(dev):
    ids = await start_many(dev)
    connection = await asyncpg.connect(facts(dev)["database_url"])

    cut = await connection.fetchval(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()

    assert cut > 0
    await all_end_rightly(dev, ids)


async def test_kill_9_of_everything_and_the_next_start_finishes_what_was_running(dev):
    ids = await start_many(dev)
    await dev.until(ids[0], "STEP_STARTED", "b")
    first = dev.mc.started[0]
    family = first.descendants()

    first.send(signal.SIGKILL)
    await first.ended()
    await eventually(lambda: not any(is_alive(one) for one in family), what="no server left behind")
    dev.service.running["dev"] = await dev.mc.start("dev").ready()

    await all_end_rightly(dev, ids)
