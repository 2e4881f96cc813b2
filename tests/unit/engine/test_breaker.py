"""The breaker of one target, moment by moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.breaker import Breaker, is_outage
from runtime.engine.event import StepError
from runtime.model.breaker import BreakerRule, BreakerState
from runtime.model.errors import StepErrorKind

RULE = BreakerRule(
    failures=3, window_seconds=10.0, open_seconds=5.0, longest_seconds=15.0, probes=2
)


def opened() -> Breaker:
    breaker = Breaker(RULE)
    assert [breaker.failed(0.0) for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_after_so_many_failures_within_the_window():
    breaker = opened()

    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.seconds_until_call(1.0) == 4.0


def test_failures_that_lie_far_apart_do_not_open_it():
    breaker = Breaker(RULE)

    assert not any(breaker.failed(6.0 * number) for number in range(20))
    assert breaker.seconds_until_call(120.0) == 0.0


def test_a_success_between_them_starts_the_count_anew():
    breaker = Breaker(RULE)
    breaker.failed(0.0)
    breaker.failed(0.0)
    breaker.succeeded(1.0)

    assert not breaker.failed(2.0)


def test_half_open_lets_a_few_through_and_no_more():
    breaker = opened()

    assert [breaker.seconds_until_call(5.0) for _ in range(4)] == [0.0, 0.0, 1.0, 1.0]
    assert breaker.state(5.0) is BreakerState.HALF_OPEN


def test_a_probe_that_succeeds_closes_it():
    breaker = opened()
    breaker.seconds_until_call(5.0)

    assert breaker.succeeded(5.5)
    assert breaker.state(5.5) is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_longer_up_to_the_longest():
    breaker, now, waits = opened(), 5.0, []
    for _ in range(3):
        assert breaker.seconds_until_call(now) == 0.0
        assert breaker.failed(now)
        waits.append(breaker.seconds_until_call(now))
        now += waits[-1]

    assert waits == [10.0, 15.0, 15.0]


def test_a_probe_that_is_lost_does_not_hold_its_place_for_ever():
    breaker = opened()
    assert [breaker.seconds_until_call(5.0) for _ in range(3)] == [0.0, 0.0, 1.0]

    assert breaker.seconds_until_call(10.0) == 0.0


def test_what_began_before_it_opened_does_not_close_it():
    breaker = opened()

    assert not breaker.succeeded(1.0)
    assert breaker.state(1.0) is BreakerState.OPEN


def test_what_began_before_it_opened_is_no_probe_when_it_ends_half_open():
    """A call that took longer than the breaker was open: its end was decided by the target as it was before."""
    breaker = opened()

    assert not breaker.succeeded(6.0, began=-1.0)
    assert not breaker.failed(6.0, began=-1.0)
    assert breaker.state(6.0) is BreakerState.HALF_OPEN
    assert breaker.succeeded(6.0, began=5.5)


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        (StepErrorKind.TRANSIENT, {"sent": False}, True),
        (StepErrorKind.TIMEOUT, None, True),
        (StepErrorKind.TRANSIENT, {"status": 500}, True),
        (StepErrorKind.THROTTLED, {"status": 503}, True),
        (StepErrorKind.THROTTLED, {"status": 429}, False),
        (StepErrorKind.TRANSIENT, {"status": 408}, False),
        (StepErrorKind.PERMANENT, {"status": 404}, False),
        (StepErrorKind.PERMANENT, None, None),
        (StepErrorKind.CANCELLED, None, None),
    ],
)
def test_which_failures_speak_against_the_target(kind, details, expected):
    assert is_outage(StepError("x", "x", kind, details=details)) is expected


@given(st.lists(st.tuples(st.sampled_from("fsc"), st.floats(0.0, 4.0)), max_size=60))
def test_it_never_lets_more_probes_through_than_it_may(course):
    """Whatever happens: an open breaker lets nobody through, a half-open one as many as its rule says."""
    breaker, now = Breaker(RULE), 0.0
    let_through: list[float] = []
    for kind, seconds in course:
        now += seconds
        state = breaker.state(now)
        if kind == "c":
            wait = breaker.seconds_until_call(now)
            assert (wait > 0.0) or state is not BreakerState.OPEN
            if state is BreakerState.HALF_OPEN and wait == 0.0:
                let_through = [at for at in let_through if now - at < RULE.open_seconds]
                let_through.append(now)
                assert len(let_through) <= RULE.probes
        elif kind == "f":
            breaker.failed(now)
            let_through.clear()
        else:
            breaker.succeeded(now)
            let_through.clear()
