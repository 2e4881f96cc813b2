"""I10: what is parked costs a worker nothing, however much it is; what is due is woken as there is room."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from runtime.model.checkpoint import OwnedExecution
from runtime.model.execution import ExecutionStatus
from runtime.store.execution import ExecutionStore
from runtime.worker import duties, executor, signals
from runtime.worker.admission import Admission
from runtime.worker.executor import Executor
from runtime.worker.loop import Worker
from runtime.worker.run import Run
from tests.integration.worker.test_takeover import Jumping
from tests.integration.worker.test_waits import is_parked, wait
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

DUE, ROOM = 300, 40


def left_behind(version: UUID) -> list[object]:
    """Runs of this version, and timers of this loop that would tell one something."""
    gc.collect()
    found = [one for one in gc.get_objects() if isinstance(one, Run)]
    runs: list[object] = [one for one in found if one.owned.version_id == version]
    timers: Any = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # asyncio's own
    mine = [t for t in timers if not t.cancelled() and "Executor" in repr(t)]
    return runs + mine


async def test_what_was_parked_leaves_no_object_behind(room: EngineRoom):
    worker = room.worker()
    steps = [wait("bell", signal="go", timeout="3h"), wait("nap", **{"for": "2h"})]
    version = await room.publish(steps)
    ids = [await room.enqueue(version, timeout_seconds=36_000.0) for _ in range(30)]

    for one in ids:
        await room.reached(one, is_parked)
    await worker.signals.wait(signals.PARKED, 30)

    assert worker.executions == 0
    assert left_behind(version) == []


@pytest.mark.parametrize("many", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
async def test_a_hundred_thousand_parked_cost_nothing_and_wake_as_there_is_room(
    room: EngineRoom, many: int
):
    version = await room.publish([{"id": "a", "uses": "core.noop@1"}])
    pattern = await parked(room, version, many)
    worker = room.worker(max_executions=ROOM, beat_seconds=0.05)
    await room.finished(pattern)
    beats = worker.signals.counts[signals.BEAT]
    await worker.signals.wait(signals.BEAT, beats + 10)
    assert worker.executions == 0
    assert left_behind(version) == []

    # Beside the counting: while one count waits for a busy PostgreSQL, all of them may come and go.
    seen: set[int] = set()
    watching = asyncio.create_task(watch(worker, seen))
    await make_due(room, DUE)
    async with asyncio.timeout(30):
        while await _count(room, ExecutionStatus.COMPLETED) < DUE + 1:
            await asyncio.sleep(0)
    watching.cancel()

    assert 0 < max(seen) <= ROOM
    assert await _count(room, ExecutionStatus.WAITING) == many - DUE
    assert left_behind(version) == []


async def test_what_is_due_goes_on_as_room_is_made_and_waits_for_no_beat(room: EngineRoom):
    version = await room.publish([{"id": "a", "uses": "core.noop@1"}])
    await parked(room, version, DUE)
    await make_due(room, DUE)

    worker = room.worker(max_executions=ROOM, beat_seconds=600.0, lease_seconds=3_600.0)

    await worker.signals.wait(signals.CLOSED, DUE)


async def test_what_is_due_before_the_next_beat_is_woken_when_it_is_due(room: EngineRoom):
    """A beat tells when the first one is, and whoever was woken for it asks when the next one is."""
    version = await room.publish([{"id": "a", "uses": "core.noop@1"}])
    await parked(room, version, 3)
    planned = await room.sql.fetch(
        "update workflow_executions e set wake_at = now() + make_interval(secs => 1 + 0.5 * x.n)"
        " from (select id, row_number() over (order by id) n from workflow_executions where status = 3) x"
        " where x.id = e.id returning e.id, e.wake_at"
    )

    worker = room.worker(beat_seconds=600.0, lease_seconds=3_600.0)

    await worker.signals.wait(signals.CLOSED, 3, timeout=30)
    rows = await room.sql.fetch("select id, started_at from workflow_executions")
    begun = {row["id"]: row["started_at"] for row in rows}
    assert all(begun[row["id"]] >= row["wake_at"] for row in planned)
    assert worker.signals.counts[signals.BEAT] == 1


@pytest.mark.interpreted
async def test_what_begins_in_a_crowd_is_written_when_its_step_was_and_with_one_checkpoint(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """A turn has an end: of those that were admitted together some begin in a later one."""
    monkeypatch.setattr(executor, "TURN_SECONDS", 0.0)
    version = await room.publish([{"id": "a", "uses": "core.noop@1"}])
    pattern = await parked(room, version, DUE)
    worker = room.worker(beat_seconds=0.05)
    await room.finished(pattern)
    await worker.signals.wait(signals.CLOSED)
    before = worker.signals.counts[signals.CHECKPOINTED]

    await make_due(room, DUE)
    await worker.signals.wait(signals.CLOSED, 1 + DUE, timeout=30)

    assert worker.signals.counts[signals.CHECKPOINTED] - before == DUE


@pytest.mark.interpreted
async def test_what_was_dropped_before_its_turn_writes_nothing(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """Nothing that a run has recorded goes out once another worker may have its execution."""
    begun: list[Run] = []
    add = executor.Executor.add

    def adding(self: Executor, run: Run) -> None:
        add(self, run)
        begun.append(run)
        asyncio.get_running_loop().call_soon(self.forget, run)

    monkeypatch.setattr(executor.Executor, "add", adding)
    version = await room.publish([{"id": "a", "uses": "core.noop@1"}])
    execution = await room.enqueue(version)
    worker = room.worker()

    await worker.signals.wait(signals.CLAIMED)
    await worker.signals.wait(signals.BEAT, worker.signals.counts[signals.BEAT] + 2)

    assert [run.is_over for run in begun] == [True]
    assert worker.signals.counts[signals.CHECKPOINTED] == 0
    assert [
        row["kind"]
        for row in await room.sql.fetch(
            "select kind from execution_events where execution_id = $1", execution
        )
    ] == [1]


async def watch(worker: Worker, seen: set[int]) -> None:
    """How many executions the worker has, at each turn of the loop."""
    while True:
        seen.add(worker.executions)
        await asyncio.sleep(0)


class Watched:
    """What a worker asks for and begins, in order; `during` is called when something is about to begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, int]] = []
        self.during: Callable[[Admission], None] = lambda _: None
        due, admit = ExecutionStore.due, Admission.admit

        async def asking(store: ExecutionStore, *seat: int) -> list[OwnedExecution]:
            self.seen.append(("asked", seat[-1]))
            return await due(store, *seat)

        async def admitting(
            admission: Admission, owned: Sequence[OwnedExecution], at: float | None = None
        ) -> None:
            self.seen.append(("begun", len(owned)))
            self.during(admission)
            await admit(admission, owned, at)

        monkeypatch.setattr(ExecutionStore, "due", asking)
        monkeypatch.setattr(Admission, "admit", admitting)
        monkeypatch.setattr(duties, "CHUNK", 10)


async def due(room: EngineRoom, uses: str, many: int) -> None:
    version = await room.publish([{"id": "a", "uses": uses, "with": {"marker": "a"}}])
    await parked(room, version, many)
    await make_due(room, many)


@pytest.mark.interpreted
async def test_the_next_ones_are_asked_for_while_the_last_ones_begin(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    watched = Watched(monkeypatch)
    await due(room, "probe.gate@1", 25)

    worker = room.worker(beat_seconds=600.0, lease_seconds=3_600.0)
    await worker.signals.wait(signals.CLAIMED, 25)

    asked, begun = ("asked", 10), ("begun", 10)
    assert watched.seen == [asked, asked, begun, asked, begun, ("begun", 5)]
    CALLS.gates["a"].set()
    await worker.signals.wait(signals.CLOSED, 25)
    assert len(CALLS.keys["a"]) == len(set(CALLS.keys["a"])) == 25


@pytest.mark.interpreted
async def test_no_more_are_asked_for_ahead_than_there_is_room_for(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """What is about to begin has its places, and so has what is asked for: births get none of them."""
    watched = Watched(monkeypatch)
    offered: list[object] = []
    watched.during = lambda _: offered.append(worker.offer(100))
    await due(room, "probe.gate@1", 25)

    worker = room.worker(max_executions=15, beat_seconds=600.0, lease_seconds=3_600.0)
    await worker.signals.wait(signals.CLAIMED, 15)

    assert watched.seen == [("asked", 10), ("asked", 5), ("begun", 10), ("begun", 5)]
    assert offered == [None, None]
    CALLS.gates["a"].set()
    await worker.signals.wait(signals.CLOSED, 25)


@pytest.mark.interpreted
async def test_nothing_is_asked_for_ahead_when_the_memory_is_half_full(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    watched = Watched(monkeypatch)

    def heavy(admission: Admission) -> None:
        admission._executor.weight = room.settings.resident_bytes // 2 + 1

    watched.during = heavy
    await due(room, "probe.gate@1", 25)

    worker = room.worker(beat_seconds=600.0, lease_seconds=3_600.0)
    await worker.signals.wait(signals.CLAIMED, 25)

    asked, begun = ("asked", 10), ("begun", 10)
    assert watched.seen == [asked, asked, begun, begun, asked, ("begun", 5)]
    CALLS.gates["a"].set()


@pytest.mark.interpreted
async def test_the_time_of_what_is_handed_over_counts_from_then_on(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """A deadline does not move because its execution waited for others to begin."""
    room.clock = clock = Jumping()
    watched = Watched(monkeypatch)
    claimed: list[float] = []
    add = Executor.add

    def adding(executor: Executor, run: Run) -> None:
        claimed.append(run.claimed_at)
        add(executor, run)

    monkeypatch.setattr(Executor, "add", adding)
    before = clock.monotonic()
    watched.during = lambda _: setattr(clock, "ahead", 1_000.0)
    await due(room, "probe.gate@1", 5)

    worker = room.worker(beat_seconds=600.0, lease_seconds=3_600.0)
    await worker.signals.wait(signals.CLAIMED, 5)

    assert all(before < at < before + 500 for at in claimed)
    CALLS.gates["a"].set()


async def parked(room: EngineRoom, version: UUID, many: int) -> UUID:
    """So many executions that wait for tomorrow, beside one that does not; the id of that one."""
    pattern = await room.enqueue(version, hint=False)
    await room.sql.execute(
        "insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, meta, input) "
        "select (left(e.id::text, 24) || lpad(to_hex(g), 12, '0'))::uuid, e.shard, e.tenant_id, e.workflow_id, "
        "e.version_id, 3, 0, now() + interval '1 day', e.meta, e.input "
        "from workflow_executions e, generate_series(1, $2::int) g where e.id = $1",
        pattern, many,
    )  # fmt: skip
    return pattern


async def make_due(room: EngineRoom, many: int) -> None:
    """The time of so many has come."""
    await room.sql.execute(
        "update workflow_executions set wake_at = now() where id in "
        "(select id from workflow_executions where status = 3 limit $1)",
        many,
    )


async def _count(room: EngineRoom, status: ExecutionStatus) -> int:
    found: int = await room.sql.fetchval(
        "select count(*) from workflow_executions where status = $1", int(status)
    )
    return found
