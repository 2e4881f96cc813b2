"""Streams of hints: the important first, each to one worker, and nothing breaks when Redis forgets."""

from __future__ import annotations

import asyncio

import pytest

from runtime.model.errors import SetupError, Unavailable
from runtime.queue import keys, link, stream
from runtime.queue.link import RedisLink
from runtime.telemetry.metrics import Metrics
from tests import make


@pytest.fixture
async def groups(room):
    """The groups exist already."""
    await room.queue.read(0, "nobody", 1, 0)


def _ids(entries):
    return [entry.execution_id for entry in entries]


async def test_the_first_read_makes_the_groups_and_waits(room):
    execution = make.new_id()
    reading = asyncio.create_task(room.queue.read(0, "c", 10, 5_000))

    room.queue.add(0, [(execution, 1)])

    assert _ids(await reading) == [execution]


async def test_the_important_come_first(room, groups):
    low, normal, high = (make.new_id() for _ in range(3))
    room.queue.add(
        0, [(low, keys.class_of(-1)), (normal, keys.class_of(0)), (high, keys.class_of(7))]
    )
    await room.link.drained()

    found = await room.queue.read(0, "c", 10, 1_000)

    assert _ids(found) == [high, normal, low]


async def test_no_more_than_asked_for(room, groups):
    room.queue.add(0, [(make.new_id(), n % 3) for n in range(30)])
    await room.link.drained()

    found = await room.queue.read(0, "c", 7, 1_000)

    assert len(found) == 7


async def test_each_entry_goes_to_one_reader(room, groups):
    ids = [make.new_id() for _ in range(40)]
    room.queue.add(0, [(execution, 1) for execution in ids])
    await room.link.drained()

    one, two = await asyncio.gather(
        room.queue.read(0, "a", 25, 100), room.queue.read(0, "b", 25, 100)
    )

    assert sorted(_ids(one + two)) == sorted(ids)


async def test_acknowledged_entries_are_gone(room, groups):
    room.queue.add(0, [(make.new_id(), 1) for _ in range(5)])
    await room.link.drained()
    found = await room.queue.read(0, "c", 10, 1_000)

    room.queue.ack(found)
    await room.link.drained()

    assert (len(found), await room.queue.depth(0)) == (5, 0)


async def test_what_was_given_back_is_delivered_to_another_in_its_class(room, groups):
    important, usual = make.new_id(), make.new_id()
    room.queue.add(0, [(usual, 1), (important, 0)])
    await room.link.drained()

    room.queue.give_back(await room.queue.read(0, "lost", 10, 1_000))
    await room.link.drained()

    assert await room.queue.depth(0) == 2
    assert _ids(await room.queue.read(0, "living", 10, 0)) == [important, usual]


async def test_an_empty_queue_waits_no_longer_than_told(room, groups):
    loop = asyncio.get_running_loop()
    begun = loop.time()

    assert await room.queue.read(0, "c", 10, 200) == []
    assert 0.15 < loop.time() - begun < 1.5


async def test_what_a_dead_worker_held_goes_to_another(room, groups, monkeypatch):
    execution = make.new_id()
    room.queue.add(0, [(execution, 1)])
    await room.queue.read(0, "dead", 10, 1_000)
    monkeypatch.setattr(stream, "_ABANDONED_MS", 0)
    other = stream.RedisQueue(room.link)

    assert _ids(await other.read(0, "living", 10, 0)) == [execution]


async def test_a_flushed_redis_is_refilled(room, groups):
    await room.link.client.flushdb()
    execution = make.new_id()

    room.queue.add(0, [(execution, 1)])

    assert _ids(await room.queue.read(0, "c", 10, 2_000)) == [execution]


async def test_consumers_that_are_long_gone_are_forgotten(room, groups, monkeypatch):
    monkeypatch.setattr(stream, "_FORGET_CONSUMER_MS", -1)
    room.queue.add(0, [(make.new_id(), 1)])
    await room.queue.read(0, "gone", 10, 1_000)
    await room.queue.forget_consumers(0)

    names = {
        row["name"] for row in await room.link.client.xinfo_consumers(keys.stream(0, 1), keys.GROUP)
    }

    assert names == {b"gone"}, "it holds an entry"


async def test_a_server_that_is_not_there_is_named():
    with pytest.raises(Unavailable, match=r"Redis at 127\.0\.0\.1:1 does not answer"):
        await RedisLink.open("redis://:hidden@127.0.0.1:1/0", metrics=Metrics())


@pytest.mark.parametrize(
    ("version", "is_old"), [("6.0.16", True), ("5.0", True), ("6.2.0", False), ("7.2.4", False)]
)
def test_old_servers_are_refused_by_name(version, is_old):
    def judge():
        link._refuse_old({"redis_version": version})

    if is_old:
        with pytest.raises(SetupError, match=f"Redis {version}; 6.2 or newer"):
            judge()
    else:
        judge()


def test_names_keep_a_shard_on_one_node():
    names = [*keys.streams(7), keys.channel(7, "events")]

    assert all(name.startswith("mc:{7}:") for name in names)


@pytest.mark.parametrize("fields", [("id", "no id"), ("id", b"\xff\xfe"), ("other", "x")])
async def test_a_message_that_names_no_execution_is_counted_and_deleted(room, groups, fields):
    execution = make.new_id()
    await room.link.client.xadd(keys.stream(0, 1), dict([fields]))
    room.queue.add(0, [(execution, 1)])
    await room.link.drained()

    found = await room.queue.read(0, "c", 10, 1_000)
    room.queue.ack(found)
    await room.link.drained()

    assert _ids(found) == [execution]
    assert await room.queue.depth(0) == 0
    assert room.metrics.undecodable._value.get() == 1
