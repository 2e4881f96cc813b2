"""What people say to executions: signals, pause and resume, as the service takes and refuses them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runtime.model.errors import (
    BadInput,
    Denied,
    IdempotencyConflict,
    InvalidState,
    NotFound,
    PayloadTooLarge,
)
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionState, ExecutionStatus, StepStatus, WaitKind
from runtime.services import message
from tests import make

WAIT = [{"id": "w", "type": "wait", "signal": "go"}]


async def waiting(room):
    """An execution that waits for a signal, parked."""
    await room.publish(steps=WAIT)
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.reached(execution.id, lambda row: row["status"] == ExecutionStatus.WAITING)
    return execution.id


async def test_a_signal_is_an_event_with_its_actor_and_ends_the_step(room):
    one = await waiting(room)
    [step] = (await room.executions.steps(room.who, [one]))[one]
    assert (step.status, step.type, step.input) == (StepStatus.WAITING, "wait", {"signal": "go"})
    assert [each.status for each in step.attempts] == [StepStatus.WAITING]

    told = await room.executions.messages.signal(room.who, one, "go", {"n": 1})
    assert not told.status.is_terminal or told.status is ExecutionStatus.COMPLETED
    await room.engine.finished(one)

    [step] = (await room.executions.steps(room.who, [one]))[one]
    assert (step.status, step.output) == (StepStatus.COMPLETED, {"n": 1})
    assert step.input_hash is not None
    assert step.output_hash is not None
    [event] = await room.executions.events(room.who, one, kinds=[EventKind.SIGNAL_RECEIVED])
    assert event.field("actor")["subject"] == room.who.actor.subject


async def test_the_same_key_sends_one_signal(room):
    await room.publish(steps=WAIT)
    execution = await room.enqueue()
    signal = room.executions.messages.signal

    await asyncio.gather(*(signal(room.who, execution.id, "go", 1, key="k") for _ in range(3)))
    with pytest.raises(IdempotencyConflict):
        await signal(room.who, execution.id, "go", 2, key="k")

    assert len((await room.engine.store.messages([execution.id]))[execution.id]) == 1


async def test_what_has_ended_is_told_nothing_and_its_state_is_named(room):
    one = await waiting(room)
    await room.executions.messages.signal(room.who, one, "go")
    await room.engine.finished(one)

    for asking in (
        room.executions.messages.signal(room.who, one, "go", key="k"),
        room.executions.messages.pause(room.who, one),
        room.executions.messages.resume(room.who, one),
    ):
        with pytest.raises(InvalidState, match="it is completed") as caught:
            await asking
        assert caught.value.reason == "EXECUTION_FINISHED"


@pytest.mark.parametrize(
    ("name", "payload", "error", "reason"),
    [
        ("", 1, BadInput, "SIGNAL_NAME"),
        (" ", 1, BadInput, "SIGNAL_NAME"),
        ("n" * 201, 1, BadInput, "SIGNAL_NAME"),
        ("go", "x" * 32_768, PayloadTooLarge, "PAYLOAD_TOO_LARGE"),
        ("go", {"a": ["\0"]}, BadInput, "NOT_STORABLE"),
        ("go", 2**70, BadInput, "NOT_STORABLE"),
    ],
)
async def test_what_can_not_be_a_signal_is_refused(room, name, payload, error, reason):
    await room.publish(steps=WAIT)
    execution = await room.enqueue()

    with pytest.raises(error) as caught:
        await room.executions.messages.signal(room.who, execution.id, name, payload)

    assert caught.value.reason == reason
    assert await room.engine.store.messages([execution.id]) == {}


async def test_messages_stay_within_tenant_and_scope(room):
    await room.publish(steps=WAIT)
    one = (await room.enqueue()).id
    other = make.principal(make.OTHER_TENANT)
    reader = make.principal(scopes=frozenset({"executions:read"}))
    messages = room.executions.messages

    for who, error in ((other, NotFound), (reader, Denied)):
        for asking in (
            messages.signal(who, one, "go"), messages.pause(who, one), messages.resume(who, one),
        ):  # fmt: skip
            with pytest.raises(error):
                await asking
    assert await room.engine.store.messages([one]) == {}


async def test_there_is_an_end_to_what_an_execution_is_told(room, monkeypatch):
    monkeypatch.setattr(message, "MAX_MESSAGES", 2)
    await room.publish(steps=WAIT)
    execution = await room.enqueue()
    for _ in range(2):
        await room.executions.messages.signal(room.who, execution.id, "x")

    with pytest.raises(InvalidState) as caught:
        await room.executions.messages.signal(room.who, execution.id, "x")
    assert caught.value.reason == "TOO_MANY_MESSAGES"
    assert len((await room.engine.store.messages([execution.id]))[execution.id]) == 2
    cancelled = await room.executions.messages.cancel(room.who, execution.id)
    assert cancelled.state is ExecutionState.CANCELLING


async def test_what_is_paused_can_be_resumed_however_much_it_was_told(room, monkeypatch):
    monkeypatch.setattr(message, "MAX_MESSAGES", 2)
    one, messages = await waiting(room), room.executions.messages
    await messages.pause(room.who, one)
    await room.engine.reached(one, lambda row: row["wait"] == WaitKind.PAUSED)
    await messages.signal(room.who, one, "go")

    await messages.resume(room.who, one)

    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    with pytest.raises(InvalidState) as caught:
        await messages.resume(room.who, one)
    assert caught.value.reason == "EXECUTION_FINISHED"


async def test_a_message_does_not_begin_what_is_to_begin_later(room):
    await room.publish(steps=WAIT)
    room.engine.worker()
    messages, later = room.executions.messages, make.now() + timedelta(hours=1)
    one, other = [(await room.enqueue(run_at=later)).id for _ in range(2)]

    await messages.signal(room.who, one, "go", {"n": 1})
    await messages.pause(room.who, one)
    await messages.resume(room.who, one)
    await messages.cancel(room.who, other)

    assert await room.engine.finished(other) is ExecutionStatus.CANCELLED
    row = await room.engine.row(one)
    assert (row["status"], row["wait"], row["wake_at"]) == (3, WaitKind.TIMER, later)
    await room.engine.sql.execute(
        "update workflow_executions set wake_at = now() where id = $1", one
    )
    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    [step] = (await room.executions.steps(room.who, [one]))[one]
    assert step.output == {"n": 1}


async def test_the_more_an_execution_was_told_the_smaller_is_what_it_takes(room, monkeypatch):
    monkeypatch.setattr(message, "MESSAGE_BYTES", 8_000)
    await room.publish(steps=WAIT)
    execution = await room.enqueue()
    signal = room.executions.messages.signal
    for _ in range(3):
        await signal(room.who, execution.id, "x", "y" * 2_000)

    with pytest.raises(PayloadTooLarge, match="has got 3 messages") as caught:
        await signal(room.who, execution.id, "x", "y" * 2_000)
    for _ in range(9):
        await signal(room.who, execution.id, "x", "y" * 700)

    assert caught.value.reason == "TOO_MUCH_SAID"
    assert len((await room.engine.store.messages([execution.id]))[execution.id]) == 12


async def test_pause_and_resume_are_idempotent_and_carry_actor_and_reason(room):
    one = await waiting(room)
    messages = room.executions.messages

    await messages.pause(room.who, one, reason="look", key="p")
    await room.engine.reached(one, lambda row: row["wait"] == 5)
    found = await room.executions.find(room.who, one)
    again = await messages.pause(room.who, one, reason="again")
    assert found.state is again.state is ExecutionState.PAUSED
    assert await room.engine.store.messages([one]) == {}
    await messages.resume(room.who, one, reason="go")
    await messages.resume(room.who, one, reason="go")
    await messages.signal(room.who, one, "go")

    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    kinds = [EventKind.EXECUTION_PAUSED, EventKind.EXECUTION_RESUMED]
    events = await room.executions.events(room.who, one, kinds=kinds)
    assert [(e.kind, e.field("reason")) for e in events] == [
        (EventKind.EXECUTION_PAUSED, "look"),
        (EventKind.EXECUTION_RESUMED, "go"),
    ]
    assert all(e.field("actor")["subject"] == room.who.actor.subject for e in events)
