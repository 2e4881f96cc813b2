"""Token buckets: taken from both or from none, filled by Redis's own clock, and no limit while Redis is away."""

from __future__ import annotations

from uuid import uuid4

import pytest

from runtime.clock import SystemClock
from runtime.model.rate import Rate, Rates, Verdict
from runtime.queue import keys
from runtime.queue.bucket import Buckets
from runtime.queue.link import RedisLink
from tests.integration.queue.conftest import QueueRoom

SLOW = Rate(0.001, 3)


@pytest.fixture
def buckets(room: QueueRoom) -> Buckets:
    return Buckets(room.link, SystemClock())


async def test_a_burst_is_let_through_and_no_more(buckets: Buckets) -> None:
    tenant, rates = uuid4(), Rates(SLOW)

    taken = [await buckets.take(tenant, rates, 1_000) for _ in range(3)]
    lacking = await buckets.take(tenant, rates, 1)
    other = await buckets.take(uuid4(), rates, 1)

    assert taken == [Verdict()] * 3
    assert lacking is not None
    assert lacking.used_up == "requests"
    assert 900 < lacking.seconds <= 1_000
    assert other == Verdict()


async def test_what_one_bucket_lacks_is_not_taken_from_the_other(buckets: Buckets) -> None:
    tenant = uuid4()

    dear = [await buckets.take(tenant, Rates(SLOW, SLOW), 2) for _ in range(5)]
    cheap = [await buckets.take(tenant, Rates(SLOW, SLOW), 0) for _ in range(3)]

    assert [each.used_up for each in dear if each] == [None, "cost", "cost", "cost", "cost"]
    assert [each.used_up for each in cheap if each] == [None, None, "requests"]


async def test_what_is_dearer_than_the_bucket_takes_a_full_one(buckets: Buckets) -> None:
    tenant, rates = uuid4(), Rates(cost=SLOW)

    first = await buckets.take(tenant, rates, 1_000)
    second = await buckets.take(tenant, rates, 1)

    assert first == Verdict()
    assert second is not None
    assert second.used_up == "cost"


async def test_a_bucket_fills_as_time_passes(buckets: Buckets, room: QueueRoom) -> None:
    tenant, rates = uuid4(), Rates(SLOW)
    for _ in range(3):
        await buckets.take(tenant, rates, 0)

    await room.link.client.hincrby(keys.bucket(tenant), "at", -2_000_000)

    again = [await buckets.take(tenant, rates, 0) for _ in range(3)]
    assert [each.used_up for each in again if each] == [None, None, "requests"]


async def test_an_idle_bucket_goes_away(buckets: Buckets, room: QueueRoom) -> None:
    tenant = uuid4()

    await buckets.take(tenant, Rates(Rate(10, 100)), 0)

    assert 0 < await room.link.client.pttl(keys.bucket(tenant)) <= 11_000


async def test_while_redis_is_away_nobody_is_limited(room: QueueRoom) -> None:
    buckets = Buckets(RedisLink(_Away(), "nowhere", room.metrics), SystemClock())

    assert await buckets.take(uuid4(), Rates(SLOW), 0) is None


class _Away:
    """A client that nobody answers."""

    async def execute_command(self, *_: object) -> None:
        raise ConnectionError("nobody there")
