"""Says quickly that a value surely fits a schema; says nothing about values that do not.

Nearly every value does fit, so this is what runs nearly always: the schema is compiled once into
closures. Whatever it does not understand it does not accept; the jsonschema library then judges,
slowly, where nobody waits, and finds the words. This pays into the budget that is open.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, cast

from jsonschema import Draft202012Validator

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
_MAX_SCHEMAS: Final = 2_000
_LONGEST_FORMATTED: Final = 200
_FORMATTING: Final = 5
_FORMATTED_AT_ONCE: Final = 4  # Characters of what has a format, for one unit more.
_FORMATS: Final = Draft202012Validator.FORMAT_CHECKER.checkers
_SLOW_FORMATS: Final = frozenset(("regex", "idn-hostname"))
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


_ESCAPES: Final = frozenset("~%")


def _anything(_value: Any) -> bool:
    return True


def never(_value: Any) -> bool:
    """What accepts nothing."""
    return False


def compile_accept(schema: Any, root: Any = None) -> Accept:
    """A function that answers True only for what surely fits; `root` is what references lead into."""
    return _Compiler(schema if root is None else root).compile(schema, 0)


class _Compiler:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_SCHEMAS
        self._targets: dict[str, Accept] = {}

    def compile(self, schema: Any, depth: int) -> Accept:
        """The acceptance of one schema; recursive schemas end in `never`, which only costs time."""
        pay(2)
        if schema is True or schema == {}:
            return lambda _value: True
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._left < 0:
            return never
        parts: list[Accept] = []
        grouped = {"properties", "required", "additionalProperties"} & schema.keys()
        if grouped:
            parts.append(self._object(schema, depth))
        for keyword, expected in schema.items():
            if keyword in _NOTES or keyword in grouped:
                continue
            part = self._keyword(keyword, expected, depth)
            if part is None:
                return never
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
            case "oneOf":
                return self._exactly_one(expected, depth)
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
        """Each target once: many may refer to a large one."""
        found = self._target(target)
        if found is None:
            return never
        if target not in self._targets:
            self._targets[target] = self.compile(found, depth + 1)
        return self._targets[target]

    def _target(self, target: Any) -> Any:
        """Where a reference leads along plain names; escaped ones (RFC 6901, section 3) are left to the library."""
        if not isinstance(target, str) or not target.startswith("#/") or _ESCAPES & set(target):
            return None
        pay(1 + len(target) // _AT_ONCE)
        found: Any = self._root
        for part in target[2:].split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def _exactly_one(self, schemas: list[Any], depth: int) -> Accept | None:
        """Of schemas that are told apart by type, or by a text that each wants under the same key."""
        found = [self._target(one["$ref"]) if self._is_reference(one) else one for one in schemas]
        if not all(isinstance(one, dict) for one in found):
            return None
        if _are_disjoint([_types_of(one) for one in found]):
            return _any_of([self.compile(one, depth + 1) for one in found])
        required = [_names(one.get("required", ())) for one in found]
        for key in required[0]:
            pay(1 + len(found))
            texts = [
                _texts_of(one, key) if key in names else frozenset[str]()
                for one, names in zip(found, required, strict=True)
            ]
            if _are_disjoint(texts):
                inner = [self.compile(one, depth + 1) for one in found]
                by_text = {
                    text: one for each, one in zip(texts, inner, strict=True) for text in each
                }
                return lambda value: _by_text(by_text, key, value)
        return None

    @staticmethod
    def _is_reference(schema: Any) -> bool:
        return isinstance(schema, dict) and "$ref" in schema and schema.keys() - _NOTES == {"$ref"}

    def _object(self, schema: Mapping[str, Any], depth: int) -> Accept:
        known = {
            name: self.compile(one, depth + 1) for name, one in schema.get("properties", {}).items()
        }
        required = _names(schema.get("required", ()))
        other = self.compile(schema.get("additionalProperties", True), depth + 1)
        if schema.get("additionalProperties") is False:
            other = never

        def accept(value: Any) -> bool:
            if type(value) is not dict:
                return not isinstance(value, Mapping)
            pay(1 + (len(required) + len(value)) // _AT_ONCE)
            if required and not required <= value.keys():
                return False
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
    pay(len(choices))
    texts = frozenset(one for one in choices if isinstance(one, str))
    empty = any(one is None for one in choices)
    return lambda value: (
        value in texts
        if type(value) is str
        else type(value) is Unknown or (value is None and empty)
    )


def _types_of(schema: dict[str, Any]) -> frozenset[str]:
    """The types of which a value must be one; empty where none is wanted."""
    wanted = schema.get("type", ())
    names = frozenset(wanted if isinstance(wanted, list | tuple) else [wanted])
    return names | {"integer"} if "number" in names else names


def _texts_of(schema: dict[str, Any], key: str) -> frozenset[str]:
    """The texts of which a mapping must have one under a key that it must have; empty where it may have others."""
    properties = schema.get("properties")
    one = properties.get(key) if isinstance(properties, dict) else None
    if schema.get("type") != "object" or not isinstance(one, dict):
        return frozenset()
    choices = [one["const"]] if "const" in one else one.get("enum", [])
    pay(len(choices))
    return frozenset(choices) if all(isinstance(text, str) for text in choices) else frozenset()


def _names(wanted: Collection[str]) -> frozenset[str]:
    pay(len(wanted))
    return frozenset(wanted)


def _are_disjoint(sets: list[frozenset[str]]) -> bool:
    pay(1 + sum(map(len, sets)))
    return all(sets) and len(frozenset().union(*sets)) == sum(map(len, sets))


def _by_text(accepts: Mapping[str, Accept], key: str, value: Any) -> bool:
    text = value.get(key) if type(value) is dict else None
    return type(text) is str and accepts.get(text, never)(value)


def _format(name: Any) -> Accept | None:
    """A text of a format that takes few characters to judge; what has no check always fits."""
    if name in _SLOW_FORMATS:
        return None
    function, raises = _FORMATS.get(name, (_anything, ()))

    def accept(value: Any) -> bool:
        if type(value) is not str:
            return True
        if len(value) > _LONGEST_FORMATTED:
            return False
        pay(_FORMATTING + len(value) // _FORMATTED_AT_ONCE)
        try:
            return bool(function(value))
        except raises:
            return False

    return accept


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
    if keyword == "format":
        return _format(expected)
    if keyword in _LENGTHS:
        kind, fits = _LENGTHS[keyword]
        return lambda value: not isinstance(value, kind) or fits(len(value), expected)
    if keyword in _RANGES:
        within = _RANGES[keyword]
        return lambda value: not _is_number(value) or within(value, expected)
    return None


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float
