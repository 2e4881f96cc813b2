"""Outcomes as JSON text: encoded once, for the size, the digest and the row.

What PostgreSQL can't keep (U+0000, numbers beyond 64 bits, half surrogates) is refused here, as a
failure of the step that made it; a flush that carries many executions should never meet it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from runtime.engine.event import StepError
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.values import Json

MAX_MESSAGE: Final = 4_000
MAX_DETAILS: Final = 16_384
_NUL: Final = "\\u0000"
# From here on orjson writes a float with an exponent; up to there jsonb keeps its `.0`.
_EXPONENT: Final = 1e16
_INT: Final = 2**63


def encode(value: Json, what: str, limit: int) -> tuple[str, str]:
    """The JSON text of a value, and its digest; raises StepFailed when it can't be made durable.

    Keys are sorted for the digest's sake; jsonb does not keep their order anyway.
    """
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unstorable(f"{what} can't be stored as JSON: {error}.") from error
    if len(raw) > limit:
        raise StepFailed(
            f"{what} is {len(raw)} bytes long; at most {limit} bytes are stored. "
            "Return less, or a reference to where the rest lies.",
            type="output_too_large",
            details={"bytes": len(raw), "limit": limit},
        )
    text = raw.decode()
    if _NUL in text and has_nul(value):
        raise _unstorable(f"{what} holds the character U+0000, which PostgreSQL can't store.")
    return text, _hash(raw)


def settled(value: Json) -> Json:
    """The value as jsonb gives it back, so that memory and a rebuilt state never differ.

    jsonb orders keys by length, then by bytes; it writes whole numbers without an exponent, which
    read as integers up to 64 bits; and it knows no negative zero.
    """
    if isinstance(value, dict):
        keys = sorted(value, key=_jsonb_order)
        return {key: settled(value[key]) for key in keys}
    if isinstance(value, list):
        return [settled(item) for item in value]
    if isinstance(value, float):
        if value == 0:
            return 0.0
        if value.is_integer() and abs(value) >= _EXPONENT and -_INT <= value < 2 * _INT:
            return int(value)
    return value


def _jsonb_order(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw


def digest(value: Json) -> str:
    """`sha256:...` over the value with sorted keys."""
    return _hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def copied(value: Json) -> tuple[Json, str]:
    """A copy of the value that shares nothing with it, and the digest of both."""
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return orjson.loads(raw), _hash(raw)


def text_of(value: Any) -> str:
    """JSON text of what is known to be encodable, and of what is not the best there is."""
    return orjson.dumps(value, default=str).decode()


def has_nul(value: Json) -> bool:
    """Whether a string in the value holds U+0000."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, list):
        return any(map(has_nul, value))
    if isinstance(value, dict):
        return any("\x00" in key or has_nul(item) for key, item in value.items())
    return False


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
            raw = orjson.dumps(failed.details, default=str)
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


def _hash(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def _unstorable(message: str) -> StepFailed:
    return StepFailed(message, type="output_not_storable")
