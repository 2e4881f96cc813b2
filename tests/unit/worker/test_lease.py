"""What a worker may believe of its own lease."""

from __future__ import annotations

from runtime.clock import ManualClock
from runtime.worker.lease import Lease


def lease(clock):
    return Lease(clock, seconds=4.0, margin_seconds=1.5)


def test_calls_begin_only_while_the_margin_is_left():
    clock = ManualClock()
    made = lease(clock)

    clock.move(2.5)
    assert made.allows_calls
    clock.move(0.001)
    assert not made.allows_calls


def test_it_is_over_when_the_database_may_think_so():
    clock = ManualClock()
    made = lease(clock)

    clock.move(3.999)
    assert not made.is_over
    clock.move(0.001)
    assert made.is_over


def test_it_counts_from_before_the_beat_was_sent():
    clock = ManualClock()
    made = lease(clock)
    clock.move(1.0)
    sent_at = clock.monotonic()
    clock.move(2.0)

    left = made.renewed(sent_at)

    assert left == 1.0
    assert made.remaining == 2.0


def test_a_late_answer_to_an_old_beat_does_not_shorten_it():
    clock = ManualClock()
    made = lease(clock)
    clock.move(2.0)
    made.renewed(2.0)

    made.renewed(1.0)

    assert made.remaining == 4.0


def test_nothing_begins_while_its_session_is_lost_and_it_lasts_as_long_as_before():
    clock = ManualClock()
    made = lease(clock)

    made.doubted()
    while_lost = (made.allows_calls, made.is_over, made.remaining)
    made.renewed(clock.monotonic())

    assert while_lost == (False, False, 4.0)
    assert made.allows_calls
