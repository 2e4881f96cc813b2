"""Two database servers and one of them down: its shards stop, the others go on, and it resumes when it is back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.embedded.home import socket_folder
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.model.errors import Unavailable
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionFilter
from runtime.model.page import PageRequest
from runtime.store.migrate import migrate_all
from subgraph.app import create_app
from tests.http.serving import Served, listening
from tests.support.processes import eventually
from tests.support.sharded import Sharded, map_of, sharded

pytestmark = pytest.mark.chaos

SLOW = [
    {"id": "a", "uses": "core.sleep@1", "with": {"duration": "1500ms"}},
    {"id": "b", "uses": "core.sleep@1", "with": {"duration": "1500ms"}, "depends_on": ["a"]},
]
ALL = ExecutionFilter()
LIST = "{ executions(first: 50) { isPartial totalCount totalCountIsCapped edges { node { id } } } }"


class Server:
    """One of the two; `kill` is a crash."""

    def __init__(self, made: EmbeddedPostgres, run: Callable[..., Any]) -> None:
        self.made = made
        self._run = run

    async def kill(self) -> None:
        child = self.made.child
        assert child is not None
        os.kill(child.pid, signal.SIGQUIT)
        await self._elsewhere(child.wait)

    async def start(self) -> None:
        await self._elsewhere(self.made.start)

    async def _elsewhere(self, work: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: self._run(work()))


@pytest.fixture
def servers(ground_run: Callable[..., Any]) -> Iterator[tuple[Server, Server]]:
    """East and west, each a PostgreSQL of its own, migrated with their shards."""
    folders = [Path(tempfile.mkdtemp(prefix="mcs-")) for _ in range(2)]
    made = [EmbeddedPostgres(one / "postgres", socket_folder(one)) for one in folders]
    for server in made:
        ground_run(server.start())
    ground_run(migrate_all(map_of([server.url for server in made])))
    yield Server(made[0], ground_run), Server(made[1], ground_run)
    for server, folder in zip(made, folders, strict=True):
        ground_run(server.stop())
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def process(
    servers: tuple[Server, Server], redis_url: str, home: Path
) -> AsyncIterator[Sharded]:
    """API, workers and schedulers of both."""
    urls = [server.made.url for server in servers]
    async with sharded(urls, redis_url, home) as room, room.crew(), room.schedulers():
        yield room


async def is_running(room: Sharded, who: Any, one: Any) -> bool:
    found = await room.rt.services.executions.find(who, one)
    return found is not None and found.status.name == "RUNNING"


@pytest.mark.long
async def test_the_others_go_on_and_what_was_under_way_ends_afterwards(servers, redis_url, home):
    _, west = servers
    async with process(servers, redis_url, home) as room:
        executions = room.rt.services.executions
        here, there, wide = (
            await room.caller(0), await room.caller(2), await room.caller(1, spread=True)
        )  # fmt: skip
        for who in (here, there, wide):
            await room.publish(who, steps=SLOW)
        far = [(await room.enqueue(there)).id for _ in range(5)]
        near = [(await room.enqueue(here)).id for _ in range(5)]
        spread = [(await room.enqueue(wide, idempotency_key=f"k{n}")).id for n in range(16)]
        assert {room.rt.shards.shard_of(one) for one in spread} == {0, 1, 2, 3}
        await eventually(lambda: is_running(room, there, far[0]))
        watched = asyncio.create_task(last_event(room, there, far[0]))

        await west.kill()

        near += [(await room.enqueue(here)).id for _ in range(5)]
        assert set(await room.ended(here, *near)) == {"completed"}
        with pytest.raises(Unavailable):
            await room.enqueue(there)
        with pytest.raises(Unavailable):
            await executions.find(there, far[0])
        with pytest.raises(Unavailable):
            await executions.list(there, ALL, PageRequest(50))
        page = await executions.list(wide, ALL, PageRequest(50))
        east = [one for one in sorted(spread, reverse=True) if room.rt.shards.shard_of(one) < 2]
        assert ([one.id for one in page.items], page.silent) == (east, ("west",))
        assert await executions.count(wide, ALL) == (len(east), True)
        async with listening(create_app(room.rt)) as url:
            served = Served(room.rt, url)
            answer = await served.ask(LIST, None, **served.bearer(tenant=wide.tenant))
            shown = answer.body["data"]["executions"]
            assert (shown["isPartial"], shown["totalCountIsCapped"]) == (True, True)
            assert [edge["node"]["id"] for edge in shown["edges"]] == [str(one) for one in east]
            ready = await served.request("GET", "/readyz")
            failed = {
                name
                for name, found in ready.body["dependencies"].items()
                if found["status"] == "failed"
            }
            assert (ready.status, failed) == (200, {"postgresql:west"})

        await west.start()

        assert set(await room.ended(there, *far, seconds=60)) == {"completed"}
        assert set(await room.ended(wide, *spread, seconds=60)) == {"completed"}
        assert await watched is EventKind.EXECUTION_COMPLETED
        page = await executions.list(wide, ALL, PageRequest(50))
        assert ([one.id for one in page.items], page.silent) == (sorted(spread, reverse=True), ())
        assert await room.ended(there, (await room.enqueue(there)).id) == ["completed"]


async def last_event(room: Sharded, who: Any, one: Any) -> EventKind:
    kinds = [event.kind async for event in room.rt.services.executions.watch(who, one)]
    return kinds[-1]


@pytest.mark.long
async def test_without_the_catalog_known_workflows_run_on_other_databases(servers, redis_url, home):
    east, _ = servers
    async with process(servers, redis_url, home) as room:
        here, there = await room.caller(0), await room.caller(3)
        for who in (here, there):
            await room.publish(who)
        await room.ended(there, (await room.enqueue(there)).id)
        waiting = (await room.enqueue(here)).id
        await room.ended(here, waiting)
        await eventually(lambda: copied(room))

        await east.kill()

        assert await room.ended(there, (await room.enqueue(there)).id) == ["completed"]
        with pytest.raises(Unavailable):
            await room.enqueue(here)
        left = (await room.enqueue(there)).id
        await room.ended(there, left)
        # A process that starts now has nothing cached: it begins with the copies.
        async with process(servers, redis_url, home) as other:
            assert await room.ended(there, (await room.enqueue(there)).id) == ["completed"]
            await east.start()
            assert await other.ended(here, (await room.enqueue(here)).id) == ["completed"]


async def copied(room: Sharded) -> bool:
    return len(await room.rows(1, "select 1 from workflow_versions")) == 2
