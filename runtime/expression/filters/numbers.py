"""Filters on numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.operators import checked, is_number, kind_of, shown

_NONE = object()
_MAX_DIGITS = 30
_MAX_TEXT = 400


def need_number(value: Any, what: str) -> Any:
    """A number; true and false are none."""
    if not is_number(value):
        raise ExpressionError(
            f"{what} needs a number, not {kind_of(value)}", hint="| int or | float"
        )
    return value


def _convert(kind: type[int | float], default: Any, value: Any) -> Any:
    name = kind.__name__
    try:
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            raise ValueError
        if not isinstance(value, str | int | float):
            raise TypeError
        return checked(
            kind(float(value))
            if isinstance(value, str) and _is_decimal(value, kind)
            else kind(value)
        )
    except (TypeError, ValueError, OverflowError, ExpressionError):
        if default is not _NONE:
            return default
        what = shown(value) if isinstance(value, str) else kind_of(value)
        raise ExpressionError(
            f"{name} can't read {what}", hint=f"{name}(default) gives a fallback"
        ) from None


def _is_decimal(text: str, kind: type[int | float]) -> bool:
    """Whether `int` reads a text like `3.7` or `1e3`, which Python's int refuses."""
    return kind is int and any(mark in text for mark in ".eE")


def _int(_meter: Meter, value: Any, default: Any = _NONE) -> Any:
    return _convert(int, default, value)


def _float(_meter: Meter, value: Any, default: Any = _NONE) -> Any:
    return _convert(float, default, value)


def _round(_meter: Meter, value: Any, precision: Any = 0, method: Any = "common") -> Any:
    number = need_number(value, "round")
    if type(precision) is not int or abs(precision) > _MAX_DIGITS:
        raise ExpressionError(
            f"the precision of round lies between -{_MAX_DIGITS} and {_MAX_DIGITS}"
        )
    if method == "common":
        return checked(float(round(number, precision)))
    if method not in ("ceil", "floor"):
        raise ExpressionError("the method of round is common, ceil or floor")
    scale = 10.0**precision
    return checked((math.ceil if method == "ceil" else math.floor)(number * scale) / scale)


def _abs(_meter: Meter, value: Any) -> Any:
    return abs(need_number(value, "abs"))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "int": _int,
    "float": _float,
    "round": _round,
    "abs": _abs,
}
