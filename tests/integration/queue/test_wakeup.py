"""Bells: rung for those who listen, and for everybody when something may have been missed."""

from __future__ import annotations

import asyncio

import pytest

from tests import make


@pytest.fixture
async def ready(room):
    async with asyncio.timeout(5):
        await room.wakeup.connected.wait()


async def test_a_bell_is_rung_for_its_execution_only(room, ready):
    mine, other = make.new_id(), make.new_id()
    async with room.wakeup.listen(mine) as bell, room.wakeup.listen(other) as silent:
        room.wakeup.publish_events(0, [mine, make.new_id()])

        assert await bell.wait(2.0)
        assert not await silent.wait(0.05)


async def test_a_bell_rung_before_waiting_is_heard(room, ready):
    mine = make.new_id()
    async with room.wakeup.listen(mine) as bell, room.wakeup.listen(mine) as other:
        room.wakeup.publish_events(0, [mine])
        await other.wait(2.0)

        assert await bell.wait(0)
        assert not await bell.wait(0)


async def test_topics_have_bells_of_their_own(room, ready):
    mine = make.new_id()
    async with (
        room.wakeup.listen(mine, "events") as events,
        room.wakeup.listen(mine, "logs") as logs,
    ):
        room.wakeup.publish_logs(0, [mine])

        assert await logs.wait(2.0)
        assert not await events.wait(0.05)


async def test_owners_hear_of_messages(room, ready):
    heard: asyncio.Queue[list] = asyncio.Queue()
    stop = room.wakeup.on_inbox(lambda ids: heard.put_nowait(list(ids)))
    ids = [make.new_id(), make.new_id()]

    room.wakeup.publish_inbox(0, ids)

    assert await asyncio.wait_for(heard.get(), 2) == ids
    stop()


async def test_a_broken_connection_rings_every_bell(room, ready):
    async with room.wakeup.listen(make.new_id()) as bell:
        await bell.wait(0)

        await room.link.client.client_kill_filter(_type="pubsub")

        assert await bell.wait(5.0)


async def test_bells_that_nobody_holds_are_forgotten(room, ready):
    async with room.wakeup.listen(make.new_id()):
        pass

    assert not room.wakeup._bells


async def test_closing_wakes_who_waits(room):
    async with room.wakeup.listen(make.new_id()) as bell:
        waiting = asyncio.create_task(bell.wait(30))
        await asyncio.sleep(0)

        await room.wakeup.close()

        assert await asyncio.wait_for(waiting, 2)
