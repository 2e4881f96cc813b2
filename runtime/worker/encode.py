"""Outcomes as JSON text: encoded once, for the size, the digest and the row.

What PostgreSQL can't keep (U+0000, numbers beyond 64 bits, half surrogates) is refused here, as a
failure of the step that made it; a flush that carries many executions should never meet it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import orjson

from runtime.engine.event import StepError
from runtime.model.durable import NOT_STORABLE, about_nul, has_nul, holds_nul, no_json
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.settled import settled
from runtime.model.values import Json

MAX_MESSAGE: Final = 4_000
MAX_DETAILS: Final = 16_384
TOO_LARGE: Final = "output_too_large"
BULKY: Final = 1 << 20


class Encoded(NamedTuple):
    """A value as it will be read back, its JSON text with sorted keys, and the digest of that."""

    value: Json
    raw: bytes
    digest: str


def encode(value: Any, what: str, limit: int) -> Encoded:
    """A value ready to be stored, whatever it is; raises StepFailed when it can't be made durable.

    Keys are sorted for the digest's sake; jsonb does not keep their order anyway.
    """
    # Not `suppress`: on the path of every step, where a manager costs a fifth of the whole, and this nothing.
    try:  # noqa: SIM105
        value = settled(value)
    except (AttributeError, TypeError, ValueError, RecursionError):
        pass  # What can't be settled can't be encoded either, and the encoder says why.
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unstorable(no_json(what, error)) from error
    if len(raw) > limit:
        raise too_large(what, len(raw), limit)
    if holds_nul(raw, value):
        raise _unstorable(about_nul(what))
    return Encoded(value, raw, hash_of(raw))


def too_large(what: str, size: int, limit: int) -> StepFailed:
    """Why a value is not stored that is longer than the limit."""
    return StepFailed(
        f"{what} is {size} bytes long; at most {limit} bytes are stored. "
        "Return less, or a reference to where the rest lies, or raise MC_MAX_OUTPUT_BYTES.",
        type=TOO_LARGE,
        details={"bytes": size, "limit": limit},
    )


def is_bulky(value: Any, limit: int = BULKY) -> bool:
    """Whether a value is so large that working on it would hold up the loop; looks no further than that."""
    weight, todo = 0, [value]
    while todo:
        one = todo.pop()
        weight += len(one) if isinstance(one, str) else 8
        if weight > limit:
            return True
        if isinstance(one, dict):
            todo.extend(one)
            todo.extend(one.values())
        elif isinstance(one, list | tuple):
            todo.extend(one)
        if len(todo) * 8 > limit:
            return True
    return False


def digest(value: Json) -> str:
    """`sha256:...` over the value with sorted keys."""
    return hash_of(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def copied(value: Json) -> tuple[Json, str]:
    """A copy of the value that shares nothing with it, and the digest of both."""
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return orjson.loads(raw), hash_of(raw)


def written(value: Json) -> tuple[bytes, str] | None:
    """JSON text of which such copies are made, and the digest; None for what can't be written as JSON."""
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        return None
    return raw, hash_of(raw)


def text_of(value: Any) -> str:
    """JSON text of what is known to be encodable, and of what is not the best there is."""
    return orjson.dumps(value, default=str).decode()


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """A message that fits into a row and has no character that can't be stored."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_of(failed: StepFailed) -> StepError:
    """A connector's failure in the words of the core, cut to size."""
    details: Json = None
    if failed.details is not None:
        try:
            # As deep as they will stand in the event that tells of them, which is written by the same library.
            raw = orjson.dumps([[[failed.details]]], default=str)[3:-3]
            details = orjson.loads(raw) if len(raw) <= MAX_DETAILS else "(too large to be stored)"
        except (TypeError, ValueError, RecursionError):
            details = "(not storable as JSON)"
        if has_nul(details):
            details = "(holds U+0000, which can't be stored)"
    return StepError(
        clean(failed.type, 200),
        clean(failed.message),
        failed.kind,
        failed.retry_after,
        details,
        failed.uncertain,
    )


def stopped(reason: str) -> StepError:
    """The end of an attempt that was told to stop."""
    return StepError("step.cancelled", f"The step was stopped: {reason}.", StepErrorKind.CANCELLED)


def hash_of(raw: bytes) -> str:
    """The digest of JSON text."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def _unstorable(message: str) -> StepFailed:
    return StepFailed(message, type=NOT_STORABLE)
