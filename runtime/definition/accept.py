"""Says quickly that a value surely fits a schema; says nothing about values that do not.

Nearly every value does fit, so this is what runs nearly always: the schema is compiled once into
closures. Whatever it does not understand it does not accept; the jsonschema library then judges,
slowly, where nobody waits, and finds the words. This pays into the budget that is open.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, cast

from runtime.definition.effort import pay
from runtime.definition.pattern import small_pattern
from runtime.expression import Kinds

Accept: TypeAlias = Callable[[Any], bool]


class Unknown:
    """Stands for a value that only the execution knows, of which the types may be known."""

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], Kinds]) -> None:
        self._find = find
        self._found: list[Kinds] = []

    @property
    def kinds(self) -> Kinds:
        """The types that it can have; looked for only when somebody asks."""
        if not self._found:
            self._found.append(self._find())
        return self._found[0]

    def may_be(self, names: Collection[str]) -> bool:
        """Whether it can be of one of these types."""
        kinds = self.kinds
        if kinds is None or not kinds.isdisjoint(names):
            return True
        # A number may turn out to be whole, and a whole number is a number.
        return bool(kinds & _NUMBERS and _NUMBERS & frozenset(names))


_NOTES: Final = frozenset(
    ("$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated",
     "readOnly", "writeOnly", "discriminator", "x-order")
)  # fmt: skip
_NUMBERS: Final = frozenset(("integer", "number"))
_MAX_DEPTH: Final = 12
_MAX_SCHEMAS: Final = 5_000
_AT_ONCE: Final = 5  # Of parts that are accepted, for one unit of the budget.
_LENGTHS: Final[Mapping[str, tuple[type[str | list[Any]], Callable[[Any, Any], bool]]]] = {
    "minLength": (str, operator.ge),
    "maxLength": (str, operator.le),
    "minItems": (list, operator.ge),
    "maxItems": (list, operator.le),
}
_RANGES: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}


def _never(_value: Any) -> bool:
    return False


def compile_accept(schema: Any, root: Any = None) -> Accept:
    """A function that answers True only for what surely fits; `root` is what references lead into."""
    return _Compiler(schema if root is None else root).compile(schema, 0)


class _Compiler:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_SCHEMAS

    def compile(self, schema: Any, depth: int) -> Accept:
        """The acceptance of one schema; recursive schemas end in `never`, which only costs time."""
        pay(2)
        if schema is True or schema == {}:
            return lambda _value: True
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._left < 0:
            return _never
        parts: list[Accept] = []
        grouped = {"properties", "required", "additionalProperties"} & schema.keys()
        if grouped:
            parts.append(self._object(schema, depth))
        for keyword, expected in schema.items():
            if keyword in _NOTES or keyword in grouped:
                continue
            part = self._keyword(keyword, expected, depth)
            if part is None:
                return _never
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return _all_of(parts)

    def _keyword(self, keyword: str, expected: Any, depth: int) -> Accept | None:
        match keyword:
            case "type":
                return _types(expected)
            case "$ref":
                return self._ref(expected, depth)
            case "anyOf":
                return _any_of([self.compile(one, depth + 1) for one in expected])
            case "allOf":
                return _all_of([self.compile(one, depth + 1) for one in expected])
            case "enum" | "const":
                return _one_of(expected if keyword == "enum" else [expected])
            case "items":
                return _items(self.compile(expected, depth + 1))
            case _:
                return _bound(keyword, expected)

    def _ref(self, target: Any, depth: int) -> Accept:
        if not isinstance(target, str) or not target.startswith("#/"):
            return _never
        found: Any = self._root
        for part in target[2:].split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        return self.compile(found, depth + 1) if found is not None else _never

    def _object(self, schema: Mapping[str, Any], depth: int) -> Accept:
        known = {
            name: self.compile(one, depth + 1) for name, one in schema.get("properties", {}).items()
        }
        required = frozenset(schema.get("required", ()))
        other = self.compile(schema.get("additionalProperties", True), depth + 1)
        if schema.get("additionalProperties") is False:
            other = _never

        def accept(value: Any) -> bool:
            if type(value) is not dict:
                return not isinstance(value, Mapping)
            if required and not required <= value.keys():
                return False
            pay(1 + len(value) // _AT_ONCE)
            for key, one in value.items():  # noqa: SIM110 - a generator costs as much as the judging
                if not known.get(key, other)(one):
                    return False
            return True

        return accept


def _types(expected: Any) -> Accept:
    names = frozenset(expected if isinstance(expected, list) else [expected])

    def accept(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return "string" in names
        if kind is dict:
            return "object" in names
        if kind is list:
            return "array" in names
        if kind is bool:
            return "boolean" in names
        if kind is int:
            return "integer" in names or "number" in names
        if kind is float:
            return "number" in names or ("integer" in names and value.is_integer())
        if kind is Unknown:
            return cast("Unknown", value).may_be(names)
        return value is None and "null" in names

    return accept


def _one_of(choices: list[Any]) -> Accept:
    texts = frozenset(one for one in choices if isinstance(one, str))
    empty = any(one is None for one in choices)
    return lambda value: (
        value in texts
        if type(value) is str
        else type(value) is Unknown or (value is None and empty)
    )


def _all_of(parts: list[Accept]) -> Accept:
    cost = 1 + len(parts) // _AT_ONCE

    def accept(value: Any) -> bool:
        pay(cost)
        return all(part(value) for part in parts)

    return accept


def _any_of(parts: list[Accept]) -> Accept:
    cost = 1 + len(parts) // _AT_ONCE

    def accept(value: Any) -> bool:
        pay(cost)
        return any(part(value) for part in parts)

    return accept


def _items(element: Accept) -> Accept:
    def accept(value: Any) -> bool:
        if type(value) is not list:
            return True
        pay(1 + len(value) // _AT_ONCE)
        return all(element(one) for one in value)

    return accept


def _bound(keyword: str, expected: Any) -> Accept | None:
    """Bounds of texts, numbers and lists; each lets other kinds of values pass, as JSON Schema does."""
    if keyword == "pattern":
        matches = small_pattern(expected)
        return matches and (lambda value: type(value) is not str or matches(value))
    if keyword in _LENGTHS:
        kind, fits = _LENGTHS[keyword]
        return lambda value: not isinstance(value, kind) or fits(len(value), expected)
    if keyword in _RANGES:
        within = _RANGES[keyword]
        return lambda value: not _is_number(value) or within(value, expected)
    return None


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float
