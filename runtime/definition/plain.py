"""Says quickly that a JSON Schema is one that surely can be used; says nothing about others.

Nearly all schemas that people write in a workflow are of these keywords. Whatever else stands in one, the library
checks it against the schema of schemas, and finds the words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from runtime.definition.effort import pay
from runtime.definition.pattern import small_pattern

MAX_UNFOLDED: Final = (
    20_000  # Schemas that one comes to, with those that it refers to each time that it does.
)
_TYPES: Final = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))


def is_plain(schema: Any) -> bool:
    """Whether it is a JSON Schema of plain keywords, without references, in which every part can be used."""
    todo, count = [schema], 0
    while todo:
        one = todo.pop()
        count += 1
        pay(2)
        if isinstance(one, bool):
            continue
        if not isinstance(one, dict) or count > MAX_UNFOLDED:
            return False
        for keyword, value in one.items():
            if keyword == "properties" and isinstance(value, dict):
                todo += value.values()
            elif keyword in {"items", "additionalProperties"}:
                todo.append(value)
            elif keyword in {"allOf", "anyOf", "oneOf"} and isinstance(value, list) and value:
                todo += value
            elif keyword not in _KEYWORDS or not _KEYWORDS[keyword](value):
                return False
    return True


def _is_type(value: Any) -> bool:
    return _are_names(value) and bool(value) and _TYPES.issuperset(value) if isinstance(value, list) else (
        isinstance(value, str) and value in _TYPES
    )  # fmt: skip


def _are_names(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return False
    return len(set(value)) == len(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_anything(_value: Any) -> bool:
    return True


_KEYWORDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "type": _is_type,
    "required": _are_names,
    "pattern": lambda value: isinstance(value, str) and small_pattern(value) is not None,
    **dict.fromkeys(("title", "description", "format"), _is_text),
    **dict.fromkeys(("default", "const"), _is_anything),
    **dict.fromkeys(("enum", "examples"), lambda value: isinstance(value, list)),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_length
    ),
    **dict.fromkeys(
        ("deprecated", "readOnly", "writeOnly", "uniqueItems"), lambda value: isinstance(value, bool)
    ),
}  # fmt: skip
