"""Whether two JSON values are the same: 1 is 1.0, true is not 1, the order of keys does not matter."""

from __future__ import annotations

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Compare two values; ends at the first difference."""
    if isinstance(one, list):
        if not isinstance(other, list) or len(one) != len(other):
            return False
        return all(map(same, one, other))
    if isinstance(one, dict):
        if not isinstance(other, dict) or len(one) != len(other):
            return False
        return all(key in other and same(value, other[key]) for key, value in one.items())
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def mark(value: Any) -> Any:
    """Something hashable that is equal for equal values.

    Lists and mappings become text: the hash of a text can't be foreseen, so nobody can make them all collide.
    """
    if isinstance(value, bool):
        return "bool", value
    return ("json", _text(value)) if isinstance(value, list | dict) else value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key!r}:{_text(value[key])}' for key in sorted(value))}}}"
    is_whole = isinstance(value, float) and value.is_integer()
    return repr(int(value) if is_whole else value)
