"""Messages to what runs, waits or is paused, through real workers: each acts once, none is lost."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.errors import MaestroError
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.worker import signals
from tests.integration.worker.test_run import gate
from tests.integration.worker.test_waits import is_parked, mark, time_passes, wait
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

SIGNAL, PAUSE, RESUME, CANCEL = (
    InboxKind.SIGNAL, InboxKind.PAUSE, InboxKind.RESUME, InboxKind.CANCEL,
)  # fmt: skip


def is_paused(row: Any) -> bool:
    return is_parked(row) and row["wait"] == WaitKind.PAUSED


async def unread(room: EngineRoom, execution: Any) -> int:
    found: int = await room.sql.fetchval(
        "select count(*) from execution_inbox where execution_id = $1", execution
    )
    return found


async def all_read(room: EngineRoom, execution: Any) -> bool:
    return await unread(room, execution) == 0


async def test_a_signal_wakes_a_parked_step_and_becomes_its_output(room: EngineRoom):
    room.worker()
    execution = await room.enqueue(
        await room.publish([wait("w", signal="go")], outputs={"got": "{{ steps.w.output.n }}"})
    )
    await room.reached(execution, is_parked)
    row = await room.row(execution)
    assert (row["wait"], row["wake_at"]) == (WaitKind.SIGNAL, None)

    await room.tell(execution, SIGNAL, name="other", payload=None)
    await room.tell(execution, SIGNAL, name="go", payload={"n": 7})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert json.loads((await room.row(execution))["output"]) == {"got": 7}
    [result] = await room.results(execution)
    assert (result["signal"], result["code"]) == (2, "wait")
    events = await room.events(execution)
    assert (events.count("signal_received"), events.count("signal_awaited")) == (2, 1)
    assert await unread(room, execution) == 0


async def test_early_signals_are_kept_over_a_takeover_and_taken_in_order(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    steps = [
        gate("a"),
        wait("one", signal="go", depends_on=["a"]),
        wait("two", signal="go", depends_on=["one"]),
    ]
    execution = await room.enqueue(
        await room.publish(
            steps, outputs={"all": ["{{ steps.one.output }}", "{{ steps.two.output }}"]}
        )
    )
    await CALLS.begun["a"].wait()
    for n in (1, 2):
        await room.tell(execution, SIGNAL, name="go", payload=n)
    await room.until(execution, lambda: all_read(room, execution))

    CALLS.begun["a"].clear()
    room.worker()
    await room.expire("test:1")
    await CALLS.begun["a"].wait()
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert json.loads((await room.row(execution))["output"]) == {"all": [1, 2]}
    assert (await room.events(execution)).count("signal_received") == 2


async def test_without_a_signal_the_default_or_a_timeout(room: EngineRoom):
    room.worker()
    default = {"by": "{{ params.who }}"}
    steps = [
        wait("soft", signal="go", timeout="50ms", default=default),
        wait("hard", signal="go", timeout="60ms", depends_on=["soft"]),
    ]

    execution = await room.run(steps, {"who": "nobody"})

    assert await room.steps(execution) == [
        (0, 0, 1, StepStatus.COMPLETED),
        (1, 0, 1, StepStatus.TIMED_OUT),
    ]
    assert (await room.results(execution))[0]["output"] == {"by": "nobody"}
    assert json.loads((await room.row(execution))["error"])["type"] == "wait.timeout"


async def test_messages_go_with_the_checkpoint_that_acts_on_them(room: EngineRoom):
    room.worker()
    execution = await room.enqueue(await room.publish([gate("a")]))
    await CALLS.begun["a"].wait()

    await room.tell(execution, SIGNAL, name="nobody listens", payload=1)
    await room.tell(execution, RESUME, reason="nothing to resume")
    await room.until(execution, lambda: all_read(room, execution))

    assert (await room.events(execution))[-1] == "signal_received"
    CALLS.gates["a"].set()
    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def test_a_cancel_that_was_acted_on_survives_its_owner(room: EngineRoom):
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    execution = await room.enqueue(await room.publish([{**gate("a"), "uses": "probe.deaf@1"}]))
    await CALLS.begun["a"].wait()
    await room.cancel(execution)
    await room.until(execution, lambda: all_read(room, execution))

    room.worker()
    await room.expire("test:1")

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert (await room.events(execution)).count("execution_cancel_requested") == 1
    CALLS.gates["a"].set()


async def test_pause_lets_steps_end_parks_and_resume_goes_on(room: EngineRoom):
    worker = room.worker()
    steps = [gate("a"), {"id": "b", "uses": "core.noop@1", "depends_on": ["a"]}]
    execution = await room.enqueue(await room.publish(steps))
    await CALLS.begun["a"].wait()

    await room.tell(execution, PAUSE, reason="look")
    await room.until(execution, lambda: mark(room, execution, 3))
    CALLS.gates["a"].set()
    await room.reached(execution, is_paused)
    assert await room.steps(execution) == [(0, 0, 1, StepStatus.COMPLETED)]
    await worker.signals.wait(signals.PARKED)
    assert worker.executions == 0

    await room.tell(execution, PAUSE, reason="again")
    assert is_paused(await room.row(execution))
    await room.tell(execution, RESUME, reason="go")
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    events = await room.events(execution)
    assert (events.count("execution_paused"), events.count("execution_resumed")) == (1, 1)
    assert events.count("execution_started") == 1


async def test_what_comes_while_paused_waits_for_the_resume(room: EngineRoom):
    room.worker()
    steps = [wait("timer", **{"for": "1h"}), wait("bell", signal="go")]
    execution = await room.enqueue(
        await room.publish(steps, outputs={"got": "{{ steps.bell.output }}"})
    )
    await room.reached(execution, is_parked)
    await room.tell(execution, PAUSE, reason=None)
    await room.reached(execution, is_paused)
    assert (await room.row(execution))["wake_at"] is None

    await time_passes(room, execution, timedelta(hours=2))
    await room.tell(execution, SIGNAL, name="go", payload="kept")
    assert is_paused(await room.row(execution))
    assert await unread(room, execution) == 1
    await room.tell(execution, RESUME, reason=None)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert json.loads((await room.row(execution))["output"]) == {"got": "kept"}


@pytest.mark.parametrize("kind", [CANCEL, None])
async def test_what_is_paused_can_be_cancelled_and_times_out(room: EngineRoom, kind: Any):
    room.worker()
    execution = await room.enqueue(
        await room.publish([gate("a")]), hint=False, timeout_seconds=3600
    )
    await room.tell(execution, PAUSE, reason=None)
    await room.reached(execution, is_paused)
    assert CALLS.keys["a"] == []

    if kind is None:
        await time_passes(room, execution, timedelta(hours=2))
    else:
        await room.tell(execution, kind, reason="enough")

    wanted = ExecutionStatus.TIMED_OUT if kind is None else ExecutionStatus.CANCELLED
    assert await room.finished(execution) is wanted


@pytest.mark.parametrize("kind", [SIGNAL, PAUSE, RESUME, CANCEL])
@pytest.mark.parametrize("moment", ["before", "during", "behind"])
async def test_no_message_is_lost_to_a_parking_flush(
    room: EngineRoom, kind: InboxKind, moment: str
):
    """I16: the flush that parks stands still at the row, and the message comes before, during and behind it."""
    room.worker()
    steps = [gate("a"), wait("w", signal="go", depends_on=["a"])]
    execution = await room.enqueue(await room.publish(steps))
    await CALLS.begun["a"].wait()
    said = {"name": "go", "payload": 1} if kind is SIGNAL else {"reason": None}
    other = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    held = other.transaction()
    await held.start()
    # Held as a message would hold it: the parking flush waits for this row, and so does another message.
    await other.execute("select 1 from workflow_executions where id = $1 for update", execution)

    async def tell() -> None:
        await room.tell(execution, kind, **said)

    telling = asyncio.create_task(tell()) if moment == "before" else None
    if telling is not None:
        await _waiting(room, 1)
    CALLS.gates["a"].set()
    await _waiting(room, 1 + (telling is not None), like="mc_flush")
    if moment == "during":
        telling = asyncio.create_task(tell())
        await _waiting(room, 2)
    await held.rollback()
    await other.close()
    if telling is not None:
        await telling
    else:
        await room.reached(execution, is_parked)
        await tell()

    if kind is SIGNAL:
        assert await room.finished(execution) is ExecutionStatus.COMPLETED
    elif kind is CANCEL:
        assert await room.finished(execution) is ExecutionStatus.CANCELLED
    elif kind is PAUSE:
        await room.reached(execution, is_paused)
    else:
        await room.reached(execution, lambda row: is_parked(row) and row["wait"] == WaitKind.SIGNAL)
        await room.until(execution, lambda: all_read(room, execution))


@pytest.mark.parametrize("moment", ["before", "during", "behind"])
async def test_a_message_is_read_or_told_as_unread_or_refused_when_the_execution_ends(
    room: EngineRoom, moment: str
):
    """The flush that ends the execution stands still at the row, and signals come before, during and behind it."""
    room.worker()
    execution = await room.enqueue(await room.publish([gate("a")]))
    await CALLS.begun["a"].wait()
    other = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    held = other.transaction()
    await held.start()
    await other.execute("select 1 from workflow_executions where id = $1 for update", execution)

    async def tell(name: str) -> bool:
        """Whether it was accepted; nobody rings, so nobody reads it in time."""
        sent = await room.tell(execution, SIGNAL, ring=False, name=name, payload={"of": name})
        return not ExecutionStatus(sent.status).is_terminal

    telling = asyncio.create_task(tell("one")) if moment == "before" else None
    if telling is not None:
        await _waiting(room, 1)
    CALLS.gates["a"].set()
    await _waiting(room, 1 + (telling is not None), like="mc_flush")
    if moment == "during":
        telling = asyncio.create_task(tell("one"))
        await _waiting(room, 2)
    await held.rollback()
    await other.close()
    if telling is None:
        await room.finished(
            execution
        )  # Else it could still come before the flush: a free row is nobody's turn.
    is_accepted = await (telling or tell("one"))
    await room.finished(execution)

    events = await room.events(execution)
    assert is_accepted is (moment == "before")
    assert events[-2:] == (
        ["execution_completed", "message_unread"]
        if is_accepted
        else ["step_completed", "execution_completed"]
    )
    assert not await tell("two")
    assert await unread(room, execution) == 0
    if is_accepted:
        data = await room.sql.fetchval(
            "select data from execution_events where execution_id = $1 and kind = 34", execution
        )
        said = {"n": 1, "message": "signal", "name": "one", "payload": {"of": "one"}}
        assert json.loads(data).items() >= said.items()


async def _waiting(room: EngineRoom, count: int, like: str = "") -> None:
    """Until so many statements of this database wait for a lock."""
    async with asyncio.timeout(10):
        while True:
            found = await room.sql.fetch(
                "select query from pg_stat_activity where datname = current_database() "
                "and wait_event_type = 'Lock'"
            )
            if len(found) >= count and any(like in row["query"] for row in found):
                return
            await asyncio.sleep(0.01)


UNDECODABLE = {
    "a kind of a later release": (77, {"actor": {"subject": "ann"}, "what": "new"}),
    "a signal without a name": (InboxKind.SIGNAL, {"payload": 1}),
    "no object at all": (InboxKind.SIGNAL, [1]),
    "a verdict that nobody knows": (InboxKind.RESOLVE_DOUBT, {"step": 0, "decision": "perhaps"}),
}


@pytest.mark.parametrize("what", UNDECODABLE)
async def test_a_message_that_can_not_be_decoded_is_a_dead_letter_and_stops_nobody(room, what):
    """Whole, once, told in the history; what was said before and after it counts."""
    kind, data = UNDECODABLE[what]
    room.worker()
    steps = [gate("a"), wait("w", signal="go", depends_on=["a"])]
    execution = await room.enqueue(await room.publish(steps))
    await CALLS.begun["a"].wait()
    async with room.database.engine() as connection:
        await room.store.send(0, TENANT, execution, kind, data, connection)
    await room.tell(execution, SIGNAL, name="go", payload=7)
    await room.until(execution, lambda: all_read(room, execution))
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    [letter] = await room.sql.fetch("select * from dead_letters where execution_id = $1", execution)
    assert (letter["queue"], letter["reason"], letter["message"]) == ("messages", "undecodable", 1)
    said = json.loads(letter["evidence"])["message"]
    assert (said["n"], said["kind"], said["data"]) == (1, kind, data)
    told = await room.sql.fetchval(
        "select data from execution_events where execution_id = $1 and kind = 34", execution
    )
    assert json.loads(told)["dead_letter"] == f"{execution}.d.0.1"
    assert (await room.row(execution))["takeovers"] == 0


async def test_a_message_set_aside_twice_is_one_letter_and_a_dead_owner_sets_nothing_aside(room):
    """The crash between the letter and the checkpoint: whoever takes over says it again."""
    execution = await room.enqueue(await room.publish([gate("a")]), hint=False)
    epoch = await room.store.register(0, 1, "host:1", 60)
    await room.store.claim(0, 1, epoch, [execution])
    async with room.database.engine() as connection:
        await room.store.send(0, TENANT, execution, 77, {}, connection)
    error = {"type": "message.undecodable", "message": "x", "retryable": False}
    with pytest.raises(MaestroError):
        await room.store.set_aside(0, 1, epoch + 1, execution, 1, error)
    assert await room.sql.fetchval("select count(*) from dead_letters") == 0

    for _ in range(2):
        await room.store.set_aside(0, 1, epoch, execution, 1, error)

    assert await room.sql.fetchval("select count(*) from dead_letters") == 1
    assert await unread(room, execution) == 1


async def test_what_comes_while_it_ends_by_something_else_is_told_as_unread(room: EngineRoom):
    """A step has failed and a sibling does not stop at once: a pause or a cancel has no effect any more, and is told."""
    room.worker()
    bad: dict[str, Any] = {"id": "bad", "uses": "probe.flaky@1"}
    bad["with"] = {"marker": "m", "failures": 9, "kind": "permanent"}
    deaf = {"id": "a", "uses": "probe.deaf@1", "with": {"marker": "a"}}
    execution = await room.enqueue(await room.publish([deaf, bad]))
    await CALLS.begun["a"].wait()
    while "step_failed" not in await room.events(execution):
        await asyncio.sleep(0.01)

    for kind in (PAUSE, RESUME, CANCEL):
        await room.tell(execution, kind, reason=kind.word)
    await room.tell(
        execution, InboxKind.RESOLVE_DOUBT, step=0, attempt=1, generation=0, decision="made"
    )
    await room.tell(execution, SIGNAL, name="go", payload=None)
    await room.until(execution, lambda: all_read(room, execution))
    CALLS.gates["a"].set()

    assert await room.finished(execution) is ExecutionStatus.FAILED
    events = await room.events(execution)
    assert events[events.index("message_unread") :][:5] == [
        *["message_unread"] * 4,
        "signal_received",
    ]
    told = await room.sql.fetch(
        "select data from execution_events where execution_id = $1 and kind = 34 order by seq",
        execution,
    )
    said = [json.loads(row["data"]) for row in told]
    assert [(one["n"], one["message"], one.get("reason")) for one in said] == [
        (1, "pause", "pause"), (2, "resume", "resume"), (3, "cancel", "cancel"), (4, "resolve_in_doubt", None),
    ]  # fmt: skip
