"""What a worker remembers of targets that failed ends, so that there is always room for those that fail now."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.clock import ManualClock
from runtime.engine.event import StepError
from runtime.model.breaker import BreakerKey, OpenBreaker
from runtime.model.errors import StepErrorKind
from runtime.telemetry.metrics import Metrics
from runtime.worker import breaker
from tests.make import TENANT

AWAY = StepError("away", "away", StepErrorKind.TRANSIENT)


def test_targets_that_failed_long_ago_take_no_place_from_those_that_fail_now(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(breaker, "MOST_KNOWN", 3)
    clock = ManualClock()
    breakers = breaker.Breakers(None, metrics=Metrics(), clock=clock)
    for number in range(3):
        breakers.ended(BreakerKey(TENANT, "http.request", f"once-{number}"), AWAY)
    clock.move(breaker.RULE.window_seconds + 1)
    key = BreakerKey(TENANT, "http.request", "now")

    for _ in range(breaker.RULE.failures):
        breakers.ended(key, AWAY)

    assert breakers.refusal(key) is not None


class Told:
    """What Redis says of open breakers; None while it is away."""

    def __init__(self, key: BreakerKey) -> None:
        self.answer: list[OpenBreaker] | None = [OpenBreaker(key, 60.0, 1.0, 10)]

    async def open_ones(self) -> list[OpenBreaker] | None:
        return self.answer


async def test_while_redis_is_away_what_was_open_stays_open_and_when_it_forgot_nothing_is():
    key = BreakerKey(TENANT, "http.request", "shop")
    told: Any = Told(key)
    breakers = breaker.Breakers(told, metrics=Metrics(), clock=ManualClock())
    await breakers.hear()

    told.answer = None
    await breakers.hear()
    assert breakers.refusal(key) is not None

    told.answer = []
    await breakers.hear()
    assert breakers.refusal(key) is None


def test_a_slow_call_from_before_it_opened_does_not_close_it_for_all():
    clock = ManualClock()
    breakers = breaker.Breakers(None, metrics=Metrics(), clock=clock)
    key, began = BreakerKey(TENANT, "http.request", "slow"), clock.monotonic()
    clock.move(1.0)
    for _ in range(breaker.RULE.failures):
        breakers.ended(key, AWAY, clock.monotonic())
    clock.move(breaker.RULE.open_seconds + 1)

    breakers.ended(key, None, began)

    assert [breakers.refusal(key) is None for _ in range(2)] == [True, False]
