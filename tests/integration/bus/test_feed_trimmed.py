"""The feed is kept for the slowest handler, but not for ever; health tells of each handler."""

from __future__ import annotations

from runtime.scheduler.feed import Feed
from runtime.services.health import HealthService
from runtime.store.shards import Shards
from tests.integration.bus.conftest import Recorder
from tests.integration.store.conftest import until


async def test_what_every_handler_has_had_goes(room):
    quick, slow = Recorder("quick"), Recorder("slow")
    bus = await room.start(quick, slow)
    await room.holds(bus, 2)
    await room.store.queue(3)
    await quick.has(3)
    await slow.has(3)
    await until(lambda: _trimmed(room))

    slow.gate.clear()
    slow.begun.clear()
    await room.store.queue(1)
    await slow.begun.wait()
    await quick.has(4)
    await Feed(room.bus_store).run()
    kept = await room.store.count("event_feed")
    slow.gate.set()
    await slow.has(4)

    assert kept == 1
    await until(lambda: _trimmed(room))


async def _trimmed(room):
    await Feed(room.bus_store).run()
    return await room.store.count("event_feed") == 0


async def test_a_handler_that_was_away_too_long_is_told_so(room):
    before, after = Recorder("away"), Recorder("away")
    one = await room.start(before)
    await room.holds(one)
    await room.stop(one)
    await room.store.queue(2)
    await room.store.sql.execute("update event_feed set at = now() - interval '4 days'")
    last = await room.store.sql.fetchval("select max(at) from event_feed")

    await Feed(room.bus_store).run()
    (later,) = await room.store.queue(1)
    await room.start(after)
    await after.has(1)

    assert after.missed_until == [last]
    assert [event.subject for event in after.told] == [later]
    assert await room.store.sql.fetchval("select missed_until from event_cursors") is None


async def test_a_handler_that_runs_and_is_too_slow_is_told_so_without_being_begun_anew(room):
    handler = Recorder("slow")
    bus = await room.start(handler)
    await room.holds(bus)
    handler.gate.clear()
    (first,) = await room.store.queue(1)
    await handler.begun.wait()
    await room.store.queue(1)
    await room.store.sql.execute("update event_feed set at = now() - interval '4 days'")

    await Feed(room.bus_store).run()
    handler.gate.set()
    await until(lambda: _knows(room))
    (later,) = await room.store.queue(1)
    await handler.has(2)

    assert len(handler.missed_until) == 1
    assert [event.subject for event in handler.told] == [first, later]


async def _knows(room):
    return await room.store.sql.fetchval("select missed_until is null from event_cursors")


async def test_without_handlers_the_feed_empties_itself(room):
    handler = Recorder("gone")
    bus = await room.start(handler)
    await room.holds(bus)
    handler.gate.clear()
    await room.store.queue(2)
    await handler.begun.wait()
    handler.gate.set()
    await room.stop(bus)
    await room.store.sql.execute(
        "update event_cursors set lease_until = now() - interval '15 days'"
    )

    await Feed(room.bus_store).run()
    await Feed(room.bus_store).run()

    assert await room.store.count("event_cursors") == 0
    assert await room.store.count("event_feed") == 0


async def test_health_says_how_each_handler_does(room):
    handler = Recorder("watched")
    bus = await room.start(handler)
    await room.holds(bus)
    handler.gate.clear()
    await room.store.queue(1)
    await handler.begun.wait()
    await room.store.sql.execute("update event_feed set at = now() - interval '1 hour'")
    health = HealthService(
        shards=Shards.single(room.store.database),
        link=room.wakeup._link,
        metrics=room.store.metrics,
    )

    (behind,) = await health.handlers()
    handler.gate.set()
    await handler.has(1)
    await room.stop(bus)
    (not_run,) = await health.handlers()

    assert (behind["handler"], behind["status"]) == ("watched", "ok")
    assert float(str(behind["lag_seconds"])) >= 3600
    assert (not_run["status"], not_run["lag_seconds"]) == ("not_run", 0)
