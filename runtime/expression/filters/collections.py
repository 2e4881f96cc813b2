"""Filters on lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError, Undefined
from runtime.expression.filters.numbers import need_number
from runtime.expression.filters.texts import need_text
from runtime.expression.operators import checked, item, kind_of
from runtime.expression.text import to_json, to_text

_NOTHING = object()


def rows(meter: Meter, value: Any, what: str = "this filter") -> list[Any]:
    """The elements of a list, the keys of a mapping; paid for."""
    if isinstance(value, Mapping):
        meter.touch(len(value))
        return list(value)
    if not isinstance(value, list | tuple):
        raise ExpressionError(f"{what} needs a list, not {kind_of(value)}")
    meter.touch(len(value))
    return list(value)


def attribute(row: Any, path: Any, default: Any = _NOTHING) -> Any:
    """`a.b.0` of one element."""
    if type(path) is int:
        path = str(path)
    try:
        for part in need_text(path, "attribute").split("."):
            row = item(row, int(part) if isinstance(row, list) and part.isdigit() else part)
    except Undefined:
        if default is _NOTHING:
            raise
        return default
    return row


def numbers_from(meter: Meter, start: Any, stop: Any = None, step: Any = 1) -> list[int]:
    """`range(n)`, `range(a, b)`, `range(a, b, step)` as a list."""
    low, high = (0, start) if stop is None else (start, stop)
    if not all(type(one) is int for one in (low, high, step)) or step == 0:
        raise ExpressionError("range takes integers, and a step that is not 0")
    numbers = range(low, high, step)
    meter.touch(len(numbers))
    return list(numbers)


def _length(_meter: Meter, value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise ExpressionError(f"length needs a text, list or mapping, not {kind_of(value)}")
    return len(value)


def _end(position: int, name: str) -> Callable[[Meter, Any], Any]:
    def run(meter: Meter, value: Any) -> Any:
        found = value if isinstance(value, str) else rows(meter, value, name)
        if not found:
            raise Undefined(f"{name} of something empty", hint="| default(...)")
        return found[position]

    return run


def _join(meter: Meter, value: Any, separator: Any = "", attribute: Any = None) -> str:
    glue = need_text(separator, "join")
    parts = _column(meter, value, attribute, "join")
    texts = [to_text(part, meter) for part in parts]
    meter.produce(sum(map(len, texts)) + len(glue) * len(texts))
    return glue.join(texts)


def _column(meter: Meter, value: Any, path: Any, what: str) -> list[Any]:
    found = rows(meter, value, what)
    return found if path is None else [attribute(row, path) for row in found]


def _order_key(meter: Meter, *, case_sensitive: bool) -> Callable[[Any], tuple[int, Any]]:
    def key(value: Any) -> tuple[int, Any]:
        if isinstance(value, str):
            meter.produce(len(value))
            return 2, value if case_sensitive else value.casefold()
        if isinstance(value, bool) or value is None:
            return 0, bool(value)
        if isinstance(value, int | float):
            return 1, value
        return 3, to_json(value, meter)

    return key


def _sort(
    meter: Meter,
    value: Any,
    reverse: Any = None,
    case_sensitive: Any = None,
    attribute: Any = None,
) -> list[Any]:
    found = rows(meter, value, "sort")
    key = _order_key(meter, case_sensitive=bool(case_sensitive))
    columns = _column(meter, found, attribute, "sort")
    order = sorted(range(len(found)), key=lambda i: key(columns[i]), reverse=bool(reverse))
    return [found[i] for i in order]


def _unique(
    meter: Meter, value: Any, case_sensitive: Any = None, attribute: Any = None
) -> list[Any]:
    found = rows(meter, value, "unique")
    key = _order_key(meter, case_sensitive=bool(case_sensitive))
    seen: set[Any] = set()
    kept = []
    for row, column in zip(found, _column(meter, found, attribute, "unique"), strict=True):
        mark = (isinstance(column, bool), *key(column)) if column is not None else None
        if mark not in seen:
            seen.add(mark)
            kept.append(row)
    return kept


def _reverse(meter: Meter, value: Any) -> Any:
    if isinstance(value, str):
        meter.produce(len(value))
        return value[::-1]
    return rows(meter, value, "reverse")[::-1]


def _sum(meter: Meter, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    total = need_number(start, "sum")
    for one in _column(meter, value, attribute, "sum"):
        total = checked(total + need_number(one, "sum"))
    return total


def _extreme(choose: Callable[..., Any], name: str) -> Callable[..., Any]:
    def run(meter: Meter, value: Any, attribute: Any = None) -> Any:
        found = rows(meter, value, name)
        if not found:
            raise Undefined(f"{name} of something empty", hint="| default(...)")
        columns = _column(meter, found, attribute, name)
        key = _order_key(meter, case_sensitive=True)
        return found[choose(range(len(found)), key=lambda i: key(columns[i]))]

    return run


def _list(meter: Meter, value: Any) -> list[Any]:
    if isinstance(value, str):
        meter.touch(len(value))
        return list(value)
    return rows(meter, value, "list")


def need_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """The mapping that a filter works on."""
    if not isinstance(value, Mapping):
        raise ExpressionError(f"{what} needs a mapping, not {kind_of(value)}")
    return value


def _items(meter: Meter, value: Any) -> list[Any]:
    found = need_mapping(value, "items")
    meter.touch(len(found))
    return [[key, one] for key, one in found.items()]


def _keys(meter: Meter, value: Any) -> list[str]:
    return rows(meter, need_mapping(value, "keys"))


def _values(meter: Meter, value: Any) -> list[Any]:
    found = need_mapping(value, "values")
    meter.touch(len(found))
    return list(found.values())


def _dictsort(meter: Meter, value: Any, case_sensitive: Any = None, by: Any = "key") -> list[Any]:
    if by not in ("key", "value"):
        raise ExpressionError("dictsort sorts by key or by value")
    key = _order_key(meter, case_sensitive=bool(case_sensitive))
    return sorted(_items(meter, value), key=lambda pair: key(pair[by == "value"]))


def _get(_meter: Meter, value: Any, key: Any, default: Any = None) -> Any:
    return need_mapping(value, "get").get(need_text(key, "get"), default)


def _combine(meter: Meter, value: Any, other: Any) -> dict[str, Any]:
    left, right = need_mapping(value, "combine"), need_mapping(other, "combine")
    meter.touch(len(left) + len(right))
    return {**left, **right}


def _flatten(meter: Meter, value: Any) -> list[Any]:
    out: list[Any] = []
    for row in rows(meter, value, "flatten"):
        inner = row if isinstance(row, list | tuple) else [row]
        meter.touch(len(inner))
        out.extend(inner)
    return out


def _group(meter: Meter, value: Any, attribute: Any) -> list[Any]:
    groups: dict[str, list[Any]] = {}
    keys: dict[str, Any] = {}
    found = rows(meter, value, "groupby")
    for row, column in zip(found, _column(meter, found, attribute, "groupby"), strict=True):
        mark = to_json(column, meter)
        keys.setdefault(mark, column)
        groups.setdefault(mark, []).append(row)
    order = _order_key(meter, case_sensitive=True)
    return [[keys[mark], groups[mark]] for mark in sorted(groups, key=lambda m: order(keys[m]))]


def _batch(meter: Meter, value: Any, size: Any) -> list[Any]:
    found = rows(meter, value, "batch")
    if type(size) is not int or size < 1:
        raise ExpressionError("batch takes a size of 1 or more")
    return [found[i : i + size] for i in range(0, len(found), size)]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "length": _length,
    "count": _length,
    "first": _end(0, "first"),
    "last": _end(-1, "last"),
    "join": _join,
    "sort": _sort,
    "unique": _unique,
    "reverse": _reverse,
    "sum": _sum,
    "min": _extreme(min, "min"),
    "max": _extreme(max, "max"),
    "list": _list,
    "items": _items,
    "keys": _keys,
    "values": _values,
    "dictsort": _dictsort,
    "get": _get,
    "combine": _combine,
    "flatten": _flatten,
    "groupby": _group,
    "batch": _batch,
}
