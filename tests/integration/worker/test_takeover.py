"""What is left of an execution when its worker is lost, stands still, or is told to stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from runtime.clock import SystemClock
from runtime.model.checkpoint import Checkpoint, EventRow, FlushOutcome, FlushResult
from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.store.execution import ExecutionStore
from runtime.store.flush import Flusher
from runtime.worker import incarnation, signals
from runtime.worker.keeper import Keeper
from runtime.worker.loop import _AGAIN_SECONDS, Worker
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.sessions import until_sessions_count
from tests.support.steps import CALLS

TWO = [
    {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}},
    {"id": "b", "uses": "probe.gate@1", "with": {"marker": "b", "value": 7}, "depends_on": ["a"]},
]


async def begun(room: EngineRoom, steps, marker):
    """An execution whose step `marker` is being called."""
    execution = await room.enqueue(await room.publish(steps))
    await asyncio.wait_for(CALLS.begun[marker].wait(), 10)
    CALLS.begun[marker].clear()
    return execution


async def test_another_worker_goes_on_where_the_lost_one_stood(room: EngineRoom):
    first = room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await begun(room, TWO, "b")
    second = room.worker()

    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)
    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.keys["a"] == [f"{execution}.s.0.g0"]
    assert CALLS.attempts["b"] == [1, 1]
    assert len(set(CALLS.keys["b"])) == 1
    assert "execution_taken_over" in await room.events(execution)
    assert first.executions <= 1


async def test_a_worker_that_was_taken_over_writes_nothing_and_begins_again(room: EngineRoom):
    first = room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await begun(room, TWO, "b")
    second = room.worker()
    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)

    CALLS.gates["b"].set()
    await first.signals.wait(signals.FENCED)
    await first.signals.wait(signals.REGISTERED, 2)

    await room.finished(execution)
    assert await room.steps(execution) == [
        (0, 0, 1, StepStatus.COMPLETED),
        (1, 0, 1, StepStatus.COMPLETED),
    ]
    assert (await room.events(execution)).count("step_completed") == 2


CUT = (
    "select pg_terminate_backend(l.pid) from pg_locks l join workers w "
    "on w.id = (l.classid::bigint << 32) | l.objid::bigint where l.locktype = 'advisory' and w.host = 'test:1'"
)


async def test_a_session_that_is_cut_is_replaced_at_once(room: EngineRoom):
    first = room.worker(beat_seconds=60.0, lease_seconds=600.0)
    await first.signals.wait(signals.BEAT)

    assert await room.sql.fetchval(CUT)

    await first.signals.wait(signals.BEAT, 2)
    assert first.signals.counts[signals.REGISTERED] == 1
    assert await room.sql.fetchval(CUT.replace("pg_terminate_backend(l.pid)", "count(*)")) == 1


async def test_who_has_lost_its_session_and_is_late_is_taken_over_before_its_lease_ends(
    room: EngineRoom, monkeypatch
):
    """Its loop stands still, so it does not notice."""
    await until_sessions_count(room.sql)
    monkeypatch.setattr(Keeper, "_cut", lambda _self, _connection: None)
    first = room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await begun(room, TWO, "b")
    await first.signals.wait(signals.BEAT)
    assert await room.sql.fetchval(CUT)
    await room.sql.execute(
        "update workers set late_at = now() - interval '1 s' where host = 'test:1'"
    )
    second = room.worker(beat_seconds=0.2)

    await second.signals.wait(signals.TAKEN_OVER)
    CALLS.gates["b"].set()
    await first.signals.wait(signals.FENCED)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (await room.events(execution)).count("step_completed") == 2


class Jumping(SystemClock):
    """A clock that goes on while the process stands still."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_who_stood_still_for_longer_than_its_lease_goes_on_when_nobody_took_over(
    room: EngineRoom,
):
    """A laptop that slept: the database decides, and what was under way is in no doubt."""
    room.clock = clock = Jumping()
    worker = room.worker()
    execution = await begun(room, TWO, "b")

    clock.ahead = 60.0
    await worker.signals.wait(signals.BEAT, worker.signals.counts[signals.BEAT] + 2)
    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert (worker.signals.counts[signals.REGISTERED], CALLS.attempts["b"]) == (1, [1])


async def test_of_two_that_stood_still_the_first_to_come_back_does_not_bury_the_other(
    room: EngineRoom,
):
    """Both their leases have run out, and both their processes live."""
    room.clock = clock = Jumping()
    workers = [room.worker(beat_seconds=0.2, max_executions=1) for _ in range(2)]
    executions = [await begun(room, TWO, "b") for _ in workers]
    assert [worker.executions for worker in workers] == [1, 1]

    clock.ahead = 60.0
    await room.sql.execute("update workers set lease_until = now() - interval '1 s'")
    for worker in workers:
        await worker.signals.wait(signals.BEAT, worker.signals.counts[signals.BEAT] + 2)
    CALLS.gates["b"].set()

    for execution in executions:
        assert await room.finished(execution) is ExecutionStatus.COMPLETED
        assert "execution_taken_over" not in await room.events(execution)
    assert [worker.signals.counts[signals.REGISTERED] for worker in workers] == [1, 1]


async def test_who_got_no_answer_asks_no_more_when_its_lease_is_over(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    """It was awake and knows that it was cut off: another beat would only keep it going past its lease."""
    room.clock = clock = Jumping()
    worker = room.worker()
    await worker.signals.wait(signals.BEAT)
    beat, asked = ExecutionStore.beat, list[int]()

    async def away(
        self: ExecutionStore, connection: Any, shard: int, me: int, *more: Any, **kw: Any
    ):
        asked.append(me)
        if me == asked[0]:
            # The lease runs out behind this answer.
            asyncio.get_running_loop().call_soon(setattr, clock, "ahead", 60.0)
            raise Unavailable("away")
        return await beat(self, connection, shard, me, *more, **kw)

    monkeypatch.setattr(ExecutionStore, "beat", away)
    await worker.signals.wait(signals.REGISTERED, 2)

    assert asked.count(asked[0]) == 1


async def test_the_heartbeat_notices_the_fence_and_stops_the_calls(room: EngineRoom):
    first = room.worker(beat_seconds=0.05)
    await begun(room, TWO, "b")
    context = CALLS.contexts["b"]

    await room.sql.execute("update workers set epoch = epoch + 1, dead = true")
    await first.signals.wait(signals.FENCED)

    await asyncio.wait_for(context.cancel.wait(), 5)
    await first.signals.wait(signals.REGISTERED, 2)


async def test_after_an_outage_the_others_may_come_back_before_they_count_as_lost(room: EngineRoom):
    """Nobody could renew a lease; who is back first does not bury those who are alive and come next."""
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await begun(room, TWO, "b")
    second = room.worker()
    await second.signals.wait(signals.BEAT)
    beats = second.signals.counts[signals.BEAT]

    await room.sql.execute(
        "update workers set lease_until = now() - interval '1 second', dead = (host = 'test:2'), "
        "epoch = epoch + (host = 'test:2')::int"
    )
    await second.signals.wait(signals.REGISTERED, 2)
    await second.signals.wait(signals.BEAT, beats + 3)

    is_dead = await room.sql.fetchval("select dead from workers where host = 'test:1'")
    assert is_dead is False
    await room.workers[0][0].stop(0.0)
    await second.signals.wait(signals.TAKEN_OVER)
    assert (await room.row(execution))["takeovers"] == 0
    CALLS.gates["b"].set()
    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_poll_without_a_second_worker_recovers_its_own_past(room: EngineRoom):
    worker = room.worker(beat_seconds=0.05)
    execution = await begun(room, TWO, "b")
    await room.sql.execute("update workers set epoch = epoch + 1, dead = true")
    await worker.signals.wait(signals.TAKEN_OVER)

    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_an_at_most_once_call_is_not_made_again_after_a_takeover(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    step = {"id": "a", "uses": "probe.once@1", "with": {"marker": "a"}}
    execution = await begun(room, [step], "a")
    row = await room.sql.fetchrow("select status, finished_at::text from step_executions")
    assert tuple(row) == (StepStatus.RUNNING, "infinity")

    room.worker()
    await room.expire("test:1")

    assert await room.finished(execution) is ExecutionStatus.FAILED
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.IN_DOUBT)]
    assert "step_in_doubt" in await room.events(execution)
    assert json.loads((await room.row(execution))["error"])["type"] == "in_doubt"
    assert CALLS.attempts["a"] == [1]


async def test_an_at_most_once_call_completes_its_intent_row(room: EngineRoom):
    room.worker()
    step = {"id": "a", "uses": "probe.once@1", "with": {"marker": "a", "value": 5}}
    CALLS.gates["a"].set()

    execution = await room.run([step])

    assert await room.steps(execution) == [(0, 0, 1, StepStatus.COMPLETED)]
    assert (await room.results(execution))[0]["output"] == 5
    assert await room.sql.fetchval("select finished_at < now() from step_executions")


async def test_an_in_doubt_step_runs_again_only_when_a_person_retries(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    step = {"id": "a", "uses": "probe.once@1", "with": {"marker": "a"}}
    execution = await begun(room, [step], "a")
    room.worker()
    await room.expire("test:1")
    await room.finished(execution)

    CALLS.gates["a"].set()
    await room.retry(execution)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.keys["a"] == [f"{execution}.s.0.g0", f"{execution}.s.0.g1"]


async def test_draining_lets_calls_end_and_hands_the_rest_over_at_once(room: EngineRoom):
    first = room.worker()
    steps = [*TWO, {"id": "c", "uses": "probe.echo@1", "with": {}, "depends_on": ["b"]}]
    execution = await begun(room, steps, "b")

    stopping = asyncio.create_task(first.stop(10.0))
    CALLS.gates["b"].set()
    await stopping
    assert [row[3] for row in await room.steps(execution)] == [StepStatus.COMPLETED] * 2
    assert "c" not in CALLS.keys
    second = room.worker()
    await second.signals.wait(signals.TAKEN_OVER)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_draining_does_not_wait_longer_than_it_may(room: EngineRoom):
    first = room.worker()
    execution = await begun(room, TWO, "b")

    await asyncio.wait_for(first.stop(0.05), 5)

    assert (await room.row(execution))["status"] == ExecutionStatus.RUNNING
    CALLS.gates["b"].set()
    room.worker()
    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_who_stops_a_worker_twice_waits_for_one_end(room: EngineRoom, monkeypatch):
    monkeypatch.setattr(incarnation, "STATEMENT_SECONDS", 60.0)
    worker = room.worker()
    await begun(room, TWO, "b")

    both = asyncio.gather(worker.stop(10.0), worker.stop(0.0))
    CALLS.gates["b"].set()

    await asyncio.wait_for(both, 30)


async def test_a_stop_that_is_given_up_leaves_nobody_waiting(room: EngineRoom):
    worker = room.worker()
    await begun(room, TWO, "b")
    first = asyncio.create_task(worker.stop(60.0))
    await asyncio.sleep(0)

    first.cancel()

    await asyncio.wait_for(worker.stop(0.0), 30)
    CALLS.gates["b"].set()


async def test_a_lease_that_runs_short_begins_no_call(room: EngineRoom):
    worker = room.worker(lease_seconds=4.0, lease_margin_seconds=5.0)
    execution = await room.enqueue(
        await room.publish([TWO[0] | {"id": "x"}, TWO[1] | {"depends_on": []}])
    )
    await worker.signals.wait(signals.CHECKPOINTED)

    await worker.signals.wait(signals.BEAT, worker.signals.counts[signals.BEAT] + 1)

    assert CALLS.keys["x"] == [f"{execution}.s.0.g0"]
    assert "b" not in CALLS.keys


async def test_a_worker_that_never_comes_to_live_waits_longer_each_time(
    room: EngineRoom, monkeypatch
):
    """As one of the next release on a schema that has not been migrated yet."""
    waited: list[float] = []
    enough = asyncio.Event()

    async def pause(self: Worker, seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            enough.set()
            await self._stopping.wait()

    async def beat(*_arguments: Any, **_more: Any) -> Any:
        raise asyncpg.UndefinedFunctionError("function mc_beat_9 does not exist")

    monkeypatch.setattr(Worker, "_pause", pause)
    monkeypatch.setattr(ExecutionStore, "beat", beat)
    worker = room.worker()

    async with asyncio.timeout(20):
        await enough.wait()

    assert waited == list(_AGAIN_SECONDS[:3])
    assert worker.signals.counts[signals.REGISTERED] == 3


async def test_the_queue_is_served_when_redis_is_emptied(room: EngineRoom):
    version = await room.publish(TWO[:1])
    await room.enqueue(version)
    await room.link.client.flushdb()
    room.worker(beat_seconds=0.2)

    last = await room.enqueue(version)
    await room.finished(last)

    executions = await room.sql.fetch("select id from workflow_executions")
    for row in executions:
        assert await room.finished(row["id"]) is ExecutionStatus.COMPLETED


async def test_emptying_redis_while_running_changes_nothing(room: EngineRoom):
    room.worker(beat_seconds=0.2)
    execution = await begun(room, TWO, "b")

    await room.link.client.flushdb()
    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_lost_writer_connection_is_never_repeated_but_loaded_again(room: EngineRoom):
    worker = room.worker(beat_seconds=0.2, lease_seconds=1.0, lease_margin_seconds=0.3)
    execution = await begun(room, TWO, "b")
    await room.sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where pid <> pg_backend_pid() and datname = current_database() and usename = current_user"
    )

    CALLS.gates["b"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await room.steps(execution) == [
        (0, 0, 1, StepStatus.COMPLETED),
        (1, 0, 1, StepStatus.COMPLETED),
    ]
    assert worker.signals.counts[signals.REGISTERED] >= 2


@asynccontextmanager
async def slow_flush(room: EngineRoom, *, lock: str) -> AsyncIterator[None]:
    """mc_flush that stands still behind its fence until the block lets it go, with or without the fence's lock."""
    original = await room.sql.fetchval("select pg_get_functiondef('mc_flush_2'::regproc)")
    fence, end = " for key share;", "end if;"
    assert original.count(fence) == 1
    slow = original.replace(fence, f" {lock};")
    slow = slow.replace(end, f"{end} perform pg_advisory_xact_lock(42);", 1)
    await room.sql.execute(slow)
    await room.sql.execute("select pg_advisory_lock(42)")
    try:
        yield
    finally:
        await room.sql.execute("select pg_advisory_unlock_all()")
        await room.sql.execute(original)


async def flush_against_takeover(room: EngineRoom, *, lock: str) -> tuple[FlushOutcome, int]:
    """A takeover that begins while a flush of the old owner is under way: what came of both."""
    execution = await room.enqueue(await room.publish(TWO), hint=False)
    old = await room.store.register(0, 11, "old", 4.0)
    await room.store.claim(0, 11, old, [execution])
    flusher = Flusher(room.database, 0, 11, old, metrics=room.metrics)
    answers: list[FlushResult] = []
    async with slow_flush(room, lock=lock):
        # The takeover numbers an event of its own; this one is not to be told apart by its number.
        row = EventRow(TENANT, execution, 3, 2, "{}")
        flusher.submit(Checkpoint(execution, events=(row,)), answers.append)
        await _blocked(room, "advisory")
        await room.expire("old")
        new = await room.store.register(0, 12, "new", 4.0)
        await room.store.bury(0, 12)
        taken = await room.store.takeover(0, 12, new, 10)
        await room.sql.execute("select pg_advisory_unlock(42)")
        await flusher.close()
    return answers[0].outcome, taken.total


async def test_a_takeover_passes_by_an_owner_whose_flush_is_under_way(room: EngineRoom):
    assert await flush_against_takeover(room, lock="for key share") == (FlushOutcome.COMMITTED, 0)


async def test_without_the_fences_lock_an_old_owner_writes_after_the_takeover(room: EngineRoom):
    """The control: the same schedule without the lock breaks the promise, so the test above can fail."""
    assert await flush_against_takeover(room, lock="") == (FlushOutcome.COMMITTED, 1)


async def test_leaving_waits_for_a_flush_that_is_under_way(room: EngineRoom):
    epoch = await room.store.register(0, 11, "old", 4.0)
    flusher = Flusher(room.database, 0, 11, epoch, metrics=room.metrics)
    answers: list[FlushResult] = []
    async with slow_flush(room, lock="for key share"):
        flusher.submit(Checkpoint(TENANT), answers.append)
        await _blocked(room, "advisory")
        leaving = asyncio.create_task(room.store.leave(0, 11, epoch))
        await _blocked(room, "transactionid")
        assert not leaving.done()
        await room.sql.execute("select pg_advisory_unlock(42)")
        await leaving
        await flusher.close()

    assert answers[0].outcome is FlushOutcome.COMMITTED


async def _blocked(room: EngineRoom, kind: str) -> None:
    """Return when some statement waits for a lock of this kind."""
    async with asyncio.timeout(10):
        while not await room.sql.fetchval(
            "select count(*) from pg_locks where locktype = $1 and not granted", kind
        ):
            await asyncio.sleep(0.01)


async def test_hints_that_a_lost_worker_reads_are_for_whoever_may_claim(room: EngineRoom):
    """It does not know yet that it was taken for lost; no heartbeat, scan or scheduler is near to find what it read."""
    lost = room.worker(beat_seconds=60.0, lease_seconds=600.0)
    await lost.signals.wait(signals.BEAT)
    await room.expire("test:1")
    await room.store.bury(0, 12)
    version = await room.publish([{"id": "a", "uses": "probe.echo@1", "with": {"n": 1}}])

    execution = await room.enqueue(version)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert lost.signals.counts[signals.REGISTERED] == 2
    await room.link.drained()
    assert await room.queue.depth(0) == 0


async def test_a_flush_after_the_takeover_is_fenced(room: EngineRoom):
    execution = await room.enqueue(await room.publish(TWO), hint=False)
    epoch = await room.store.register(0, 11, "old", 4.0)
    await room.store.claim(0, 11, epoch, [execution])
    await room.expire("old")
    await room.store.bury(0, 12)
    flusher = Flusher(room.database, 0, 11, epoch, metrics=room.metrics)
    answers: list[FlushResult] = []

    row = EventRow(TENANT, execution, 2, 2, "{}")
    flusher.submit(Checkpoint(execution, events=(row,)), answers.append)
    await flusher.close()

    assert [answer.outcome for answer in answers] == [FlushOutcome.FENCED]
    assert await room.events(execution) == ["execution_queued"]


@pytest.mark.parametrize("workers", [2, 3])
async def test_several_workers_share_the_queue_and_run_each_execution_once(
    room: EngineRoom, workers: int
):
    version = await room.publish([{"id": "a", "uses": "probe.echo@1", "with": {"n": 1}}])
    for _ in range(workers):
        room.worker()

    executions = [await room.enqueue(version) for _ in range(40)]

    for execution in executions:
        assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert sorted(CALLS.keys["a"]) == sorted(f"{execution}.s.0.g0" for execution in executions)
