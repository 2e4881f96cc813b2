"""Retry decisions are functions of the attempt, nothing else."""

from __future__ import annotations

from uuid import UUID

import pytest

from runtime.engine.event import StepError
from runtime.engine.retry import MAX_RETRY_AFTER_SECONDS, delay_ms, idempotency_key, is_repeated
from runtime.model.errors import StepErrorKind
from runtime.model.plan import Backoff, Effect, Jitter, RetryPolicy
from runtime.model.values import Duration

ID = UUID("01930000-0000-7000-8000-000000000001")


def policy(**changes):
    base = {
        "max_attempts": 5,
        "initial": Duration(100),
        "max": Duration(10_000),
        "jitter": Jitter.NONE,
    }
    return RetryPolicy(**{**base, **changes})


def error(kind=StepErrorKind.TRANSIENT, **more):
    return StepError("Busy", "later", kind, **more)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff.FIXED, [100, 100, 100, 100]),
        (Backoff.LINEAR, [100, 200, 300, 400]),
        (Backoff.EXPONENTIAL, [100, 300, 900, 2700]),
    ],
)
def test_the_delay_grows_as_the_policy_says(backoff, delays):
    rule = policy(backoff=backoff, factor=3.0)

    assert [delay_ms(rule, error(), n, seed="s") for n in (1, 2, 3, 4)] == delays


def test_the_delay_never_exceeds_the_maximum_even_for_absurd_attempts():
    rule = policy(factor=10.0, max=Duration(5000))

    assert delay_ms(rule, error(), 100_000, seed="s") == 5000


def test_full_jitter_is_the_same_in_every_replay_and_differs_between_attempts():
    rule = policy(jitter=Jitter.FULL, backoff=Backoff.FIXED, initial=Duration(10_000))

    first = [delay_ms(rule, error(), n, seed="x") for n in range(1, 20)]

    assert first == [delay_ms(rule, error(), n, seed="x") for n in range(1, 20)]
    assert len(set(first)) > 15
    assert all(0 <= delay <= 10_000 for delay in first)


def test_a_longer_retry_after_of_the_server_is_honoured():
    assert delay_ms(policy(), error(retry_after=7.5), 1, seed="s") == 7500
    assert delay_ms(policy(), error(retry_after=0.01), 1, seed="s") == 100


def test_an_absurd_retry_after_is_capped_at_a_day():
    delay = delay_ms(policy(), error(retry_after=1e12), 1, seed="s")

    assert delay == MAX_RETRY_AFTER_SECONDS * 1000


@pytest.mark.parametrize(
    ("kind", "repeated"),
    [
        (StepErrorKind.TRANSIENT, True),
        (StepErrorKind.THROTTLED, True),
        (StepErrorKind.TIMEOUT, True),
        (StepErrorKind.PERMANENT, False),
        (StepErrorKind.CANCELLED, False),
    ],
)
def test_what_is_repeated_by_kind(kind, repeated):
    assert is_repeated(policy(), error(kind), 1, Effect.IDEMPOTENT) is repeated


@pytest.mark.parametrize(
    ("rule", "kind", "repeated"),
    [
        ({"on": ("timeout",)}, StepErrorKind.TRANSIENT, False),
        ({"on": ("timeout",)}, StepErrorKind.TIMEOUT, True),
        ({"on": ("Busy",)}, StepErrorKind.PERMANENT, True),
        ({"never_on": ("Busy",)}, StepErrorKind.TRANSIENT, False),
        ({"on": ("Busy",), "never_on": ("transient",)}, StepErrorKind.TRANSIENT, False),
    ],
)
def test_classes_of_errors_decide_when_they_are_named(rule, kind, repeated):
    assert is_repeated(policy(**rule), error(kind), 1, Effect.PURE) is repeated


def test_the_last_attempt_is_the_last():
    assert is_repeated(policy(), error(), 4, Effect.PURE)
    assert not is_repeated(policy(), error(), 5, Effect.PURE)


@pytest.mark.parametrize(
    ("kind", "on", "repeated"),
    [
        (StepErrorKind.TRANSIENT, (), False),
        (StepErrorKind.TIMEOUT, (), False),
        (StepErrorKind.THROTTLED, (), True),
        (StepErrorKind.TRANSIENT, ("Busy",), True),
    ],
)
def test_an_at_most_once_call_is_never_repeated_silently(kind, on, repeated):
    assert is_repeated(policy(on=on), error(kind), 1, Effect.AT_MOST_ONCE) is repeated


def test_the_key_of_a_call_knows_step_item_and_generation():
    keys = {idempotency_key(ID, s, i, g) for s in (0, 1) for i in (-1, 0, 1) for g in (0, 1)}

    assert len(keys) == 12
    assert idempotency_key(ID, 1, -1, 0) == f"{ID}.s.1.g0"


def test_a_stored_error_reads_back_as_it_was():
    whole = error(StepErrorKind.THROTTLED, retry_after=3.0, details={"status": 429})

    assert StepError.of_json(whole.as_json()) == whole


@pytest.mark.parametrize("strange", [None, 3, {}, {"kind": "future", "retry_after": "soon"}])
def test_a_stored_error_of_another_release_is_permanent(strange):
    assert StepError.of_json(strange).kind is StepErrorKind.PERMANENT
