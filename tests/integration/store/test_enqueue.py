"""Durable acceptance: one commit for many, keys that keep their word, refusals that stay alone."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from runtime.model.errors import Invalid, Unavailable
from runtime.model.execution import ExecutionStatus, WaitKind
from runtime.model.ids import make_uuid7
from runtime.store.enqueue import Enqueuer
from runtime.store.faults import ShardClosed
from tests import make


async def test_accepted_row_has_its_first_event_and_labels(room):
    (execution,) = await room.queue(labels={"team": "a"}, priority=5)

    row = await room.row(execution)
    event = await room.sql.fetchrow(
        "select seq, kind from execution_events where execution_id = $1", execution
    )
    label = await room.sql.fetchrow(
        "select key, value from execution_labels where execution_id = $1", execution
    )

    assert (row["status"], row["priority"], row["owner"]) == (ExecutionStatus.QUEUED, 5, None)
    assert tuple(event) == (1, 1)
    assert tuple(label) == ("team", "a")


async def test_many_at_once_share_commits(room):
    before = room.metrics.registry.get_sample_value("maestro_enqueue_batch_size_count")

    await room.queue(500)

    batches = room.metrics.registry.get_sample_value("maestro_enqueue_batch_size_count") - before
    assert await room.count("workflow_executions") == 500
    assert batches <= 5


async def test_run_at_parks_until_then(room):
    at = make.now() + timedelta(hours=1)

    (execution,) = await room.queue(wake_at=at, timeout_seconds=60)

    row = await room.row(execution)
    assert (row["status"], row["wait"], row["wake_at"]) == (
        ExecutionStatus.WAITING,
        WaitKind.TIMER,
        at,
    )
    assert row["deadline"] == at + timedelta(seconds=60)


async def test_deadline_counts_from_acceptance(room):
    (execution,) = await room.queue(timeout_seconds=90)

    row = await room.row(execution)

    assert row["deadline"] == row["created_at"] + timedelta(seconds=90)


@pytest.mark.parametrize(("digest", "same"), [(b"one", True), (b"two", False)])
async def test_a_key_gives_the_first_answer_again(room, digest, same):
    first = await room.enqueuer.enqueue(make.enqueue_row(key="k", digest=b"one"))

    second = await room.enqueuer.enqueue(make.enqueue_row(key="k", digest=digest))

    assert first.fresh
    assert (second.id, second.fresh, second.same) == (first.id, False, same)
    assert await room.count("workflow_executions") == 1


async def test_equal_keys_in_one_batch_make_one_execution(room):
    found = await room.enqueuer.enqueue_many([make.enqueue_row(key="k") for _ in range(20)])

    assert len({outcome.id for outcome in found}) == 1
    assert [outcome.fresh for outcome in found].count(True) == 1
    assert await room.count("workflow_executions") == 1


async def test_equal_keys_race_over_processes(room):
    others = [Enqueuer(room.database, 0, metrics=room.metrics) for _ in range(4)]
    keys = [f"key-{number}" for number in range(50)]

    found = await asyncio.gather(
        *(other.enqueue(make.enqueue_row(key=key)) for other in others for key in keys)
    )
    await asyncio.gather(*(other.close() for other in others))

    assert len({outcome.id for outcome in found}) == 50
    assert sum(outcome.fresh for outcome in found) == 50
    assert await room.count("workflow_executions") == 50


async def test_keys_belong_to_their_tenant(room):
    await room.enqueuer.enqueue(make.enqueue_row(key="k"))

    other = await room.enqueuer.enqueue(make.enqueue_row(key="k", tenant=make.OTHER_TENANT))

    assert other.fresh


async def test_closed_shard_takes_nothing(room):
    await room.sql.execute("update shards set open = false")

    with pytest.raises(ShardClosed):
        await room.enqueuer.enqueue(make.enqueue_row())

    assert await room.count("workflow_executions") == 0


async def test_one_bad_row_does_not_take_its_batch_along(room):
    rows = [make.enqueue_row(input="\x00" if number == 7 else number) for number in range(20)]

    found = await room.enqueuer.enqueue_many(rows)

    assert [number for number, answer in enumerate(found) if isinstance(answer, Invalid)] == [7]
    assert await room.count("workflow_executions") == 19


async def test_a_day_without_a_partition_gets_one(room):
    day = (make.now() + timedelta(days=5)).replace(hour=12)
    execution = make_uuid7(unix_ms=int(day.timestamp() * 1000), slot=0, noise=1)
    tables = ("workflow_executions", "step_executions", "execution_events", "step_logs")
    await room.sql.execute("drop table " + ", ".join(f"{table}_{day:%Y%m%d}" for table in tables))

    outcome = await room.enqueuer.enqueue(make.enqueue_row(id=execution))

    assert outcome.id == execution


async def test_a_cut_connection_is_nothing_but_unavailable_and_mended(room):
    await room.queue()
    await room.sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    with contextlib.suppress(Unavailable):
        await room.enqueuer.enqueue(make.enqueue_row())

    assert (await room.enqueuer.enqueue(make.enqueue_row())).fresh


async def test_closing_accepts_nothing_more(room):
    enqueuer = Enqueuer(room.database, 0, metrics=room.metrics)
    await enqueuer.close()

    with pytest.raises(Unavailable, match="shutting down"):
        await enqueuer.enqueue(make.enqueue_row())


async def test_a_caller_that_gives_up_leaves_the_others(room):
    leaver = asyncio.ensure_future(room.enqueuer.enqueue(make.enqueue_row()))
    stayer = asyncio.ensure_future(room.enqueuer.enqueue(make.enqueue_row()))
    await asyncio.sleep(0)

    leaver.cancel()

    assert (await stayer).fresh
