"""The event bus: told after the commit, at least once, in order; nobody waits for another's handler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from maestro import TryLater
from runtime.model.checkpoint import Closing
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.identity import Actor
from runtime.model.tenant_settings import SettingName
from runtime.store.event_bus import Cursor, EventBusStore, Place
from runtime.store.statements import statements
from runtime.store.tenant import TenantStore
from tests import make
from tests.integration.bus.conftest import QUICK, Recorder
from tests.integration.store.conftest import until

ENQUEUE = statements("enqueue")["enqueue"]


@asynccontextmanager
async def open_enqueue(room):
    """A transaction that has accepted an execution and is not committed until the block ends."""
    row = make.enqueue_row()
    async with room.store.database.engine() as connection, connection.transaction():
        await connection.fetch(ENQUEUE, 0, None, None, [False], *([value] for value in row))
        yield row.id


def _fails(execution):
    return make.checkpoint(
        execution,
        events=[
            make.event_row(execution, 2, EventKind.EXECUTION_STARTED),
            make.event_row(execution, 3, EventKind.EXECUTION_FAILED, data={"error": {}}),
        ],
        closing=Closing(execution, ExecutionStatus.FAILED),
    )


async def test_a_handler_is_told_of_what_is_committed_from_now_on(room):
    handler = Recorder("from-now")
    await room.store.queue(2)
    bus = await room.start(handler)
    await room.holds(bus)

    epoch, (execution,) = await room.store.own()
    await room.store.flush(1, epoch, _fails(execution))
    await handler.has(3)

    assert [(e.kind, e.sequence) for e in handler.told] == [
        ("execution_queued", 1),
        ("execution_started", 2),
        ("execution_failed", 3),
    ]
    last = handler.told[-1]
    assert (last.id, last.noun, last.subject) == (f"{execution}.e.3", "execution", execution)
    assert (last.tenant_id, last.data) == (make.TENANT, {"error": {}})


async def test_only_the_words_that_it_wants(room):
    handler = Recorder("failures", "execution_failed", "dead_letter*")
    bus = await room.start(handler)
    await room.holds(bus)

    epoch, ids = await room.store.own(count=5)
    await room.store.flush(1, epoch, *map(_fails, ids))
    await handler.has(5)

    assert {event.kind for event in handler.told} == {"execution_failed"}
    assert {event.subject for event in handler.told} == set(ids)


async def test_from_the_beginning_it_hears_of_everything_that_is_kept(room):
    epoch, ids = await room.store.own(count=30)
    await room.store.flush(1, epoch, *map(_fails, ids))
    handler = Recorder("all", start="beginning")

    await room.start(handler)
    await handler.has(90)
    later = await room.store.queue()
    await handler.has(91)

    assert all(handler.sequences(one) == [1, 2, 3] for one in ids)
    assert handler.sequences(later[0]) == [1]


async def test_a_past_of_many_pages_is_told_once_through(room):
    ids = await room.store.queue(50)
    handler = Recorder("pages", start="beginning")
    room.bus_store = EventBusStore(room.store.database, past_rows=7)

    await room.start(handler)
    await handler.has(50)

    assert [event.subject for event in handler.told] == sorted(ids)


async def test_who_did_not_know_of_a_handler_is_waited_for(room):
    """A transaction that began before the handler was known writes no feed; the past has to wait for it."""
    handler = Recorder("late-writer", start="beginning")
    async with open_enqueue(room) as early:
        bus = await room.start(handler)
        await room.holds(bus)
        await room.store.queue(3)
        await until(lambda: _looked(room, "late-writer"))
        assert handler.told == []

    await handler.has(4)
    assert early in {event.subject for event in handler.told}


async def _looked(room, name):
    return await room.store.sql.fetchval(
        "select since is not null from event_cursors where handler = $1", name
    )


async def test_a_transaction_that_commits_late_is_not_skipped(room):
    """The later one of two open transactions commits first, and both are told."""
    handler = Recorder("interleaved")
    bus = await room.start(handler)
    await room.holds(bus)

    async with open_enqueue(room) as early:
        async with open_enqueue(room) as late:
            pass
        assert await room.bus_store.next_page(await _cursor(room, "interleaved"), -1) == ((), None)

    await handler.has(2)
    assert [event.subject for event in handler.told] == [early, late]


async def _cursor(room, name):
    """Where a handler stands, as whoever runs it would see it."""
    row = await room.store.sql.fetchrow(
        "select handler, stream, shard, xact, since, backfill, backfill_seq, attempts, missed_until"
        " from event_cursors where handler = $1",
        name,
    )
    return Cursor(*row)


async def test_sequences_are_in_order_although_a_transaction_is_older_than_what_it_follows(room):
    handler = Recorder("ordered")
    bus = await room.start(handler)
    await room.holds(bus)
    epoch, (execution,) = await room.store.own()
    await handler.has(1)

    async with room.store.database.engine() as connection, connection.transaction():
        await connection.fetchval("select pg_current_xact_id()")
        await room.store.flush(1, epoch, _fails(execution))
        await room.store.store.retry(0, make.TENANT, execution, {}, connection)
    await handler.has(4)

    assert handler.sequences(execution) == [1, 2, 3, 4]


async def test_a_slow_handler_holds_nobody_up(room):
    slow, quick = Recorder("slow"), Recorder("quick")
    slow.gate.clear()
    bus = await room.start(slow, quick)
    await room.holds(bus, 2)

    await room.store.queue(1)
    await slow.begun.wait()
    await room.store.queue(500)
    await quick.has(501)
    assert slow.told == []

    slow.gate.set()
    await slow.has(501)


async def test_a_call_that_takes_too_long_is_ended_and_made_again(room):
    handler = Recorder("hangs", timeout_seconds=0.05)
    handler.gate.clear()
    bus = await room.start(handler)
    await room.holds(bus)

    (execution,) = await room.store.queue(1)
    await until(lambda: _failed(room, "It took longer than 0.05 seconds."))
    handler.gate.set()
    await handler.has(1)

    assert handler.sequences(execution) == [1]


async def _failed(room, words):
    return await room.store.sql.fetchval(
        "select exists (select 1 from event_cursors where error = $1)", words
    )


class Picky(Recorder):
    """Fails on what it does not like."""

    bad: frozenset = frozenset()
    failure: BaseException = ValueError("I do not like this one")

    def judge(self, events):
        if any(event.subject in self.bad for event in events):
            raise self.failure


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ValueError("I do not like this one"), "ValueError: I do not like this one"),
        (asyncio.CancelledError("my own task"), "CancelledError: my own task"),
        (SystemExit(3), "SystemExit: 3"),
    ],
    ids=["fails", "awaits what was cancelled", "exits"],
)
async def test_a_poison_event_is_recorded_and_passed_by_alone(room, failure, words):
    handler = Picky("picky", failure=failure)
    ids = [make.new_id() for _ in range(20)]
    handler.bad = frozenset({ids[7]})
    bus = await room.start(handler)
    await room.holds(bus)

    rows = [make.enqueue_row(id=one) for one in ids]
    await asyncio.gather(*map(room.store.enqueuer.enqueue, rows))
    await handler.has(19)
    await until(lambda: _has_failures(room, 1))

    failure = await room.store.sql.fetchrow("select * from event_failures")
    assert (failure["handler"], failure["id"], failure["seq"]) == ("picky", ids[7], 1)
    assert (failure["kind"], failure["reason"]) == ("execution_queued", "poison")
    assert (failure["attempts"], failure["error"]) == (
        QUICK.attempts,
        words,
    )
    assert {event.subject for event in handler.told} == set(ids) - handler.bad
    alone = [call for call in handler.calls if call == (f"{ids[7]}.e.1",)]
    assert QUICK.attempts - QUICK.together <= len(alone) <= QUICK.attempts
    assert len(handler.calls) - len(alone) <= 19 + QUICK.together * 3


async def _has_failures(room, count):
    return await room.store.count("event_failures") == count


async def test_a_handler_that_must_have_everything_waits(room):
    handler = Picky("strict", when_stuck="wait")
    bad = make.new_id()
    handler.bad = frozenset({bad})
    bus = await room.start(handler)
    await room.holds(bus)

    await room.store.enqueuer.enqueue(make.enqueue_row(id=bad))
    (after,) = await room.store.queue(1)
    await until(lambda: _tried(room, QUICK.attempts * 2))
    assert handler.told == []
    handler.bad = frozenset()
    await handler.has(2)

    assert [event.subject for event in handler.told] == [bad, after]
    assert await room.store.count("event_failures") == 0


async def _tried(room, attempts):
    return (await room.store.sql.fetchval("select max(attempts) from event_cursors")) >= attempts


class Away(Recorder):
    """Can't take anything for a while."""

    refusals = 40

    def judge(self, events):
        if self.refusals:
            self.refusals -= 1
            raise TryLater("The board is away.", seconds=0.001)


async def test_a_handler_that_asks_for_time_is_not_failing(room):
    handler = Away("away")
    bus = await room.start(handler)
    await room.holds(bus)

    await room.store.queue(3)
    await handler.has(3)

    assert await room.store.count("event_failures") == 0
    assert await room.store.sql.fetchval("select max(attempts) from event_cursors") == 0


async def test_two_processes_run_a_handler_once_at_a_time(room):
    first, second = Recorder("shared"), Recorder("shared")
    one = await room.start(first)
    await room.holds(one)
    other = await room.start(second)

    await room.store.queue(50)
    await first.has(50)
    assert other.running == frozenset()
    await room.stop(one)
    await room.holds(other)
    await second.has_all(await room.store.queue(10))

    assert first.most_at_once == second.most_at_once == 1


async def test_after_a_kill_in_the_middle_of_a_call_another_process_makes_it_again(room):
    first, second = Recorder("killed"), Recorder("killed")
    first.gate.clear()
    one = await room.start(first)
    await room.holds(one)
    ids = await room.store.queue(5)
    await first.begun.wait()

    await room.kill(one)
    other = await room.start(second)
    await room.holds(other)
    await second.has_all(ids)

    assert first.told == []


async def test_killing_processes_again_and_again_counts_as_failing(room):
    """A handler that takes its process down with it must not do so for ever."""
    bad = make.new_id()
    for number in range(QUICK.attempts + 1):
        handler = Picky("deadly")
        handler.bad = frozenset({bad})
        handler.gate.clear()
        bus = await room.start(handler)
        await room.holds(bus)
        if number == 0:
            await room.store.enqueuer.enqueue(make.enqueue_row(id=bad))
        await handler.begun.wait()
        if number == QUICK.attempts:
            handler.gate.set()
            break
        await room.kill(bus)
    await until(lambda: _has_failures(room, 1))

    assert await room.store.sql.fetchval("select id from event_failures") == bad


async def test_who_lost_its_lease_cannot_move_the_cursor(room):
    bus = await room.start(Recorder("zombie"))
    await room.holds(bus)
    cursor = await _cursor(room, "zombie")
    mine, another = bus._me, 42

    await room.store.sql.execute(
        "update event_cursors set owner = $1, lease_until = now() + interval '1 hour'", another
    )
    await room.holds(bus, 0)
    moved = await room.bus_store.move(mine, cursor, Place(cursor.xact + 1_000))
    noted = await room.bus_store.note(mine, cursor, 7, "it failed")

    assert (moved, noted) == (False, False)
    assert await _cursor(room, "zombie") == cursor


async def test_a_restart_goes_on_where_it_was(room):
    first, second = Recorder("again"), Recorder("again", start="beginning")
    one = await room.start(first)
    await room.holds(one)
    await room.store.queue(3)
    await first.has(3)
    await room.stop(one)
    between = await room.store.queue(4)

    await room.start(second)
    await second.has_all(between)

    assert len(second.told) <= 7


async def test_what_an_operator_has_set_is_told_too(room):
    handler = Recorder("settings", "tenant_settings")
    bus = await room.start(handler)
    await room.holds(bus)
    tenants = TenantStore(room.store.database)
    tenant = await tenants.resolve("told", create=True)
    assert tenant is not None

    values = {SettingName.MAX_RUNNING: 5}
    ann = Actor("ann")
    await tenants.change_settings(tenant, None, values, (), actor=ann, reason="busy")
    await handler.has(1)

    (told,) = handler.told
    assert (told.kind, told.noun) == ("tenant_settings", "tenant")
    assert told.data == {
        "before": {"max_running": None},
        "after": {"max_running": 5},
        "reason": "busy",
    }


async def test_what_a_person_did_to_a_workflow_is_told_too(room):
    handler = Recorder(
        "catalog",
        "workflow_published",
        "workflow_created",
        "workflow_deprecated",
        "workflow_archived",
        "workflow_deleted",
    )
    bus = await room.start(handler)
    await room.holds(bus)
    workflow = make.new_id()

    async with room.store.database.tenant(make.TENANT) as connection, connection.transaction():
        for kind in ("created", "updated", "published", "deprecated", "archived", "deleted"):
            await connection.execute(
                statements("workflow")["event"],
                make.TENANT, "workflow", workflow, kind, {"subject": "ann"}, {"version": "1.0.0"},
            )  # fmt: skip
    await handler.has(5)

    assert [(e.kind, e.sequence, e.noun) for e in handler.told] == [
        ("workflow_created", 1, "workflow"),
        ("workflow_published", 3, "workflow"),
        ("workflow_deprecated", 4, "workflow"),
        ("workflow_archived", 5, "workflow"),
        ("workflow_deleted", 6, "workflow"),
    ]
    assert handler.told[0].id == f"workflow_{workflow}.e.1"
    assert (handler.told[0].actor, handler.told[0].subject) == ({"subject": "ann"}, workflow)


@pytest.mark.parametrize("start", ["now", "beginning"])
async def test_the_past_of_workflows_is_told_to_who_asks_for_it(room, start):
    workflow = make.new_id()
    async with room.store.database.tenant(make.TENANT) as connection:
        for kind in ("created", "updated"):
            await connection.execute(
                statements("workflow")["event"],
                make.TENANT, "workflow", workflow, kind, {"subject": "ann"}, None,
            )  # fmt: skip
    handler = Recorder("catalog", "workflow_*", start=start)
    bus = await room.start(handler)
    await room.holds(bus)
    async with room.store.database.tenant(make.TENANT) as connection:
        await connection.execute(
            statements("workflow")["event"],
            make.TENANT, "workflow", workflow, "published", {"subject": "ann"}, None,
        )  # fmt: skip
    await handler.has(3 if start == "beginning" else 1)

    assert handler.sequences(workflow) == ([1, 2, 3] if start == "beginning" else [3])


async def test_without_handlers_a_bus_asks_nothing(room):
    bus = await room.start()

    assert bus.running == frozenset()
    assert await room.store.count("event_cursors") == 0
