"""Messages that keep a secret: what a schema calls `writeOnly` is taken in, and never shown again.

Whether that is so is known from the schemas around a misfit. Each misfit notes them on its way out, and they are looked
at only for those misfits that somebody will read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jsonschema.exceptions import ValidationError

from runtime.model.values import Json

_AROUND: Final = "schemas_around"
_NAMES_ONLY: Final = frozenset(
    ("required", "dependentRequired", "additionalProperties", "unevaluatedProperties")
)
_SHOWN: Final = frozenset(
    ("type", "format", "pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
     "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
)  # fmt: skip
_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SINGLE: Final = ("if", "then", "else")
_REFERENCES: Final = ("$ref", "$dynamicRef")


def note_schema(error: ValidationError, schema: Json) -> None:
    """Of a misfit, one more schema that it came from or came out of."""
    vars(error).setdefault(_AROUND, []).append(schema)


def conceal(validator: Any, errors: list[ValidationError]) -> None:
    """Other words for misfits whose message quotes, or may quote, what is only taken in."""
    if not errors:
        return
    root = validator._resolver.lookup("#").contents  # noqa: SLF001 - as the library's own keywords do
    if not any(one.get("writeOnly") is True for one in _mappings(root)):
        return
    for error in errors:
        if error.validator in _NAMES_ONLY:
            continue
        # A list or mapping may hold such a value anywhere; whether it does is not worth a second judging.
        holds = isinstance(error.instance, list | dict)
        if holds or any(_is_write_only(validator, one) for one in vars(error).get(_AROUND, ())):
            error.message = _in_words(error)
            error.args = (error.message,)


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Those in a value, at any depth."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo += one.values()
        elif isinstance(one, list):
            todo += one


def _is_write_only(validator: Any, schema: Any) -> bool:
    """Whether a schema, or one that speaks of the same value, says so."""
    todo, seen = [schema], set[int]()
    while todo:
        one = todo.pop()
        if not isinstance(one, dict) or id(one) in seen:
            continue
        if one.get("writeOnly") is True:
            return True
        seen.add(id(one))
        for key in _LISTS:
            todo += one.get(key, ())
        todo += (one.get(key) for key in _SINGLE)
        for key in _REFERENCES:
            if key in one:
                todo.append(validator._resolver.lookup(one[key]).contents)  # noqa: SLF001 - as above
    return False


def _in_words(error: ValidationError) -> str:
    keyword, expected = error.validator, error.validator_value
    if not isinstance(keyword, str):
        return "nothing can stand here"  # The schema is `false`.
    shown = keyword
    if keyword in _SHOWN:
        shown += f": {' or '.join(expected) if isinstance(expected, list) else expected}"
    return f"this does not fit `{shown}`; the value is not shown, because it is or holds what is write-only"
