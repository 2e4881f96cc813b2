"""Born owned: what a process accepts while nothing waits is its own worker's from the first commit on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus
from runtime.store.births import Births, Newborn, Offer
from runtime.store.enqueue import Enqueuer, EnqueueRow
from runtime.worker import signals
from runtime.worker.loop import Worker
from tests import make
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

NOOP = [{"id": "a", "uses": "core.noop@1"}]
HELD = [{"id": "a", "uses": "probe.gate@1", "with": {"marker": "m"}}]


@dataclass
class Door:
    """The API of a worker's process."""

    room: EngineRoom
    births: Births = field(default_factory=Births)

    def __post_init__(self) -> None:
        self.enqueuer = Enqueuer(
            self.room.database, 0, metrics=self.room.metrics, births=self.births
        )

    async def worker(self, **changes: Any) -> Worker:
        """A worker of the same process, in its seat."""
        worker = self.room.worker(**changes)
        await worker.signals.wait(signals.BEAT)
        self.births.join(0, worker.offer)
        return worker

    async def row(self, steps: Sequence[Any] = NOOP, **more: Any) -> EnqueueRow:
        version = await self.room.publish(steps)
        return make.enqueue_row(tenant=TENANT, workflow=version, version=version, input={}, **more)

    async def accept(self, steps: Sequence[Any] = NOOP, **more: Any) -> Any:
        return await self.enqueuer.enqueue(await self.row(steps, **more))


@pytest.fixture
async def door(room: EngineRoom) -> AsyncIterator[Door]:
    made = Door(room)
    yield made
    await made.enqueuer.close()


def offering(epoch: int, me: int = 77, places: int = 5) -> tuple[list[Any], Any]:
    """A worker that is not there, and what it was told."""
    told: list[Any] = []
    return told, lambda wanted: Offer(me, epoch, min(wanted, places), told.append)


async def test_it_runs_at_once_without_a_claim(room: EngineRoom, door: Door):
    worker = await door.worker()

    outcome = await door.accept(timeout_seconds=60)

    assert outcome.born
    assert await room.finished(outcome.id) is ExecutionStatus.COMPLETED
    row = await room.row(outcome.id)
    assert (row["epoch"], row["started_at"]) == (1, row["created_at"])
    assert row["deadline"] == row["created_at"] + timedelta(seconds=60)
    assert (await room.events(outcome.id))[:3] == [
        "execution_queued",
        "execution_started",
        "step_started",
    ]
    assert await room.queue.depth(0) == 0
    assert worker.executions == 0


async def test_without_a_worker_of_its_own_it_is_queued(room: EngineRoom, door: Door):
    outcome = await door.accept()

    assert not outcome.born
    assert (await room.row(outcome.id))["status"] == ExecutionStatus.QUEUED


async def test_what_waits_is_never_overtaken(room: EngineRoom, door: Door):
    await door.worker()
    waiting = await room.enqueue(await room.publish(NOOP), hint=False)

    outcome = await door.accept()

    assert not outcome.born
    rows = [await room.row(one) for one in (waiting, outcome.id)]
    assert [row["owner"] for row in rows] == [None, None]


async def test_a_suspect_that_waits_to_be_run_alone_is_no_backlog(room: EngineRoom, door: Door):
    await door.worker()
    suspect = await room.enqueue(await room.publish(NOOP), hint=False)
    await room.sql.execute("update workflow_executions set takeovers = 2 where id = $1", suspect)

    assert (await door.accept()).born


async def test_what_may_start_later_is_not_born(room: EngineRoom, door: Door):
    await door.worker()

    outcome = await door.accept(wake_at=make.now() + timedelta(hours=1))

    assert not outcome.born
    assert (await room.row(outcome.id))["status"] == ExecutionStatus.WAITING


async def test_what_has_a_concurrency_key_waits_for_its_place_and_is_not_born(
    room: EngineRoom, door: Door
):
    offered, offer = offering(1)
    await room.store.register(0, 77, "test:77", 60.0)
    door.births.join(0, offer)
    lane = {"concurrency": {"key": "k", "limit": 1, "on_conflict": "queue"}}
    row = await door.row()
    row = row._replace(meta=json.dumps({**json.loads(row.meta), **lane}, separators=(",", ":")))

    outcome = await door.enqueuer.enqueue(row)

    found = await room.row(outcome.id)
    assert (outcome.born, found["status"], found["wait"], found["lane"], found["in_lane"]) == (
        False,
        3,
        6,
        "k",
        False,
    )
    assert offered == []


async def test_a_known_key_is_not_born_again(room: EngineRoom, door: Door):
    await door.worker()
    row = await door.row(HELD, key="k")
    again = row._replace(id=make.new_id())

    outcomes = await door.enqueuer.enqueue_many([row, again])

    assert [(o.id, o.fresh, o.born) for o in outcomes if not isinstance(o, Exception)] == [
        (row.id, True, True),
        (row.id, False, False),
    ]
    CALLS.gates["m"].set()
    assert await room.finished(row.id) is ExecutionStatus.COMPLETED


async def test_no_more_are_born_than_there_are_places(room: EngineRoom, door: Door):
    worker = await door.worker(max_executions=3)
    rows = [await door.row(HELD) for _ in range(5)]

    outcomes = await door.enqueuer.enqueue_many(rows)

    assert [o.born for o in outcomes if not isinstance(o, Exception)] == [True] * 3 + [False] * 2
    await worker.signals.wait(signals.CLAIMED, 3)
    assert worker.offer(1) is None
    CALLS.gates["m"].set()
    for row in rows[:3]:
        assert await room.finished(row.id) is ExecutionStatus.COMPLETED
    assert worker.offer(1) is not None


async def test_a_worker_fenced_between_offer_and_insert_owns_nothing(room: EngineRoom, door: Door):
    epoch = await room.store.register(0, 77, "gone", 60.0)
    told, offer = offering(epoch)
    door.births.join(0, offer)
    await room.store.leave(0, 77, epoch)

    outcome = await door.accept()

    assert not outcome.born
    assert told == [[]]
    row = await room.row(outcome.id)
    assert (row["status"], row["owner"]) == (ExecutionStatus.QUEUED, None)


async def test_a_crash_after_the_commit_and_before_the_start_is_taken_over(
    room: EngineRoom, door: Door
):
    epoch = await room.store.register(0, 77, "gone", 60.0)
    told, offer = offering(epoch)
    door.births.join(0, offer)
    outcome = await door.accept()
    assert [one.id for one in told[0]] == [outcome.id]

    await room.expire("gone")
    room.worker()

    assert await room.finished(outcome.id) is ExecutionStatus.COMPLETED
    assert (await room.row(outcome.id))["epoch"] == 2
    assert "execution_taken_over" in await room.events(outcome.id)


@pytest.mark.interpreted
async def test_an_acceptance_of_unknown_outcome_ends_the_seat_and_what_was_born_is_taken_over(
    room: EngineRoom, door: Door, monkeypatch
):
    worker = await door.worker()
    row = await door.row()
    connected, lost = door.enqueuer._connected, asyncio.Event()

    async def losing() -> Any:
        connection = await connected()
        if not lost.is_set():
            return _Deaf(connection, lost)
        return connection

    monkeypatch.setattr(door.enqueuer, "_connected", losing)

    with pytest.raises(Unavailable):
        await door.enqueuer.enqueue(row)

    assert await room.finished(row.id) is ExecutionStatus.COMPLETED
    await worker.signals.wait(signals.REGISTERED, 2)
    assert (await room.row(row.id))["epoch"] == 2


class _Deaf:
    """A connection whose answer never arrives, although the server has committed."""

    def __init__(self, connection: Any, lost: asyncio.Event) -> None:
        self._connection = connection
        self._lost = lost

    async def fetch(self, *arguments: Any, **more: Any) -> Any:
        await self._connection.fetch(*arguments, **more)
        self._lost.set()
        raise ConnectionResetError

    def is_closed(self) -> bool:
        return True


async def test_a_refused_batch_leaves_the_seat_alone(room: EngineRoom, door: Door):
    worker = await door.worker()
    bad, good = await door.row(), await door.row()
    bad = bad._replace(input='"\\u0000"')

    outcomes = await door.enqueuer.enqueue_many([bad, good])

    assert isinstance(outcomes[0], Exception)
    assert not isinstance(outcomes[1], Exception)
    assert await room.finished(good.id) is ExecutionStatus.COMPLETED
    assert worker.signals.counts[signals.REGISTERED] == 1


async def test_a_worker_that_drains_offers_nothing(room: EngineRoom, door: Door):
    worker = await door.worker()
    execution = (await door.accept(HELD)).id
    await CALLS.begun["m"].wait()

    stopping = asyncio.create_task(worker.stop(5.0))
    await asyncio.sleep(0)

    assert worker.offer(1) is None
    assert not (await door.accept()).born
    CALLS.gates["m"].set()
    await stopping
    assert (await room.row(execution))["status"] in {
        ExecutionStatus.RUNNING,
        ExecutionStatus.COMPLETED,
    }


async def test_what_it_reads_is_what_a_takeover_would_read(room: EngineRoom, door: Door):
    await door.worker()
    version = await room.publish(
        [{"id": "a", "uses": "probe.echo@1", "with": {"given": "{{ params }}"}}],
        params={"bb": {"type": "number"}, "a": {"type": "number"}},
    )
    row = make.enqueue_row(
        tenant=TENANT, workflow=version, version=version, input={"bb": 1.0e20, "a": -0.0}
    )

    assert (await door.enqueuer.enqueue(row)).born

    await room.finished(row.id)
    (result,) = await room.results(row.id)
    stored = json.loads((await room.row(row.id))["input"])
    assert json.dumps(result["output"]["given"]) == json.dumps(stored)


def test_newborns_carry_what_a_claim_would_hand_over():
    row = make.enqueue_row(timeout_seconds=5.0)

    born = row.born(make.now())

    assert isinstance(born, Newborn)
    assert (born.id, born.version_id, born.input, born.timeout_seconds) == (
        row.id,
        row.version_id,
        row.input,
        5.0,
    )
    assert isinstance(born.id, UUID)
