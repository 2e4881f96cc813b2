"""Two API and two worker processes on one PostgreSQL: whoever is asked, and whoever works, it is one service."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest
from gql import GraphQLRequest

from tests.support.processes import Mc, Running, eventually, free_port
from tests.support.stack import ENQUEUE, WATCH, Service, Stack

pytestmark = pytest.mark.chaos

_NUMBERS = itertools.count(1)

SLOW = """
name: slow
version: 1.0.0
params: {n: {type: integer}}
steps:
  - {id: a, uses: core.sleep@1, with: {duration: 700ms}}
  - {id: b, uses: core.sleep@1, depends_on: [a], with: {duration: 700ms}}
outputs: {n: "{{ params.n }}"}
"""


@dataclass
class Two:
    """Both APIs as one tenant sees them, and the worker processes."""

    apis: tuple[Stack, Stack]
    workers: list[Running]


@dataclass
class Fleet:
    """Two APIs, two workers and a scheduler, each a process of one folder."""

    doors: tuple[Mc, Mc]
    apis: list[Running] = field(default_factory=list)
    workers: list[Running] = field(default_factory=list)

    async def complete(self) -> None:
        """Start what does not run: at first all, later what a test has ended."""
        dead = [one for one in (*self.apis, *self.workers) if one.process.poll() is not None]
        for one in dead:
            (self.apis if one in self.apis else self.workers).remove(one)
        here = {one.url for one in self.apis}
        self.apis += [door.start("serve") for door in self.doors if door.url not in here]
        self.workers += [self.doors[0].start("worker") for _ in range(2 - len(self.workers))]
        for one in self.apis:
            await one.ready()
        for one in self.workers:
            await one.printed("worker ready")


@pytest.fixture(scope="module")
def fleet(
    databases: Any, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("two")
    (folder / "home").mkdir(mode=0o700)
    mc = Mc(home=folder / "home", folder=folder)
    mc.environ |= {"MC_DATABASE_URL": databases.clone(), "MC_REDIS_URL": redis_server}
    mc.start("scheduler")
    yield Fleet((mc, replace(mc, port=free_port())))  # the same folder and list of processes
    mc.end_all()


@pytest.fixture
async def two(fleet: Fleet) -> Two:
    """The fleet as a tenant of this test alone."""
    await fleet.complete()
    tenant = f"tenant-{next(_NUMBERS)}"
    first, second = (Stack.of_tenant(Service(door), tenant) for door in fleet.doors)
    return Two((first, second), fleet.workers)


@pytest.fixture
def database_url(fleet: Fleet) -> str:
    """The database of the fleet."""
    return fleet.doors[0].environ["MC_DATABASE_URL"]


async def test_accepted_by_either_watched_on_the_other_and_run_by_both(two, database_url):
    one, other = two.apis
    name, ids = await one.publish(SLOW), []

    async def through(entrance: Stack, exit: Stack, n: int) -> Any:
        execution = await entrance.enqueue(name, {"n": n})
        ids.append(execution)
        events = await exit.watch(execution)
        return events[-1]["type"], (await exit.finished(execution))["output"]

    found = await asyncio.gather(
        *(through(*((one, other) if n % 2 else (other, one)), n) for n in range(24))
    )

    assert found == [("EXECUTION_COMPLETED", {"n": n}) for n in range(24)]
    assert len(await names(database_url, ids)) == 2


async def names(database_url: str, ids: list[str]) -> set[str]:
    """The processes that completed steps of these executions."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "select distinct result ->> 'worker' as name from maestro.step_executions where execution_id = any($1::uuid[])",
        ids,
    )
    await connection.close()
    return {row["name"] for row in rows}


async def test_one_key_at_two_apis_at_once_is_one_execution(two):
    name = await two.apis[0].publish(SLOW)

    async def start(api: Stack, key: str) -> tuple[str, bool]:
        body = {"workflowName": name, "input": {"n": 1}, "idempotencyKey": key}
        answer = (await api.ask(ENQUEUE, input=body))["enqueueExecution"]
        assert answer["errors"] == []
        return answer["execution"]["id"], answer["created"]

    for key in range(10):
        found = await asyncio.gather(*(start(api, f"k{key}") for api in two.apis * 4))
        assert len({execution for execution, _ in found}) == 1
        assert [created for _, created in found].count(True) == 1


async def test_a_shard_that_is_closed_takes_nothing_from_either_until_it_is_opened(
    two, database_url
):
    name = await two.apis[0].publish(SLOW)
    connection = await asyncpg.connect(database_url)
    await close(connection)
    for api in two.apis:
        with pytest.raises(Exception, match=r"SHARD_CLOSED|closed while it is being moved"):
            await api.enqueue(name, {"n": 1})
    await connection.execute("update maestro.shards set open = true")
    await connection.close()

    execution = await two.apis[1].enqueue(name, {"n": 2})

    assert (await two.apis[0].finished(execution))["output"] == {"n": 2}


async def close(connection: Any) -> None:
    """As docs/scaling.md says: the lock waits for every enqueue that is under way."""
    async with connection.transaction():
        await connection.execute("select 1 from maestro.shards for update")
        await connection.execute("update maestro.shards set open = false")


async def test_a_killed_worker_s_executions_end_at_the_other_and_an_api_less_is_no_loss(two, fleet):
    one, other = two.apis
    name = await one.publish(SLOW)
    ids = [await one.enqueue(name, {"n": n}) for n in range(30)]
    await asyncio.gather(*(other.until(execution, "STEP_STARTED", "a") for execution in ids[:4]))

    two.workers[0].kill()
    next(api for api in fleet.apis if api.url == one.mc.url).kill()

    ended = await asyncio.gather(*(other.finished(execution) for execution in ids))
    assert [found["status"] for found in ended] == ["COMPLETED"] * 30
    for found in ended:
        kinds = [edge["node"]["type"] for edge in found["events"]["edges"]]
        assert kinds.count("STEP_COMPLETED") == 2
    assert await two.workers[1].stop(signal.SIGTERM) == 0


async def test_streams_go_on_at_the_other_api_when_theirs_is_killed(two, fleet):
    one, other = two.apis
    name = await one.publish(SLOW)
    ids = [await one.enqueue(name, {"n": n}) for n in range(3)]
    events: list[Any] = []
    lists: list[Any] = []
    newest: list[Any] = []
    watching = [
        asyncio.create_task(follow(one, WATCH, events, id=ids[0])),
        asyncio.create_task(follow(one, LIVE, lists)),
    ]
    await eventually(lambda: events and any(is_in(lists, each, "RUNNING") for each in ids))

    next(api for api in fleet.apis if api.url == one.mc.url).kill()
    assert all(await asyncio.gather(*watching, return_exceptions=True))
    later = await other.watch(ids[0], after=events[-1]["cursor"])
    going_on = asyncio.create_task(follow(other, LIVE, newest, after=lists[-1]["cursor"]))
    await eventually(lambda: all(is_in(newest, each, "COMPLETED") for each in ids))
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)

    numbers = [int(event["sequence"]) for event in (*events, *later)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert later[-1]["type"] == "EXECUTION_COMPLETED"


LIVE = """subscription($after: String) {
  executions(first: 1, after: $after) { cursor execution { id status } } }"""


async def follow(api: Stack, document: str, told: list[Any], **variables: Any) -> None:
    """Everything that a subscription tells, for as long as it does."""
    asked = GraphQLRequest(document, variable_values=variables)
    async with api.socket() as session:
        async for answer in session.subscribe(asked):
            told += answer.values()


def is_in(told: list[Any], id: str, status: str) -> bool:
    """Whether an execution was told to be in this status."""
    return any(one["execution"] == {"id": id, "status": status} for one in told)


QUICK = "name: quick\nversion: 1.0.0\nsteps: [{id: a, uses: core.noop@1}]\n"
KEPT = "select result_id from maestro.idempotency_keys where key = $1"
BLOCKED = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and wait_event_type = 'Lock' and query like '%mc_enqueue%'"
)


async def test_an_api_killed_before_its_commit_and_one_before_its_answer(two, fleet, database_url):
    """The same key at another API: the first time nothing exists yet, the second time it is what was accepted."""
    one, other = two.apis
    name = await one.publish(QUICK)
    # What others do is seen by a connection that is in no transaction.
    sql, holder = await asyncpg.connect(database_url), await asyncpg.connect(database_url)

    async def asked(api: Stack, key: str) -> tuple[Any, Any, int]:
        """An enqueue that stands still in PostgreSQL, just before it writes: it, what holds it, its backend."""
        held = holder.transaction()
        await held.start()
        await holder.execute("select 1 from maestro.shards for update")
        asking = asyncio.create_task(api.enqueue(name, idempotencyKey=key))
        await eventually(lambda: sql.fetchval(BLOCKED), what="an enqueue that waits")
        return asking, held, await sql.fetchval(BLOCKED)

    asking, held, backend = await asked(one, "before")
    next(each for each in fleet.apis if each.url == one.mc.url).kill()
    await sql.execute("select pg_terminate_backend($1)", backend)
    await held.rollback()
    assert isinstance(await asyncio.wait_for(_outcome(asking), 20), Exception)
    assert await sql.fetchval(KEPT, "before") is None
    first = await other.enqueue(name, idempotencyKey="before")
    assert str(await sql.fetchval(KEPT, "before")) == first

    asking, held, _ = await asked(other, "after")
    api = next(each for each in fleet.apis if each.url == other.mc.url)
    api.send(signal.SIGSTOP)
    await held.rollback()
    await eventually(lambda: sql.fetchval(KEPT, "after"), what="the commit")
    api.kill()
    assert isinstance(await asyncio.wait_for(_outcome(asking), 20), Exception)
    await fleet.complete()
    second = await one.enqueue(name, idempotencyKey="after")
    assert str(await sql.fetchval(KEPT, "after")) == second

    # Nobody hinted at the second: the sweep finds it.
    for execution in (first, second):
        assert (await one.finished(execution))["status"] == "COMPLETED"
    await holder.close()
    await sql.close()


async def _outcome(task: asyncio.Task[Any]) -> Any:
    return (await asyncio.gather(task, return_exceptions=True))[0]
