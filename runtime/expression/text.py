"""Values as text and back: what stands in a string when an expression is written into it.

Text is itself; everything else looks as JSON writes it (`true`, `null`, `{"a":1}`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from runtime.expression.budget import Meter, weigh
from runtime.expression.error import ExpressionError

_MAX_INTEGER: Final = 2**63 - 1
_MAX_DIGITS: Final = 20
_INTEGER_BYTES: Final = 8


def to_text(value: Any, meter: Meter) -> str:
    """The text of a value inside other text."""
    if type(value) is str:
        return value
    if type(value) is int:
        meter.produce(_INTEGER_BYTES)
        return str(
            value
        )  # As JSON writes it, in a tenth of the time: texts are often made of many.
    return to_json(value, meter)


def to_json(value: Any, meter: Meter, indent: int | None = None) -> str:
    """A value as JSON text, compact unless `indent` is given."""
    weigh(value, meter)
    separators = (",", ":") if indent is None else None
    return json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        separators=separators,
        indent=indent,
        default=_plain,
    )


def from_json(text: str, meter: Meter) -> Any:
    """The value that a JSON text describes."""
    meter.produce(len(text))
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_fitting)
    except RecursionError:
        raise ExpressionError("this JSON is nested too deeply") from None
    except ValueError as error:
        raise ExpressionError(f"this text is not JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise ExpressionError("this is no value; name a part of it")


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _fitting(text: str) -> int:
    if len(text) > _MAX_DIGITS or abs(number := int(text)) > _MAX_INTEGER:
        raise ValueError("a number does not fit into 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
