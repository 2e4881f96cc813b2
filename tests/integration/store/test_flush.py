"""Checkpoints: many executions in one commit, fenced, with one bad one set apart."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from runtime.model.checkpoint import Closing, FlushOutcome, FlushResult, InboxKind
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.store.faults import Fenced
from runtime.store.flush import Flusher
from runtime.store.group_commit import Batcher
from tests import make
from tests.integration.store.conftest import until

DONE = FlushOutcome.COMMITTED


def _outcomes(found: list[FlushResult]) -> list[FlushOutcome]:
    return [result.outcome for result in found]


def _complete(execution, **closing):
    return make.checkpoint(
        execution,
        steps=[make.step_row(execution)],
        events=[make.event_row(execution, 2)],
        closing=Closing(execution, ExecutionStatus.COMPLETED, output='{"a": 1}', **closing),
    )


async def test_of_many_that_end_as_many_are_expected_whatever_is_known_of_owners(room):
    """Statistics come from quiet moments: nobody owns anything. For one row that is expected the arrays may be read in the square."""
    ids = await room.queue(2_000)
    await room.sql.execute("analyze workflow_executions")
    body = await room.sql.fetchval("select prosrc from pg_proc where proname = 'mc_flush_2'")
    (update,) = re.findall(r"update workflow_executions e\s+set status = .*?;", body, re.DOTALL)

    def all_of(value: object, kind: str) -> str:
        return f"'{{{','.join([str(value)] * len(ids))}}}'::{kind}[]"

    values = {
        "p_shard": "0::smallint", "p_me": "1::bigint", "v_lo": f"'{min(ids)}'::uuid", "v_hi": f"'{max(ids)}'::uuid",
        "f_id": f"'{{{','.join(map(str, ids))}}}'::uuid[]", "f_status": all_of(2, "smallint"),
        "f_wait": all_of("null", "smallint"), "f_wake": all_of("null", "float8"), "f_seen": all_of(0, "int"),
        "f_output": all_of(1, "text"), "f_error": all_of("null", "text"),
    }  # fmt: skip
    told = re.sub(r"\b[pvf]_\w+", lambda found: values[found[0]], update)

    async with room.sql.transaction():
        await room.sql.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await room.sql.fetch(f"explain {told}"))

    (expected,) = re.findall(r"Scan on workflow_executions_\d+ e_1 .* rows=(\d+)", plan)
    assert int(expected) >= len(ids) // 4, plan
    assert "Hash Cond" in plan, plan


async def test_steps_events_and_the_end_are_committed_together(room):
    epoch, (execution,) = await room.own()

    found = await room.flush(1, epoch, _complete(execution))

    row = await room.row(execution)
    assert _outcomes(found) == [DONE]
    assert (row["status"], row["owner"], row["output"]) == (
        ExecutionStatus.COMPLETED,
        None,
        '{"a": 1}',
    )
    assert row["finished_at"] is not None
    assert (await room.count("step_executions"), await room.count("execution_events")) == (1, 2)


async def test_many_executions_share_a_commit(room):
    epoch, ids = await room.own(count=300)
    before = room.metrics.registry.get_sample_value("maestro_flush_seconds_count")

    found = await room.flush(1, epoch, *map(_complete, ids))

    flushes = room.metrics.registry.get_sample_value("maestro_flush_seconds_count") - before
    assert _outcomes(found) == [DONE] * 300
    assert flushes <= 3


async def test_ages_not_host_times_are_stored(room):
    epoch, (execution,) = await room.own()

    await room.flush(
        1,
        epoch,
        make.checkpoint(execution, steps=[make.step_row(execution)._replace(age_seconds=30.0)]),
    )

    took = await room.sql.fetchval(
        "select extract(epoch from finished_at - started_at)::float8 from step_executions"
    )
    assert took == pytest.approx(30.0, abs=0.001)


async def test_an_intent_is_completed_by_its_outcome(room):
    epoch, (execution,) = await room.own()
    intent = make.step_row(execution, status=StepStatus.RUNNING, is_open=True, result={})

    await room.flush(1, epoch, make.checkpoint(execution, steps=[intent]))
    opened = (await room.store.load_histories([execution]))[execution].steps[0]
    await room.flush(1, epoch, make.checkpoint(execution, steps=[make.step_row(execution)]))
    closed = (await room.store.load_histories([execution]))[execution].steps[0]

    assert (opened.is_open, opened.status) == (True, StepStatus.RUNNING)
    assert (closed.is_open, closed.status) == (False, StepStatus.COMPLETED)


async def test_parking_frees_the_owner_and_sets_the_alarm(room):
    epoch, (execution,) = await room.own()
    parked = Closing(execution, ExecutionStatus.WAITING, WaitKind.TIMER, wake_in_seconds=3600.0)

    await room.flush(1, epoch, make.checkpoint(execution, closing=parked))

    row = await room.row(execution)
    assert (row["status"], row["wait"], row["owner"]) == (
        ExecutionStatus.WAITING,
        WaitKind.TIMER,
        None,
    )
    assert (row["wake_at"] - row["created_at"]).total_seconds() == pytest.approx(3600, abs=5)


@pytest.mark.parametrize(
    ("seen", "expected"), [(0, ExecutionStatus.QUEUED), (1, ExecutionStatus.WAITING)]
)
async def test_a_message_between_looking_and_parking_is_not_lost(room, seen, expected):
    epoch, (execution,) = await room.own()
    async with room.database.engine() as connection:
        await room.store.send(
            0, make.TENANT, execution, InboxKind.CANCEL, {"reason": None}, connection
        )
    parked = Closing(execution, ExecutionStatus.WAITING, WaitKind.TIMER, 3600.0, inbox_seen=seen)

    await room.flush(1, epoch, make.checkpoint(execution, closing=parked))

    assert (await room.row(execution))["status"] == expected


async def test_read_messages_go_with_their_checkpoint(room):
    epoch, (execution,) = await room.own()
    async with room.database.engine() as connection:
        await room.store.send(
            0, make.TENANT, execution, InboxKind.CANCEL, {"reason": "x"}, connection
        )

    await room.flush(1, epoch, make.checkpoint(execution, inbox_read=(1,)))

    assert await room.store.messages([execution]) == {}


async def test_one_bad_checkpoint_does_not_take_its_batch_along(room):
    epoch, ids = await room.own(count=16)
    bad = make.checkpoint(ids[5], steps=[make.step_row(ids[5], result={"output": "\x00"})])

    found = await room.flush(1, epoch, *(bad if i == ids[5] else _complete(i) for i in ids))

    assert _outcomes(found) == [FlushOutcome.REJECTED if i == ids[5] else DONE for i in ids]
    assert (await room.row(ids[5]))["status"] == ExecutionStatus.RUNNING


async def test_what_follows_a_rejected_checkpoint_is_rejected_too(room):
    epoch, (one, two) = await room.own(count=2)
    bad = make.checkpoint(one, steps=[make.step_row(one, result={"output": "\x00"})])

    found = await room.flush(1, epoch, _complete(two), bad, _complete(one))

    assert _outcomes(found) == [DONE, FlushOutcome.REJECTED, FlushOutcome.REJECTED]
    assert (
        await room.sql.fetchval("select count(*) from step_executions where execution_id = $1", one)
        == 0
    )


async def test_closing_what_is_not_owned_writes_nothing(room):
    epoch, (mine,) = await room.own()
    (queued,) = await room.queue()

    found = await room.flush(1, epoch, _complete(queued), _complete(mine))

    assert _outcomes(found) == [FlushOutcome.REJECTED, DONE]
    assert (await room.row(queued))["status"] == ExecutionStatus.QUEUED


async def test_the_same_attempt_is_never_written_twice(room):
    epoch, (execution,) = await room.own()
    once = make.checkpoint(execution, steps=[make.step_row(execution, result={"output": 1})])
    again = make.checkpoint(execution, steps=[make.step_row(execution, result={"output": 2})])

    await room.flush(1, epoch, once)
    await room.flush(1, epoch, again)

    history = (await room.store.load_histories([execution]))[execution]
    assert [row.result for row in history.steps] == [{"output": 1}]


async def test_events_are_never_numbered_twice(room):
    epoch, (execution,) = await room.own()
    event = make.checkpoint(execution, events=[make.event_row(execution, 2)])

    await room.flush(1, epoch, event)

    assert _outcomes(await room.flush(1, epoch, event)) == [FlushOutcome.REJECTED]


async def test_fenced_worker_writes_nothing(room):
    epoch, (execution,) = await room.own(1)
    await room.expire(1)
    await room.store.bury(0, 2)

    found = await room.flush(1, epoch, _complete(execution), _complete(execution))

    assert _outcomes(found) == [FlushOutcome.FENCED] * 2
    assert await room.count("step_executions") == 0


async def test_after_a_fence_every_later_submit_is_answered_at_once(room):
    epoch, (execution,) = await room.own(1)
    await room.expire(1)
    await room.store.bury(0, 2)
    flusher = Flusher(room.database, 0, 1, epoch, metrics=room.metrics)
    first = asyncio.Event()
    second: list[FlushResult] = []

    flusher.submit(_complete(execution), lambda _: first.set())
    await first.wait()
    flusher.submit(_complete(execution), second.append)
    await asyncio.sleep(0)

    assert _outcomes(second) == [FlushOutcome.FENCED]
    await flusher.close()


async def test_a_cut_connection_leaves_the_outcome_unknown(room):
    epoch, (one, two) = await room.own(count=2)
    flusher = Flusher(room.database, 0, 1, epoch, metrics=room.metrics)
    done = asyncio.Event()
    answers: list[FlushResult] = []
    flusher.submit(make.checkpoint(one), lambda _: done.set())
    await done.wait()
    await room.sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )

    flusher.submit(_complete(one), answers.append)
    flusher.submit(_complete(two), answers.append)
    await flusher.close()

    assert _outcomes(answers) == [FlushOutcome.UNKNOWN] * 2


async def test_a_failing_callback_does_not_stop_the_writer(room):
    epoch, (one, two) = await room.own(count=2)
    flusher = Flusher(room.database, 0, 1, epoch, metrics=room.metrics)
    told: list[BaseException] = []
    answers: list[FlushResult] = []

    def fail(_: FlushResult) -> None:
        raise ZeroDivisionError

    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["exception"])
    )

    flusher.submit(_complete(one), fail)
    flusher.submit(_complete(two), answers.append)
    await flusher.close()

    assert _outcomes(answers) == [DONE]
    assert isinstance(told[0], ZeroDivisionError)


async def test_takeover_waits_for_a_flush_that_holds_the_fence(room):
    """The race that decides: a flush under way and the burial of its worker can't both succeed."""
    epoch, _ = await room.own(1)
    await room.expire(1)
    flushing = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    transaction = flushing.transaction()
    await transaction.start()
    await flushing.fetchval(
        "select 1 from workers where id = 1 and epoch = $1 for key share", epoch
    )

    while_held = await room.store.bury(0, 2)
    await transaction.commit()
    afterwards = await room.store.bury(0, 2)
    await flushing.close()

    assert (while_held, afterwards) == (0, 1)


async def test_a_flush_waits_for_a_burial_and_then_writes_nothing(room):
    epoch, (execution,) = await room.own(1)
    await room.expire(1)
    burying = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    transaction = burying.transaction()
    await transaction.start()
    buried = await burying.fetchval("select mc_bury(0::smallint, 2)")

    flush = asyncio.create_task(room.flush(1, epoch, _complete(execution)))
    await until(lambda: _someone_waits(room))
    await transaction.commit()
    found = await flush
    await burying.close()

    assert buried == 1
    assert _outcomes(found) == [FlushOutcome.FENCED]
    assert await room.count("step_executions") == 0


async def test_without_the_lock_the_same_race_lets_a_dead_worker_write(room):
    """The control: with the fence's lock taken away the schedule above loses, so the test can fail."""
    body = await room.sql.fetchval("select pg_get_functiondef('mc_flush_2'::regproc)")
    await room.sql.execute(
        body.replace("FUNCTION maestro.mc_flush_2", "FUNCTION maestro.mc_flush_unlocked").replace(
            "for key share", ""
        )
    )
    epoch, _ = await room.own(1)
    await room.expire(1)
    transaction = room.sql.transaction()
    await transaction.start()
    await room.sql.fetchval("select mc_bury(0::smallint, 2)")

    dead = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    empty = ", ".join("'{}'" for _ in range(25))
    live = await dead.fetchval(
        f"select live from mc_flush_unlocked(0::smallint, 1, {epoch}, {empty})"
    )
    await transaction.commit()
    await dead.close()
    await room.sql.execute(f"drop function mc_flush_unlocked({await _arguments(room)})")

    assert live == 1


async def test_fenced_worker_claims_and_takes_nothing(room):
    epoch = await room.store.register(0, 1, "host:1", 60.0)
    ids = await room.queue(3)
    await room.expire(1)
    await room.store.bury(0, 2)

    for attempt in (
        room.store.claim(0, 1, epoch, ids),
        room.store.due(0, 1, epoch, 10),
        room.store.takeover(0, 1, epoch, 10),
    ):
        with pytest.raises(Fenced):
            await attempt


async def _someone_waits(room) -> bool:
    return bool(await room.sql.fetchval("select count(*) from pg_locks where not granted"))


async def _arguments(room) -> str:
    return str(
        await room.sql.fetchval(
            "select pg_get_function_identity_arguments('mc_flush_unlocked'::regproc)"
        )
    )


async def test_nobody_waits_for_a_writer_that_has_broken():
    """A worker that stops waits until all it sent is answered: for ever, if the writer could break unheard."""

    async def breaks(_batch: list[int]) -> None:
        raise RuntimeError("broken")

    batcher = Batcher[int](breaks, size=lambda _: 1)
    batcher.add(1)

    await asyncio.wait_for(batcher.flushed(), 10)
    assert batcher.is_closed
    await batcher.close()


async def test_workers_with_parents_and_children_of_each_other_do_not_deadlock(room):
    """Each ends a child of what the other one parks, and all rows are locked in the order of their ids."""
    gates = await room.queue(2)
    # In order, so that those whose parents are held come first, when all rows of their batch are changed.
    first, ids = await room.own(1, 3)
    c, a, q = sorted(ids)
    second, ids = await room.own(2, 3)
    d, b, p = sorted(ids)
    for child, parent in ((a, p), (b, q), (c, gates[0]), (d, gates[1])):
        await room.sql.execute(
            "update workflow_executions set meta = meta || jsonb_build_object('parent', $2::text) where id = $1",
            child, str(parent),
        )  # fmt: skip
    parked = Closing(p, ExecutionStatus.WAITING, WaitKind.CHILD_EXECUTION)
    batches = {
        1: [*map(_end, (c, a)), make.checkpoint(q, closing=parked._replace(execution_id=q), in_family=True)],
        2: [*map(_end, (d, b)), make.checkpoint(p, closing=parked, in_family=True)],
    }  # fmt: skip
    count = "maestro_flush_seconds_count"
    before = room.metrics.registry.get_sample_value(count) or 0
    holder = await room.database.dedicated()

    async def both_wait() -> bool:
        asked = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = "
        )
        return bool(await room.sql.fetchval(asked + "current_database()") == 2)

    async with holder.transaction():
        await holder.fetch(
            "select 1 from workflow_executions where id = any ($1) for update", gates
        )
        flushes = [
            asyncio.create_task(room.flush(1, first, *batches[1])),
            asyncio.create_task(room.flush(2, second, *batches[2])),
        ]
        await until(both_wait, 20)
    found = [one for flush in flushes for one in await flush]
    holder.terminate()

    assert _outcomes(found) == [DONE] * 6
    assert room.metrics.registry.get_sample_value(count) - before == 2, "none was sent again"
    for parent in (p, q):
        row = await room.row(parent)
        assert (row["status"], row["inbox"]) == (ExecutionStatus.QUEUED, 1)


def _end(execution):
    return make.checkpoint(
        execution, closing=Closing(execution, ExecutionStatus.COMPLETED), in_family=True
    )


async def test_messages_are_deleted_by_a_probe_for_each(room):
    """Whatever the statistics say: an inbox is empty when they are collected, and two thousand messages took seconds."""
    body = await room.sql.fetchval("select prosrc from pg_proc where proname = 'mc_flush_2'")
    (statement,) = re.findall(r"delete from execution_inbox.*?;", body, re.DOTALL)
    for name, place in (("p_shard", "$1"), ("i_exec", "$2"), ("i_n", "$3")):
        statement = statement.replace(name, place)
    await room.sql.execute("vacuum analyze execution_inbox")
    await room.sql.execute("set plan_cache_mode = force_generic_plan")
    await room.sql.execute("set enable_seqscan = off")
    await room.sql.execute(f"prepare deletion (smallint, uuid[], int[]) as {statement}")

    rows = await room.sql.fetch("explain execute deletion (0::smallint, null, null)")

    plan = "\n".join(row[0] for row in rows)
    assert "Join Filter" not in plan
    assert "Index Cond" in plan
