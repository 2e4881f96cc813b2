"""Reads values out of data by path: mapping keys and list indexes, nothing else.

The fast way is one loop of `value[key]`; only when that fails is it worked out, slowly, what was
missing and which name was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from runtime.expression.budget import Meter
from runtime.expression.error import Undefined

Key: TypeAlias = str | int

_FAILURES = (KeyError, IndexError, TypeError)


def path_reader(path: tuple[Key, ...]) -> Callable[[Mapping[str, Any], Meter], Any]:
    """A function that reads `path` from a scope."""

    def read(scope: Mapping[str, Any], _meter: Meter) -> Any:
        value: Any = scope
        try:
            for key in path:
                value = value[key]
        except _FAILURES:
            raise _missing(scope, path) from None
        return value

    return read


def follow(value: Any, path: Sequence[Key]) -> Any:
    """Read `path` from a value that was computed."""
    start = value
    try:
        for key in path:
            value = value[key]
    except _FAILURES:
        raise _missing(start, path, root="this value") from None
    return value


def write_path(path: Sequence[Key]) -> str:
    """A path as it is written: `steps.a.output.items[0]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.isidentifier():
            text += f".{key}" if text else key
        else:
            text += f"[{key!r}]"
    return text


def _missing(start: Any, path: Sequence[Key], root: str = "") -> Undefined:
    """Which part of the path was the first that is not there."""
    value = start
    for position, key in enumerate(path):
        try:
            value = value[key]
        except _FAILURES:
            owner = write_path(path[:position]) or root
            return _explain(value, key, owner)
    return Undefined(f"{write_path(path)} is not there")


def _explain(value: Any, key: Key, owner: str) -> Undefined:
    prefix = f"{owner} has no " if owner else "there is no "
    if isinstance(value, Mapping):
        return Undefined(f"{prefix}{str(key)!r}", name=str(key), names=value)
    if isinstance(value, list | tuple | str) and isinstance(key, int):
        return Undefined(f"{owner} has {len(value)} elements, there is no [{key}]")
    kind = (
        "null"
        if value is None
        else "a list"
        if isinstance(value, list | tuple)
        else "a plain value"
    )
    return Undefined(f"{owner} is {kind} and has no {str(key)!r}")
