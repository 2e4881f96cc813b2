"""Whether a failed attempt is repeated, after how long, and under which key a call repeats itself.

All three are functions of their arguments: the jitter is a hash of the attempt, so that a replay on
another worker computes the same delay, and the Idempotency-Key does not know the attempt at all.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from runtime.engine.event import StepError
from runtime.model.errors import StepErrorKind
from runtime.model.ids import step_text
from runtime.model.plan import Backoff, Effect, Jitter, RetryPolicy

MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
MAX_DEFERRALS: Final = 20
_LONGEST_DEFERRAL_MS: Final = 300_000


def is_repeated(policy: RetryPolicy, error: StepError, attempt: int, effect: Effect) -> bool:
    """Whether the policy wants another attempt after this error.

    `on` and `never_on` name types or kinds of errors. A permanent error is repeated only when its
    type is named in `on`. An at-most-once call is repeated only when the other side refused it
    (throttled), when it certainly was not made, or the error is named in `on`: never silently.
    """
    if attempt >= policy.max_attempts or error.kind is StepErrorKind.CANCELLED:
        return False
    if _names(policy.never_on, error):
        return False
    if policy.on:
        return _names(policy.on, error)
    if effect is Effect.AT_MOST_ONCE:
        return error.kind is StepErrorKind.THROTTLED or (
            error.uncertain is False and error.is_retryable
        )
    return error.is_retryable


def delay_ms(policy: RetryPolicy, error: StepError, attempt: int, *, seed: str) -> int:
    """Milliseconds between the end of this attempt and the next one."""
    base = policy.initial.milliseconds
    match policy.backoff:
        case Backoff.FIXED:
            delay = float(base)
        case Backoff.LINEAR:
            delay = float(base) * attempt
        case Backoff.EXPONENTIAL:
            delay = base * _power(policy.factor, attempt - 1, policy.max.milliseconds)
    delay = min(delay, float(policy.max.milliseconds))
    if policy.jitter is Jitter.FULL:
        delay *= fraction(f"{seed}:{attempt}")
    if error.retry_after is not None:
        delay = max(delay, min(error.retry_after, MAX_RETRY_AFTER_SECONDS) * 1000)
    return round(delay)


def deferral_ms(error: StepError, times: int, *, seed: str) -> int:
    """Milliseconds until an attempt that made no call is tried again, the `times`-th time in a row.

    Never before what stands in the way may be gone; then longer each time, so that 20 deferrals are
    more than an hour, and spread, so that not all that waited come at the same moment.
    """
    grown = min(1_000.0 * 2.0 ** (times - 1), _LONGEST_DEFERRAL_MS)
    spread = grown * (0.5 + fraction(f"{seed}:deferred:{times}") / 2)
    return round(max((error.retry_after or 0.0) * 1_000, spread))


def fraction(text: str) -> float:
    """A number from 0 (inclusive) to 1 (exclusive) that depends on nothing but the text."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def idempotency_key(execution_id: UUID, step: int, item: int, generation: int) -> str:
    """The key under which a step calls the outside: equal over attempts, workers and takeovers."""
    return f"{step_text(execution_id, step, item)}.g{generation}"


def _names(words: tuple[str, ...], error: StepError) -> bool:
    return any(word in {error.type, error.kind.value} for word in words)


def _power(factor: float, exponent: int, limit: int) -> float:
    """`factor ** exponent` without overflow: growth stops far above any limit."""
    try:
        return min(factor**exponent, float(limit) + 1)
    except OverflowError:
        return float(limit) + 1
