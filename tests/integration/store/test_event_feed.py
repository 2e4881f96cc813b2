"""The feed of the event bus: written with the events, by every function, and only for who wants it."""

from __future__ import annotations

import pytest

from runtime.model.checkpoint import Closing
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from tests import make

COMPLETED = EventKind.EXECUTION_COMPLETED
QUEUED = EventKind.EXECUTION_QUEUED


async def _want(room, *kinds: EventKind) -> None:
    await room.sql.execute(
        "insert into event_cursors (handler, stream, shard, kinds, xact)"
        " values ($1, 'execution', 0, $2, '0')",
        f"handler-{len(kinds)}",
        sum(1 << kind for kind in kinds),
    )


async def _feed(room):
    return await room.sql.fetch("select * from event_feed order by xact, n")


def _completes(execution):
    return make.checkpoint(
        execution,
        steps=[make.step_row(execution)],
        events=[
            make.event_row(execution, 2, EventKind.STEP_STARTED),
            make.event_row(execution, 3),
            make.event_row(execution, 4, COMPLETED),
        ],
        closing=Closing(execution, ExecutionStatus.COMPLETED),
    )


async def test_without_a_handler_nothing_is_written(room):
    epoch, ids = await room.own(count=3)

    await room.flush(1, epoch, *map(_completes, ids))

    assert await _feed(room) == []


async def test_a_commit_is_one_row_with_all_its_executions(room):
    await _want(room, *EventKind)

    epoch, ids = await room.own(count=3)
    await room.flush(1, epoch, *map(_completes, ids))

    accepted, flushed = await _feed(room)
    assert set(accepted["executions"]) == set(flushed["executions"]) == set(ids)
    assert (accepted["firsts"], accepted["lasts"]) == ([1] * 3, [1] * 3)
    assert (flushed["firsts"], flushed["lasts"]) == ([2] * 3, [4] * 3)
    assert set(accepted["kinds"]) == {1 << QUEUED}
    assert accepted["xact"] < flushed["xact"]


async def test_what_nobody_wants_is_left_out(room):
    await _want(room, COMPLETED)
    epoch, ids = await room.own(count=2)

    going_on = make.checkpoint(ids[0], events=[make.event_row(ids[0], 2)])
    await room.flush(1, epoch, going_on, _completes(ids[1]))

    (row,) = await _feed(room)
    assert row["executions"] == [ids[1]]
    assert (row["firsts"], row["lasts"], row["kinds"]) == ([4], [4], [1 << COMPLETED])


async def test_a_decision_of_a_person_says_what_it_may_have_followed(room):
    """A service's transaction may have its number long before it locks the execution."""
    await _want(room, *EventKind)
    epoch, (execution,) = await room.own()
    async with room.database.engine() as connection, connection.transaction():
        early = await connection.fetchval("select pg_current_xact_id()")
        failing = make.checkpoint(
            execution,
            events=[make.event_row(execution, 2, EventKind.EXECUTION_FAILED)],
            closing=Closing(execution, ExecutionStatus.FAILED),
        )
        await room.flush(1, epoch, failing)
        await room.store.retry(0, make.TENANT, execution, {}, connection)

    _, retried, failed = await _feed(room)
    assert retried["xact"] == early < failed["xact"]
    assert (retried["firsts"], failed["firsts"]) == ([3], [2])
    assert failed["after"] is None
    assert retried["after"] > failed["xact"]


async def test_a_takeover_that_kills_feeds_both_of_its_events(room):
    await _want(room, *EventKind)
    _, (execution,) = await room.own()
    await room.sql.execute("update workflow_executions set takeovers = 2")
    await room.expire(1)
    epoch = await room.store.register(0, 2, "host:2", 60.0)

    await room.store.bury(0, 2)
    await room.store.takeover(0, 2, epoch, 10)

    row = (await _feed(room))[-1]
    assert (row["executions"], row["firsts"], row["lasts"]) == ([execution], [2], [3])
    assert row["kinds"] == [
        1 << EventKind.EXECUTION_TAKEN_OVER | 1 << EventKind.DEAD_LETTERED,
    ]


async def test_every_function_that_writes_events_feeds_the_bus(room):
    """Also those of the release before: their workers' events are events."""
    silent = await room.sql.fetch(
        "select p.proname from pg_proc p where p.pronamespace = 'maestro'::regnamespace"
        " and p.prosrc ~ 'insert into (maestro\\.)?execution_events' and p.prosrc !~ 'mc_feed'"
    )

    assert [row["proname"] for row in silent] == []


@pytest.mark.parametrize("kind", EventKind)
def test_a_kind_fits_into_the_mask(kind):
    assert 0 < kind < 63
