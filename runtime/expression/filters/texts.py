"""Filters on text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.operators import kind_of
from runtime.expression.text import to_text


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
    text = need_text(value, "trim")
    meter.produce(len(text))
    return text.strip(None if chars is None else need_text(chars, "trim"))


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
    most = -1 if count is None else need_count(count, "the count of split")
    parts = text.split(separator, most)
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
    meter.produce(len(text) + size * (text.count("\n") + 1))
    pad = " " * size
    lines = [pad + line if line.strip() else line for line in text.split("\n")]
    return "\n".join(lines if first else [text.split("\n", 1)[0], *lines[1:]])


def _wordcount(meter: Meter, value: Any) -> int:
    text = need_text(value, "wordcount")
    meter.touch(len(text) // 2 + 1)
    return len(text.split())


def _starts(_meter: Meter, value: Any, start: Any) -> bool:
    return need_text(value, "startswith").startswith(need_text(start, "startswith"))


def _ends(_meter: Meter, value: Any, end: Any) -> bool:
    return need_text(value, "endswith").endswith(need_text(end, "endswith"))


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
