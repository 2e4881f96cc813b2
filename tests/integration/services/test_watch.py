"""Streams: replay, then live; no gap, no duplicate, an end."""

from __future__ import annotations

import asyncio

import pytest

from runtime.model.errors import NotFound
from runtime.model.event import EventKind
from runtime.services import watch
from runtime.services.watch import went_on
from runtime.store.log import LogRow, LogWriter
from tests import make
from tests.integration.services.conftest import NOOP

THREE = [
    NOOP,
    {**NOOP, "id": "two", "depends_on": ["one"]},
    {**NOOP, "id": "three", "depends_on": ["two"]},
]
FAIL = {"id": "bad", "uses": "core.fail@1", "with": {"message": "no"}}


async def _all(stream, seconds=15.0):
    async with asyncio.timeout(seconds):
        return [item async for item in stream]


async def test_a_stream_from_the_start_sees_everything_and_ends(room):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    watching = asyncio.create_task(_all(room.executions.watch(room.who, execution.id)))

    room.engine.worker()
    found = await watching

    stored = await room.executions.events(room.who, execution.id, limit=1_000)
    assert found == stored
    assert found[-1].kind is EventKind.EXECUTION_COMPLETED


@pytest.mark.parametrize(("after", "held"), [(0, 256), (1, 2), (4, 256), (999, 2)])
async def test_a_stream_after_the_end_replays_from_its_cursor(room, monkeypatch, after, held):
    monkeypatch.setattr(watch, "_HELD", held)
    await room.publish(steps=THREE)
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.finished(execution.id)

    found = await _all(room.executions.watch(room.who, execution.id, after=after))

    stored = await room.executions.events(room.who, execution.id, limit=1_000)
    assert found == [event for event in stored if event.sequence > after]


async def test_kinds_restrict_what_is_shown_not_when_it_ends(room):
    await room.publish(steps=THREE)
    room.engine.worker()
    execution = await room.enqueue()

    wanted = [EventKind.STEP_COMPLETED]
    found, same = await asyncio.gather(
        *(_all(room.executions.watch(room.who, execution.id, kinds=wanted)) for _ in range(2))
    )

    assert found == same
    assert [event.field("key") for event in found] == ["one", "two", "three"]


async def test_many_streams_of_many_executions_miss_nothing(room):
    await room.publish(steps=THREE)
    ids = [(await room.enqueue()).id for _ in range(20)]
    watching = [asyncio.create_task(_all(room.executions.watch(room.who, one))) for one in ids * 2]

    room.engine.worker()
    found = await asyncio.gather(*watching)

    assert all([e.sequence for e in events] == list(range(1, len(events) + 1)) for events in found)
    assert {events[-1].kind for events in found} == {EventKind.EXECUTION_COMPLETED}


async def test_who_watch_the_same_share_one_reader_and_its_records(room):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    records, reads = room.executions._watcher._records, []
    read = records.status_and_events

    async def counted(*given, **more):
        reads.append(given)
        return await read(*given, **more)

    records.status_and_events = counted
    watching = [
        asyncio.create_task(_all(room.executions.watch(room.who, execution.id))) for _ in range(50)
    ]

    room.engine.worker()
    first, *others = await asyncio.gather(*watching)

    assert len(reads) < 40
    assert all(one is same for other in others for one, same in zip(first, other, strict=True))
    assert room.executions._watcher._tails == {}


async def test_a_slow_one_reads_for_itself_what_is_not_held_any_more(room, monkeypatch):
    monkeypatch.setattr(watch, "_HELD", 2)
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    slow = room.executions.watch(room.who, execution.id)
    first = await anext(slow)

    room.engine.worker()
    quick = await _all(room.executions.watch(room.who, execution.id))

    assert [first, *await _all(slow)] == quick
    assert [event.sequence for event in quick] == list(range(1, len(quick) + 1))


async def test_a_stream_goes_on_into_the_next_generation(room):
    await room.publish(steps=[FAIL])
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.finished(execution.id)
    before = await room.executions.events(room.who, execution.id, limit=1_000)

    await room.executions.retry(room.who, execution.id)
    found = await _all(room.executions.watch(room.who, execution.id, after=before[-1].sequence))

    assert found[0].kind is EventKind.EXECUTION_RETRIED
    assert found[-1].kind is EventKind.EXECUTION_FAILED


async def test_a_stream_without_redis_polls(room, redis_url):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    await room.engine.link.client.flushdb()
    await room.engine.wakeup.close()

    watching = asyncio.create_task(_all(room.executions.watch(room.who, execution.id)))
    room.engine.worker()

    assert (await watching)[-1].kind is EventKind.EXECUTION_COMPLETED


async def test_a_stream_survives_cut_connections(room):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    stream = room.executions.watch(room.who, execution.id)
    first = await anext(stream)
    await room.engine.sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )

    room.engine.worker()
    rest = await _all(stream, 40)

    assert first.sequence == 1
    assert [event.sequence for event in rest] == list(range(2, len(rest) + 2))


async def test_a_stream_of_nothing_is_not_found(room):
    with pytest.raises(NotFound):
        await _all(room.executions.watch(room.who, make.new_id()))


async def test_a_stream_of_another_tenant_is_not_found(room):
    await room.publish()
    execution = await room.enqueue()

    with pytest.raises(NotFound):
        await _all(room.executions.watch(make.principal(make.OTHER_TENANT), execution.id))


async def test_leaving_a_stream_leaves_nothing_behind(room):
    await room.publish()
    execution = await room.enqueue()
    before = room.engine.metrics.registry.get_sample_value("maestro_subscribers")
    stream = room.executions.watch(room.who, execution.id)
    await anext(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await stream.aclose()

    assert room.engine.metrics.registry.get_sample_value("maestro_subscribers") == before == 0
    assert not room.engine.wakeup._bells


async def test_logs_are_followed_to_the_end(room):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    writer = LogWriter(
        room.engine.database, 0, wakeup_publish=lambda ids: room.engine.wakeup.publish_logs(0, ids)
    )
    following = asyncio.create_task(_all(room.executions.follow_logs(room.who, execution.id)))

    for number in range(600):
        writer.write(
            LogRow(make.TENANT, execution.id, number % 3, -1, 0, 1, "info", f"line {number}", None)
        )
    await writer.close()
    room.engine.worker()
    found = await following

    assert [line.position for line in found] == list(range(1, 601))
    assert [line.message for line in found][:2] == ["line 0", "line 1"]


async def test_logs_of_one_step(room):
    await room.publish(steps=THREE)
    execution = await room.enqueue()
    writer = LogWriter(room.engine.database, 0, wakeup_publish=lambda _: None)
    for step in (0, 1, 2, 1):
        writer.write(
            LogRow(make.TENANT, execution.id, step, -1, 0, 1, "info", f"of {step}", '{"a": 1}')
        )
    await writer.close()

    found = await room.executions.logs(room.who, execution.id, step_key="two")

    assert [(line.position, line.message, line.fields) for line in found] == [
        (2, "of 1", {"a": 1}),
        (4, "of 1", {"a": 1}),
    ]


async def test_a_retry_between_status_and_events_does_not_end_a_stream(room):
    gate = {"id": "g", "uses": "probe.gate@1", "with": {"marker": "retried"}}
    await room.publish(steps=[gate])
    execution = (await room.enqueue()).id
    room.engine.worker()
    await room.engine.reached(execution, lambda row: row["status"] == 1)
    await room.executions.messages.cancel(room.who, execution)
    await room.engine.finished(execution)
    await room.executions.retry(room.who, execution)
    await room.engine.reached(execution, lambda row: row["status"] == 1)
    # What the watcher saw when it had read the status before the retry, and the events after it.
    found = await room.executions.events(room.who, execution, limit=1_000)

    assert went_on(found)
    assert not went_on([e for e in found if e.sequence <= _end_of(found)])


def _end_of(events):
    return max(event.sequence for event in events if event.kind.ends_execution)
