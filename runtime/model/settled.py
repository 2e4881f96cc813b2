"""Values as jsonb gives them back, so that memory, rows and blobs never differ in what an expression sees."""

from __future__ import annotations

from typing import Final

from runtime.model.values import Json

# From here on orjson writes a float with an exponent; up to there jsonb keeps its `.0`.
_EXPONENT: Final = 1e16
_INT: Final = 2**63


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
