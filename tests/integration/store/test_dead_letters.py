"""Dead letters at their edges: rows that are gone, and what the release before reads and decides."""

from __future__ import annotations

import json

import pytest

from runtime.model.checkpoint import Closing
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from tests import make


async def message_set_aside(room, execution, epoch) -> None:
    async with room.database.engine() as connection:
        await room.store.send(0, make.TENANT, execution, 77, {}, connection)
    await room.store.set_aside(0, 1, epoch, execution, 1, {})


async def test_an_execution_whose_events_are_gone_can_be_given_up(room):
    epoch, (execution,) = await room.own()
    await room.sql.execute("delete from execution_events where execution_id = $1", execution)

    assert await room.store.give_up(0, 1, epoch, execution, {"type": "x"})

    events = await room.sql.fetch("select seq, kind from execution_events")
    assert [tuple(event) for event in events] == [(1, 14)]


async def test_each_letter_has_the_evidence_that_the_release_before_reads(room):
    epoch, (execution,) = await room.own()
    await message_set_aside(room, execution, epoch)
    await room.store.give_up(0, 1, epoch, execution, {"type": "x"})

    letters = await room.sql.fetch("select message, evidence from dead_letters order by message")

    shown = [(row["message"], json.loads(row["evidence"])) for row in letters]
    assert [(n, evidence["lost"], bool(evidence["events"])) for n, evidence in shown] == [
        (0, None, True),
        (1, None, False),
    ]


@pytest.mark.parametrize("verb", ["redrive", "discard"])
async def test_the_release_before_decides_about_executions_alone(room, verb):
    """It knows one letter of a generation: those of messages are neither decided nor in its way."""
    epoch, (execution,) = await room.own()
    await message_set_aside(room, execution, epoch)
    decide = f"select known, changed from mc_{verb}(0::smallint, $1, $2, 0::smallint, '{{}}', null, '{{}}')"

    early = await room.sql.fetchrow(decide, make.TENANT, execution)
    await room.store.give_up(0, 1, epoch, execution, {"type": "x"})
    done = await room.sql.fetchrow(decide, make.TENANT, execution)

    assert (tuple(early), tuple(done)) == ((False, False), (True, True))
    letters = await room.sql.fetch("select message, status from dead_letters order by message")
    assert [tuple(row) for row in letters] == [(0, 1 if verb == "redrive" else 2), (1, 0)]


async def test_an_execution_is_redriven_when_its_children_have_ended(room):
    """The next generation would start a second child of the same step beside the one that still stops."""
    epoch, (parent, child) = await room.own(1, 2)
    started = make.event_row(parent, 2)._replace(
        kind=EventKind.CHILD_STARTED, data=json.dumps({"child": str(child)})
    )
    await room.flush(1, epoch, make.checkpoint(parent, events=[started]))
    await room.sql.execute(
        """update workflow_executions set meta = meta || '{"children": true}' where id = $1""", parent
    )  # fmt: skip
    await room.store.give_up(0, 1, epoch, parent, {"type": "x"})
    redrive = "select known, changed from mc_redrive_2(0::smallint, $1, $2, 0::smallint, 0, '{}', null, '{}')"

    assert (await room.row(child))["cancel_requested"]
    early = await room.sql.fetchrow(redrive, make.TENANT, parent)
    await room.flush(
        1,
        epoch,
        make.checkpoint(child, closing=Closing(child, ExecutionStatus.CANCELLED), in_family=True),
    )
    done = await room.sql.fetchrow(redrive, make.TENANT, parent)

    assert (tuple(early), tuple(done)) == ((True, False), (True, True))
