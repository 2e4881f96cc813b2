"""Filters on points in time, which travel as ISO 8601 text: JSON has no dates.

There is no `now` here: an expression gives the same answer whenever it is evaluated. The time of
the execution is `execution.created_at`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.filters.texts import need_text
from runtime.expression.operators import is_number, shown
from runtime.model.values import Duration

_MAX_FORMAT = 200
_DIRECTIVES = frozenset("aAbBdHIjmMpSyYzZfFTuVG%")


def _moment(value: Any) -> datetime:
    """A point in time from ISO 8601 text, or from seconds since 1970; without a zone it is UTC."""
    if is_number(value):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            raise ExpressionError(f"{value} seconds is no date") from None
    text = need_text(value, "a date")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ExpressionError(
            f"{shown(text)} is not a date; write 2026-01-31T12:00:00Z", hint="parse_date(format)"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _write(moment: datetime) -> str:
    text = moment.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _format(text: Any) -> str:
    pattern = need_text(text, "the format of a date")
    if len(pattern) > _MAX_FORMAT:
        raise ExpressionError(f"the format of a date has at most {_MAX_FORMAT} characters")
    for directive in re.findall(r"%(.?)", pattern, re.DOTALL):
        if directive not in _DIRECTIVES or not directive:
            raise ExpressionError(f"%{directive} is not part of a date's format here")
    return pattern.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S")


def _parse_date(_meter: Meter, value: Any, format: Any = None) -> str:
    if format is None:
        return _write(_moment(value))
    text = need_text(value, "parse_date")
    try:
        found = datetime.strptime(text, _format(format))  # noqa: DTZ007 - zone set below
    except re.error:  # strptime makes a pattern of the format, and some formats twice name a group
        raise ExpressionError(
            "parse_date: every part of a date stands once in its format"
        ) from None
    except ValueError:
        raise ExpressionError(f"parse_date: {shown(text)} is no date in that format") from None
    return _write(found if found.tzinfo else found.replace(tzinfo=UTC))


def _format_date(_meter: Meter, value: Any, format: Any = "%Y-%m-%d") -> str:
    return _moment(value).strftime(_format(format))


def _add_duration(_meter: Meter, value: Any, duration: Any) -> str:
    text = need_text(duration, "add_duration")
    sign = -1 if text.startswith("-") else 1
    try:
        length = Duration.parse(text.lstrip("+-"))
        return _write(_moment(value) + sign * timedelta(milliseconds=length.milliseconds))
    except (ValueError, OverflowError) as error:
        raise ExpressionError(f"add_duration: {error}") from None


def _seconds_until(_meter: Meter, value: Any, other: Any) -> float:
    return (_moment(other) - _moment(value)).total_seconds()


FILTERS: Mapping[str, Callable[..., Any]] = {
    "parse_date": _parse_date,
    "format_date": _format_date,
    "add_duration": _add_duration,
    "seconds_until": _seconds_until,
}
