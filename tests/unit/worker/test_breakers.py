"""What a worker remembers of targets that failed ends, so that there is always room for those that fail now."""

from __future__ import annotations

import pytest

from runtime.clock import ManualClock
from runtime.engine.event import StepError
from runtime.model.breaker import BreakerKey
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
