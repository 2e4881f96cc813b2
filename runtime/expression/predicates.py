"""The tests of expressions: `x is odd`, `x is mapping`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.filters.texts import begins, finishes
from runtime.expression.operators import contains, is_number


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ExpressionError("this test needs an integer")
    return value


def _divisible(_meter: Meter, value: Any, by: Any) -> bool:
    if _whole(by) == 0:
        raise ExpressionError("division by zero")
    return _whole(value) % _whole(by) == 0


def _has(meter: Meter, value: Any, part: Any) -> bool:
    return contains(meter, part, value)


def _starts(meter: Meter, value: Any, start: Any) -> bool:
    return isinstance(value, str) and isinstance(start, str) and begins(meter, value, start)


def _ends(meter: Meter, value: Any, end: Any) -> bool:
    return isinstance(value, str) and isinstance(end, str) and finishes(meter, value, end)


PREDICATES: Mapping[str, Callable[..., bool]] = {
    "none": lambda _meter, value: value is None,
    "null": lambda _meter, value: value is None,
    "true": lambda _meter, value: value is True,
    "false": lambda _meter, value: value is False,
    "boolean": lambda _meter, value: isinstance(value, bool),
    "number": lambda _meter, value: is_number(value),
    "integer": lambda _meter, value: type(value) is int,
    "float": lambda _meter, value: type(value) is float,
    "string": lambda _meter, value: isinstance(value, str),
    "mapping": lambda _meter, value: isinstance(value, Mapping),
    "sequence": lambda _meter, value: isinstance(value, list | tuple),
    "list": lambda _meter, value: isinstance(value, list | tuple),
    "iterable": lambda _meter, value: isinstance(value, list | tuple | str | Mapping),
    "empty": lambda _meter, value: value is None or value in ("", [], {}),
    "odd": lambda _meter, value: _whole(value) % 2 == 1,
    "even": lambda _meter, value: _whole(value) % 2 == 0,
    "divisibleby": _divisible,
    "contains": _has,
    "startingwith": _starts,
    "endingwith": _ends,
}
