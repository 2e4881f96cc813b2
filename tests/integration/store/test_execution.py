"""Claims, takeovers, timers, messages and retries: one owner at a time, and nothing lost between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runtime.model.checkpoint import Closing, InboxKind, InboxMessage
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from tests import make
from tests.support.sessions import until_sessions_count

HOUR = timedelta(hours=1)


async def _worker(room, me):
    return await room.store.register(0, me, f"host:{me}", 60.0)


async def _ended(room, status, me=1, **fields):
    """An execution that this worker has brought to an end."""
    epoch, (execution,) = await room.own(me, **fields)
    await room.flush(me, epoch, make.checkpoint(execution, closing=Closing(execution, int(status))))
    return execution


async def _send(room, execution, tenant=make.TENANT):
    async with room.database.engine() as connection, connection.transaction():
        sent = await room.store.send(
            0, tenant, execution, InboxKind.CANCEL, {"reason": "r"}, connection
        )
    return sent.status


async def _retry(room, execution, data=None):
    async with room.database.engine() as connection, connection.transaction():
        return await room.store.retry(0, make.TENANT, execution, data or {}, connection)


async def test_claim_hands_over_what_the_worker_needs(room):
    epoch = await _worker(room, 1)
    (execution,) = await room.queue(input={"a": [1]}, meta={"workflow": "w"}, timeout_seconds=100)

    (owned,) = await room.store.claim(0, 1, epoch, [execution])

    assert (owned.id, owned.tenant_id, owned.input, owned.epoch) == (
        execution,
        make.TENANT,
        {"a": [1]},
        1,
    )
    assert owned.meta["workflow"] == "w"
    assert 99 < owned.deadline_in_seconds <= 100
    assert owned.is_fresh
    assert (await room.row(execution))["owner"] == 1


async def test_two_claims_of_the_same_ids_share_them_out(room):
    one, two = await _worker(room, 1), await _worker(room, 2)
    ids = await room.queue(200)

    first, second = await asyncio.gather(
        room.store.claim(0, 1, one, ids), room.store.claim(0, 2, two, ids)
    )

    assert len(first) + len(second) == 200
    assert {owned.id for owned in first}.isdisjoint(owned.id for owned in second)


async def test_claim_leaves_the_parked_and_the_ended_alone(room):
    ended = await _ended(room, ExecutionStatus.COMPLETED)
    (parked,) = await room.queue(wake_at=make.now() + HOUR)
    epoch = await _worker(room, 2)

    assert await room.store.claim(0, 2, epoch, [ended, parked]) == []


async def test_due_timers_are_handed_out_once(room):
    one, two = await _worker(room, 1), await _worker(room, 2)
    ids = await room.queue(50, wake_at=make.now() - HOUR)

    found = await asyncio.gather(room.store.due(0, 1, one, 500), room.store.due(0, 2, two, 500))

    assert sorted(owned.id for owneds in found for owned in owneds) == sorted(ids)


async def test_due_with_nothing_due_is_empty(room):
    epoch = await _worker(room, 1)

    assert await room.store.due(0, 1, epoch, 10) == []


async def test_takeover_gives_the_work_of_the_dead_to_the_living(room):
    _, ids = await room.own(1, count=5)
    two = await _worker(room, 2)
    await room.expire(1)

    assert await room.store.bury(0, 2) == 1
    taken = [await room.store.takeover(0, 2, two, 3) for _ in range(2)]
    found = [owned for each in taken for owned in each.owned]

    assert sorted(owned.id for owned in found) == sorted(ids)
    assert {(owned.takeovers, owned.epoch) for owned in found} == {(1, 2)}
    assert (await room.store.takeover(0, 2, two, 3)).total == 0


async def test_a_checkpoint_clears_the_count_of_lost_owners(room):
    _, (execution,) = await room.own(1)
    two = await _worker(room, 2)
    await room.expire(1)
    await room.store.bury(0, 2)
    await room.store.takeover(0, 2, two, 10)

    await room.flush(2, two, make.checkpoint(execution, clears_takeovers=True))

    assert (await room.row(execution))["takeovers"] == 0


async def test_nobody_buries_the_living_or_himself(room):
    await _worker(room, 1)
    await _worker(room, 2)
    await room.expire(2)

    assert await room.store.bury(0, 2) == 0


async def _appeared(room, me: int, late_seconds: float):
    """A worker whose next heartbeat is late after so many seconds, and the connection by which it is seen to live."""
    epoch = await _worker(room, me)
    connection = await room.database.dedicated()
    await room.store.appear(connection, me)
    await room.store.beat(connection, 0, me, epoch, lease_seconds=60.0, late_seconds=late_seconds)
    return epoch, connection


async def _ended_session(room, connection, me: int) -> None:
    await connection.close()
    held = "select exists (select from pg_locks where locktype = 'advisory' and objid::bigint = $1)"
    async with asyncio.timeout(10):
        while await room.sql.fetchval(held, me):
            await asyncio.sleep(0.01)


async def test_who_is_late_is_lost_with_its_session(room):
    await until_sessions_count(room.sql)
    _, connection = await _appeared(room, 1, -1.0)

    with_session = await room.store.bury(0, 2)
    await _ended_session(room, connection, 1)

    assert (with_session, await room.store.bury(0, 2), await room.store.bury(0, 2)) == (0, 1, 0)


async def test_who_is_in_time_may_lose_a_session(room):
    await until_sessions_count(room.sql)
    _, connection = await _appeared(room, 1, 30.0)
    await _ended_session(room, connection, 1)

    assert await room.store.bury(0, 2) == 0


async def test_a_worker_of_the_release_before_is_missed_by_its_lease_alone(room):
    await until_sessions_count(room.sql)
    epoch = await _worker(room, 1)
    await room.sql.fetchval(
        "select live from mc_beat(0::smallint, 1, $1, interval '1 minute')", epoch
    )

    assert await room.store.bury(0, 2) == 0


async def test_heartbeat_tells_of_those_who_are_late(room):
    epoch, connection = await _appeared(room, 1, 30.0)
    _, late = await _appeared(room, 2, -1.0)

    answer = await room.store.beat(connection, 0, 1, epoch, lease_seconds=60.0, late_seconds=30.0)
    await connection.close()
    await late.close()

    assert answer.dead_workers == 1


async def test_who_comes_back_while_it_is_judged_is_not_buried(room):
    epoch, connection = await _appeared(room, 1, 30.0)

    buried = await room.sql.fetchval("select mc_bury_2(0::smallint, 2, '{1}')")
    await connection.close()

    assert (buried, epoch) == (0, 1)


async def test_leaving_lets_others_take_over_at_once(room):
    epoch, (execution,) = await room.own(1)
    two = await _worker(room, 2)

    left = await room.store.leave(0, 1, epoch)
    found = await room.store.takeover(0, 2, two, 10)

    assert left == 1
    assert [(owned.id, owned.takeovers) for owned in found.owned] == [(execution, 0)]


async def test_dead_workers_stay_until_nothing_refers_to_them(room):
    epoch, _ = await room.own(1)
    await room.store.leave(0, 1, epoch)

    kept = await room.store.sweep_workers(0)
    await room.store.takeover(0, 2, await _worker(room, 2), 10)
    swept = await room.store.sweep_workers(0)

    assert (kept, swept) == (0, 1)


async def test_heartbeat_tells_what_there_is_to_do(room):
    epoch, (execution,) = await room.own(1)
    await _worker(room, 2)
    await room.expire(2)
    await room.queue(wake_at=make.now() - HOUR)
    await room.queue()
    await _send(room, execution)
    connection = await room.database.dedicated()

    answer = await room.store.beat(connection, 0, 1, epoch, lease_seconds=4.0, late_seconds=1.5)
    await connection.close()

    assert (answer.live, answer.dead_workers, answer.due, answer.queued) == (True, 1, 1, 1)
    assert answer.inbox == (execution,)


async def test_heartbeat_does_not_look_at_the_messages_of_all(room):
    """What waits in the inboxes of paused executions would cost every worker every second, and in the end its lease."""
    epoch, (own,) = await room.own(1)
    await _send(room, own)
    paused = await room.queue(1_500)
    await room.sql.execute(
        "insert into execution_inbox (shard, n, execution_id, tenant_id, kind) "
        "select 0, 1, x, $2, 4 from unnest($1::uuid[]) x", paused, make.TENANT,
    )  # fmt: skip
    looked = "select sum(idx_tup_fetch) from pg_stat_xact_user_tables where relname ~ '^(execution_inbox|workflow_ex)'"

    async with room.database.engine() as connection, connection.transaction():
        before = await connection.fetchval(looked)
        answer = await room.store.beat(connection, 0, 1, epoch, lease_seconds=4.0, late_seconds=1.5)
        after = await connection.fetchval(looked)

    assert answer.inbox == (own,)
    assert after - (before or 0) < 600


async def test_heartbeat_of_the_buried_is_refused(room):
    epoch = await _worker(room, 1)
    await room.expire(1)
    await room.store.bury(0, 2)
    connection = await room.database.dedicated()

    answer = await room.store.beat(connection, 0, 1, epoch, lease_seconds=4.0, late_seconds=1.5)
    await connection.close()

    assert not answer.live


async def test_heartbeat_passes_a_flush_that_holds_the_fence(room):
    epoch = await _worker(room, 1)
    connection = await room.database.dedicated()

    async with room.sql.transaction():
        await room.sql.fetchval("select 1 from workers where id = 1 for key share")
        async with asyncio.timeout(2):
            answer = await room.store.beat(
                connection, 0, 1, epoch, lease_seconds=4.0, late_seconds=1.5
            )
    await connection.close()

    assert answer.live


MARKS = [
    (EventKind.EXECUTION_STARTED, None),
    (EventKind.EXECUTION_CANCEL_REQUESTED, {"reason": "r"}),
    (EventKind.EXECUTION_DEADLINE_REACHED, None),
]


async def test_history_is_all_that_was_stored(room):
    epoch, (execution,) = await room.own(1)
    steps = [
        make.step_row(execution, 0),
        make.step_row(execution, 1, status=StepStatus.FAILED, result={"error": {}}),
    ]
    events = [
        make.event_row(execution, 2, EventKind.EXECUTION_STARTED),
        make.event_row(execution, 3),
        make.event_row(execution, 4, EventKind.EXECUTION_CANCEL_REQUESTED, data={"reason": "r"}),
        make.event_row(execution, 5, EventKind.EXECUTION_DEADLINE_REACHED),
    ]
    await room.flush(1, epoch, make.checkpoint(execution, steps=steps, events=events))
    await _send(room, execution)

    history = (await room.store.load_histories([execution]))[execution]

    assert [(row.step, row.status, row.generation) for row in history.steps] == [
        (0, 6, 0),
        (1, 7, 0),
    ]
    assert (history.last_sequence, [mark[:2] for mark in history.marks]) == (5, MARKS)
    assert history.messages == (InboxMessage(1, InboxKind.CANCEL, {"reason": "r"}),)


@pytest.mark.parametrize("wait", [WaitKind.TIMER, WaitKind.RETRY_BACKOFF])
async def test_a_message_wakes_what_is_parked(room, wait):
    epoch, (execution,) = await room.own(1)
    parked = Closing(execution, ExecutionStatus.WAITING, wait, 3600.0)
    await room.flush(1, epoch, make.checkpoint(execution, closing=parked))

    status = await _send(room, execution)

    row = await room.row(execution)
    assert status is ExecutionStatus.QUEUED
    assert (row["wait"], row["wake_at"], row["cancel_requested"]) == (None, None, True)


async def test_a_message_to_what_runs_leaves_its_state_to_the_owner(room):
    _, (execution,) = await room.own(1)

    status = await _send(room, execution)

    assert status is ExecutionStatus.RUNNING
    assert (await room.row(execution))["owner"] == 1


async def test_a_message_to_what_has_ended_is_not_left(room):
    execution = await _ended(room, ExecutionStatus.COMPLETED)

    assert await _send(room, execution) is ExecutionStatus.COMPLETED
    assert await room.count("execution_inbox") == 0


async def test_a_message_of_another_tenant_finds_nothing(room):
    (execution,) = await room.queue()

    assert await _send(room, execution, tenant=make.OTHER_TENANT) is None


async def test_messages_at_once_are_numbered_without_gap(room):
    (execution,) = await room.queue()

    await asyncio.gather(*(_send(room, execution) for _ in range(20)))

    messages = (await room.store.messages([execution]))[execution]
    assert [message.n for message in messages] == list(range(1, 21))


@pytest.mark.parametrize(
    "status", [ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.TIMED_OUT]
)
async def test_retry_queues_the_next_generation(room, status):
    execution = await _ended(room, status, meta={"timeout_ms": 60_000}, timeout_seconds=60)
    await room.sql.execute("update workflow_executions set deadline = now() - interval '1 day'")

    after, generation = await _retry(room, execution, {"reason": "again"})

    row = await room.row(execution)
    history = (await room.store.load_histories([execution]))[execution]
    assert (after, generation, row["generation"], row["finished_at"]) == (
        ExecutionStatus.QUEUED,
        1,
        1,
        None,
    )
    assert history.retries == ({"reason": "again"},)
    assert row["deadline"] > row["created_at"]


@pytest.mark.parametrize("status", [ExecutionStatus.COMPLETED])
async def test_what_completed_is_not_retried(room, status):
    execution = await _ended(room, status)

    assert await _retry(room, execution) == (status, None)


async def test_what_is_not_there_is_not_retried(room):
    assert await _retry(room, make.new_id()) == (None, None)


async def test_retries_at_once_make_one_generation(room):
    execution = await _ended(room, ExecutionStatus.FAILED)

    found = await asyncio.gather(*(_retry(room, execution) for _ in range(8)))

    assert [generation for _, generation in found if generation is not None] == [1]


async def test_sweep_takes_turns_between_tenants(room):
    many = await room.queue(50)
    few = await room.queue(2, tenant=make.OTHER_TENANT)

    found = await room.store.queued(0, older_than_seconds=-1, per_tenant=10, limit=100)

    assert len(found) == 12
    assert {one.id for one in found} == set(sorted(many)[:10]) | set(few)


async def test_sweep_leaves_the_young_alone(room):
    await room.queue(3)

    assert await room.store.queued(0, older_than_seconds=60, per_tenant=10, limit=10) == []


async def test_sweep_takes_the_important_first(room):
    await room.queue(5)
    (urgent,) = await room.queue(1, priority=9)

    found = await room.store.queued(0, older_than_seconds=-1, per_tenant=1, limit=10)

    assert [(one.id, one.priority) for one in found] == [(urgent, 9)]


async def test_owner_is_set_exactly_while_running(room):
    _, (execution,) = await room.own(1)

    with pytest.raises(Exception, match="check constraint"):
        await room.sql.execute(
            "update workflow_executions set owner = null where id = $1", execution
        )


async def test_old_keys_are_forgotten(room):
    await room.queue(1, key="old")
    await room.sql.execute("update idempotency_keys set created_at = now() - interval '8 days'")
    await room.queue(1, key="new")

    forgotten = await room.store.forget_keys(0, keep_days=7)

    assert forgotten == 1
    assert await room.sql.fetchval("select key from idempotency_keys") == "new"


async def test_duties_of_partitions(databases, room):
    made = await room.store.make_partitions(days_ahead=8)
    dropped = await room.store.drop_logs(keep_days=30)

    assert (made, dropped) == (0, 0)


async def test_old_log_days_are_dropped(room):
    await room.sql.execute("select mc_make_partitions('2020-01-01', '2020-01-03')")

    dropped = await room.store.drop_logs(keep_days=30)

    left = await room.sql.fetchval("select to_regclass('step_logs_20200101')")
    await room.sql.execute(
        "do $$ declare t text; begin for t in select c.relname from pg_class c where c.relname ~ '_2020010[123]$' and c.relkind = 'r'"
        " loop execute format('drop table maestro.%I', t); end loop; end $$"
    )
    assert (dropped, left) == (3, None)
