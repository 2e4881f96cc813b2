"""Dead letters as services see them: made by three losses, redriven, discarded, and walled off by tenant."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.dead_letter import DeadLetterFilter, DeadLetterId, DeadLetterStatus
from runtime.model.errors import BadInput, Denied, InvalidState, NotFound
from runtime.model.execution import ExecutionStatus
from runtime.model.identity import Principal
from runtime.model.page import PageRequest
from runtime.services.dead_letter import DeadLetterService
from runtime.store.execution import ExecutionStore
from runtime.store.tenant import TenantStore
from tests.support.engine_room import TENANT, EngineRoom, engine_room

STEP = {"id": "a", "uses": "probe.echo@1", "with": {}}
ADMIN = Principal(TENANT, "test", "ann", frozenset({"executions:admin"}))


@pytest.fixture
async def room(database_url, redis_url, home):
    async with engine_room(database_url, redis_url, home) as made:
        yield made


@pytest.fixture
def letters(room):
    return DeadLetterService(
        shards=room.shards,
        tenants=TenantStore(room.database),
        queue=room.queue,
        wakeup=room.wakeup,
    )


async def lose(room: EngineRoom, store: ExecutionStore, me: int) -> None:
    """The owner is lost, and another one looks."""
    await room.expire(f"host:{me}")
    await store.bury(0, 99)
    await store.takeover(0, me + 1, await store.register(0, me + 1, f"host:{me + 1}", 60), 10)


async def dead(room: EngineRoom, first: int = 1) -> UUID:
    """An execution that has cost three workers, whose numbers begin with `first`."""
    execution = await room.enqueue(await room.publish([STEP]), hint=False)
    store = room.store
    epoch = await store.register(0, first, f"host:{first}", 60)
    await store.claim(0, first, epoch, [execution])
    await lose(room, store, first)
    await lose(room, store, first + 1)
    epoch = await store.register(0, first + 5, f"host:{first + 5}", 60)
    assert await store.claim(0, first + 5, epoch, [execution]) == []
    assert [owned.id for owned in await store.claim_alone(0, first + 5, epoch)] == [execution]
    await lose(room, store, first + 5)
    return execution


async def test_the_third_loss_leaves_a_letter_with_its_evidence(room, letters):
    execution = await dead(room)

    (letter,) = (await letters.list(ADMIN, DeadLetterFilter(), PageRequest())).items

    assert letter.id == DeadLetterId(execution, 0)
    assert (letter.status, letter.losses) == (DeadLetterStatus.OPEN, 3)
    assert [lost.name for lost in letter.lost] == ["host:1", "host:2", "host:6"]
    assert [event["kind"] for event in letter.events] == [1, 13, 13, 13, 14]
    row = await room.row(execution)
    assert (row["status"], row["owner"]) == (ExecutionStatus.DEAD_LETTERED, None)
    assert json.loads(row["error"])["type"] == "poison"


async def test_an_owner_that_leaves_is_not_counted(room):
    execution = await room.enqueue(await room.publish([STEP]), hint=False)
    for me in range(1, 6):
        epoch = await room.store.register(0, me, f"host:{me}", 60)
        await room.store.claim(0, me, epoch, [execution])
        await room.store.takeover(0, me, epoch, 10)
        await room.store.leave(0, me, epoch)

    row = await room.row(execution)
    assert (row["status"], row["takeovers"]) == (ExecutionStatus.RUNNING, 0)


async def test_redriving_runs_it_as_its_next_generation(room, letters):
    execution = await dead(room)

    found, affected = await letters.redrive(
        ADMIN, ids=[DeadLetterId(execution, 0)], reason="mended"
    )
    again = await letters.redrive(ADMIN, ids=[DeadLetterId(execution, 0)], reason="twice")
    room.worker()

    assert affected == 1
    assert again == (found, 0)
    assert found[0].status is DeadLetterStatus.REDRIVEN
    assert found[0].decided_by == ADMIN.actor
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    row = await room.row(execution)
    assert (row["generation"], row["takeovers"]) == (1, 0)
    assert "execution_retried" in await room.events(execution)


async def test_discarding_is_for_good_and_told_by_an_event(room, letters):
    execution = await dead(room)
    one = DeadLetterId(execution, 0)

    found, affected = await letters.discard(ADMIN, ids=[one], reason="never valid")
    again = await letters.discard(ADMIN, ids=[one])

    assert (affected, again) == (1, (found, 0))
    assert (found[0].status, found[0].decision_reason) == (
        DeadLetterStatus.DISCARDED,
        "never valid",
    )
    assert (await room.events(execution))[-1] == "dead_letter_discarded"
    with pytest.raises(InvalidState) as caught:
        await letters.redrive(ADMIN, ids=[one])
    assert caught.value.reason == "DEAD_LETTER_DECIDED"
    assert (await room.row(execution))["status"] == ExecutionStatus.DEAD_LETTERED


async def test_several_are_decided_together_or_not_at_all(room, letters):
    execution = await dead(room)
    unknown = DeadLetterId(execution, 7)

    with pytest.raises(NotFound):
        await letters.redrive(ADMIN, ids=[DeadLetterId(execution, 0), unknown])

    assert (await room.row(execution))["status"] == ExecutionStatus.DEAD_LETTERED


async def test_a_filter_means_the_open_ones(room, letters):
    first, second = await dead(room), await dead(room, 20)
    await letters.discard(ADMIN, ids=[DeadLetterId(first, 0)])

    found, affected = await letters.redrive(ADMIN, filter=DeadLetterFilter())

    assert ([letter.execution_id for letter in found], affected) == ([second], 1)


async def test_pages_follow_each_other(room, letters):
    first, second = await dead(room), await dead(room, 20)

    newest = await letters.list(ADMIN, DeadLetterFilter(), PageRequest(1))
    oldest = await letters.list(ADMIN, DeadLetterFilter(), PageRequest(1, newest.cursors[0]))

    assert [p.items[0].execution_id for p in (newest, oldest)] == [second, first]
    assert (newest.has_next, oldest.has_next) == (True, False)
    assert await letters.count(ADMIN, DeadLetterFilter()) == (2, False)


async def test_only_a_redrive_changes_a_dead_execution(room):
    execution = await dead(room)

    await room.retry(execution)
    await room.cancel(execution)

    row = await room.row(execution)
    assert (row["status"], row["generation"]) == (ExecutionStatus.DEAD_LETTERED, 0)


async def test_another_tenant_sees_and_decides_nothing(room, letters):
    execution = await dead(room)
    other = replace(ADMIN, tenant_id=UUID(int=5))

    assert (await letters.list(other, DeadLetterFilter(), PageRequest())).items == ()
    with pytest.raises(NotFound):
        await letters.discard(other, ids=[DeadLetterId(execution, 0)])


@pytest.mark.parametrize(
    "meant", [{}, {"ids": [DeadLetterId(UUID(int=1), 0)], "filter": DeadLetterFilter()}]
)
async def test_ids_or_a_filter_but_not_both_nor_none(letters, meant):
    with pytest.raises(BadInput):
        await letters.redrive(ADMIN, **meant)


async def test_it_needs_the_scope_of_admins(letters):
    with pytest.raises(Denied):
        await letters.list(replace(ADMIN, scopes=frozenset()), DeadLetterFilter(), PageRequest())


async def set_aside(room: EngineRoom, kind: Any = 77) -> UUID:
    """A running execution with one message that its owner could not decode and took out."""
    execution = await room.enqueue(await room.publish([STEP]), hint=False)
    epoch = await room.store.register(0, 50, "host:50", 60)
    await room.store.claim(0, 50, epoch, [execution])
    async with room.database.engine() as connection:
        await room.store.send(0, TENANT, execution, kind, {"name": "go"}, connection)
    error: Any = {"type": "message.undecodable", "message": "no", "retryable": False}
    await room.store.set_aside(0, 50, epoch, execution, 1, error)
    await room.sql.execute("delete from execution_inbox")
    return execution


async def test_a_message_is_redriven_as_its_executions_newest(room, letters):
    execution = await set_aside(room)
    one = DeadLetterId(execution, 0, 1)

    (letter,) = (await letters.list(ADMIN, DeadLetterFilter(queue="messages"), PageRequest())).items
    found, affected = await letters.redrive(ADMIN, ids=[one], reason="upgraded")
    again = await letters.redrive(ADMIN, ids=[one])

    assert (letter.id, letter.error.type) == (one, "message.undecodable")
    assert (letter.said["kind"], letter.said["data"]) == (77, {"name": "go"})
    assert (affected, again) == (1, (found, 0))
    assert (found[0].decided_by, found[0].decision_reason) == (ADMIN.actor, "upgraded")
    left = await room.sql.fetchrow("select n, kind, data from execution_inbox")
    assert tuple(left) == (2, 77, '{"name": "go"}')
    assert (await room.row(execution))["status"] == ExecutionStatus.RUNNING


@pytest.mark.parametrize(
    ("kind", "status", "is_cancelled"),
    [
        (InboxKind.CANCEL, ExecutionStatus.QUEUED, True),
        (InboxKind.RESUME, ExecutionStatus.QUEUED, False),
        (InboxKind.SIGNAL, ExecutionStatus.WAITING, False),
    ],
)
async def test_a_message_that_is_redriven_does_what_it_did_when_it_was_sent(
    room, letters, kind, status, is_cancelled
):
    """To an execution that is paused: a cancel and a resume end that, a signal does not."""
    execution = await set_aside(room, kind)
    await room.sql.execute(
        "update workflow_executions set status = 3, wait = 5, owner = null, cancel_requested = false where id = $1",
        execution,
    )

    await letters.redrive(ADMIN, ids=[DeadLetterId(execution, 0, 1)])

    row = await room.row(execution)
    assert (row["status"], row["cancel_requested"]) == (status, is_cancelled)


async def test_a_message_is_discarded_beside_what_runs(room, letters):
    """Its owner numbers the events, so only the letter says who did it."""
    execution = await set_aside(room)
    before = await room.events(execution)

    found, affected = await letters.discard(
        ADMIN, ids=[DeadLetterId(execution, 0, 1)], reason="noise"
    )

    assert (affected, found[0].status) == (1, DeadLetterStatus.DISCARDED)
    assert (found[0].decided_by, found[0].decision_reason) == (ADMIN.actor, "noise")
    assert await room.events(execution) == before


async def test_a_filter_passes_by_what_can_not_be_redriven_any_more(room, letters):
    """Letters outlive their executions: the newest of them must not stand before those that can be redriven for ever."""
    died, gone, finished = await dead(room), await dead(room, 20), await set_aside(room)
    await room.sql.execute("delete from workflow_executions where id = $1", gone)
    await room.sql.execute(
        "update workflow_executions set status = 2, owner = null where id = $1", finished
    )

    found, affected = await letters.redrive(ADMIN, filter=DeadLetterFilter(), limit=1)

    assert ([letter.execution_id for letter in found], affected) == ([died], 1)
    assert await letters.count(ADMIN, DeadLetterFilter(status=(DeadLetterStatus.OPEN,))) == (
        2,
        False,
    )
    for one, reason in (
        (DeadLetterId(gone, 0), "EXECUTION_GONE"),
        (DeadLetterId(finished, 0, 1), "EXECUTION_FINISHED"),
    ):
        with pytest.raises(InvalidState) as caught:
            await letters.redrive(ADMIN, ids=[one])
        assert caught.value.reason == reason


async def test_a_filter_redrives_a_dead_execution_and_its_messages_together(room, letters):
    execution = await set_aside(room)
    await room.sql.execute(
        "update workflow_executions set status = 6, owner = null where id = $1", execution
    )
    await room.sql.execute(
        "insert into dead_letters (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)"
        " select execution_id, 0, 0, tenant_id, 'owner_lost', error, 3, '{}' from dead_letters"
    )

    alone = await letters.redrive(ADMIN, filter=DeadLetterFilter(queue="messages"))
    found, affected = await letters.redrive(ADMIN, filter=DeadLetterFilter())

    assert alone == ([], 0)
    assert [letter.id for letter in found] == [
        DeadLetterId(execution, 0),
        DeadLetterId(execution, 0, 1),
    ]
    assert affected == 2


@pytest.mark.parametrize(
    "strange", [".d.0.0", ".d.0.-1", ".d.40000", ".d.0.3000000000", ".d.0.1.2"]
)
def test_what_is_no_id_of_a_letter_is_refused(strange):
    with pytest.raises(ValueError, match=r"\d"):
        DeadLetterId.parse(f"{UUID(int=1)}{strange}")
    assert DeadLetterId.parse(f"{UUID(int=1)}.d.0.7") == DeadLetterId(UUID(int=1), 0, 7)
