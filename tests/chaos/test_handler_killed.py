"""`kill -9` of the worker in the middle of a handler's call: another worker tells it all again, nothing is left out."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.processes import ROOT, eventually
from tests.support.stack import Stack, start_service

pytestmark = pytest.mark.chaos

HANDLER = """
import asyncio
import os
from pathlib import Path

from maestro import EventHandler

FOLDER = Path(os.environ["HANDLER_FOLDER"])


class Ledger(EventHandler):
    name = "test.ledger"
    events = ("execution_completed",)
    when_stuck = "wait"
    timeout_seconds = 60.0

    async def handle(self, events):
        write("begun", [f"{os.getpid()} {event.subject}" for event in events])
        while not (FOLDER / "gate").exists():
            await asyncio.sleep(0.01)
        write("told", [str(event.subject) for event in events])


def write(name, lines):
    with (FOLDER / name).open("a") as file:
        file.writelines(f"{line}\\n" for line in lines)
"""
WORKFLOW = "name: quick\nversion: 1.0.0\nsteps: [{id: a, uses: core.noop@1}]\n"


@pytest.mark.long
async def test_a_worker_killed_in_the_middle_of_a_call(mc, database_url, redis_url, tmp_path):
    (tmp_path / "ledger.py").write_text(HANDLER)
    mc.environ |= {"HANDLER_FOLDER": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    service = await start_service(mc, database_url, redis_url, imports=("ledger",))
    stack = Stack.of_tenant(service, "acme")
    name = await stack.publish(WORKFLOW)
    await _registered(database_url)
    first = await stack.enqueue(name)
    await eventually((tmp_path / "begun").exists, what="a call")
    others = [await stack.enqueue(name) for _ in range(5)]

    service.running["worker"].kill()
    await _lease_runs_out(database_url)
    service.start("worker", "--import", "ledger")
    (tmp_path / "gate").touch()
    for one in others:
        await stack.finished(one)
    await eventually(lambda: {first, *others} <= _lines(tmp_path / "told"), what="all of them")

    begun = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
    assert len({pid for pid, one in begun if one == first}) == 2
    mc.end_all()


def _lines(path):
    return set(path.read_text().split()) if path.exists() else set()


async def _registered(url):
    sql = await asyncpg.connect(url)
    held = "select exists (select 1 from maestro.event_cursors where owner is not null)"
    await eventually(lambda: sql.fetchval(held), what="a held cursor")
    await sql.close()


async def _lease_runs_out(url):
    sql = await asyncpg.connect(url)
    await sql.execute("update maestro.event_cursors set lease_until = now() - interval '1 second'")
    await sql.close()
