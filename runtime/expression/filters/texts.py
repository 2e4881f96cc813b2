"""Filters on text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.operators import kind_of
from runtime.expression.text import to_text

_MAX_TRIMMED: Final = 100


def need_text(value: Any, what: str = "this filter") -> str:
    """The text that a filter works on; numbers are not turned into text silently."""
    if not isinstance(value, str):
        raise ExpressionError(f"{what} needs a text, not {kind_of(value)}", hint="| string")
    return value


def need_count(value: Any, what: str) -> int:
    """A count: an integer that is not negative."""
    if type(value) is not int or value < 0:
        raise ExpressionError(f"{what} is an integer, 0 or more")
    return value


def _simple(name: str, change: Callable[[str], str]) -> Callable[[Meter, Any], str]:
    def run(meter: Meter, value: Any) -> str:
        text = need_text(value, name)
        meter.produce(len(text))
        return change(text)

    return run


def _trim(meter: Meter, value: Any, chars: Any = None) -> str:
    text, gone = need_text(value, "trim"), need_text(" " if chars is None else chars, "trim")
    if len(gone) > _MAX_TRIMMED:
        raise ExpressionError(f"trim is told at most {_MAX_TRIMMED} characters to take away")
    meter.produce(len(text))
    return text.strip(None if chars is None else gone)


def _replace(meter: Meter, value: Any, old: Any, new: Any, count: Any = None) -> str:
    text = need_text(value, "replace")
    gone, put = need_text(old, "replace"), need_text(new, "replace")
    times = text.count(gone)
    if count is not None:
        times = min(times, need_count(count, "the count of replace"))
    meter.produce(len(text) + times * len(put))
    return text.replace(gone, put, times)


def _split(meter: Meter, value: Any, separator: Any = None, count: Any = None) -> list[str]:
    text = need_text(value, "split")
    if separator is not None and not need_text(separator, "split"):
        raise ExpressionError("split needs a separator that is not empty")
    meter.produce(len(text))
    most = meter.nodes if count is None else need_count(count, "the count of split")
    parts = text.split(separator, min(most, meter.nodes))
    meter.touch(len(parts))
    return parts


def _truncate(meter: Meter, value: Any, length: Any = 255, end: Any = "...") -> str:
    text, tail = need_text(value, "truncate"), need_text(end, "truncate")
    size = need_count(length, "the length of truncate")
    if len(text) <= size:
        return text
    meter.produce(size + len(tail))
    return (text[: max(0, size - len(tail))].rstrip() + tail)[:size]


def _center(meter: Meter, value: Any, width: Any = 80) -> str:
    text, size = need_text(value, "center"), need_count(width, "the width of center")
    meter.produce(max(size, len(text)))
    return text.center(size)


def _indent(meter: Meter, value: Any, width: Any = 4, first: Any = False) -> str:  # noqa: FBT002 - Jinja's own order
    text, size = need_text(value, "indent"), need_count(width, "the width of indent")
    count = text.count("\n") + 1
    meter.touch(count)
    meter.produce(len(text) + size * count)
    pad = " " * size
    lines = [pad + line if line.strip() else line for line in text.split("\n")]
    return "\n".join(lines if first else [text.split("\n", 1)[0], *lines[1:]])


def _wordcount(meter: Meter, value: Any) -> int:
    text = need_text(value, "wordcount")
    meter.touch(len(text) // 2 + 1)
    return len(text.split())


def _starts(meter: Meter, value: Any, start: Any) -> bool:
    return begins(meter, need_text(value, "startswith"), need_text(start, "startswith"))


def _ends(meter: Meter, value: Any, end: Any) -> bool:
    return finishes(meter, need_text(value, "endswith"), need_text(end, "endswith"))


def begins(meter: Meter, text: str, start: str) -> bool:
    """Whether a text begins so; paid for."""
    meter.produce(len(start))
    return text.startswith(start)


def finishes(meter: Meter, text: str, end: str) -> bool:
    """Whether a text ends so; paid for."""
    meter.produce(len(end))
    return text.endswith(end)


def _string(meter: Meter, value: Any) -> str:
    return to_text(value, meter)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "upper": _simple("upper", str.upper),
    "lower": _simple("lower", str.lower),
    "capitalize": _simple("capitalize", str.capitalize),
    "title": _simple("title", str.title),
    "trim": _trim,
    "replace": _replace,
    "split": _split,
    "truncate": _truncate,
    "center": _center,
    "indent": _indent,
    "wordcount": _wordcount,
    "startswith": _starts,
    "endswith": _ends,
    "string": _string,
}
