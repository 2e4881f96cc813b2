"""What a schema leaves unevaluated: `unevaluatedItems` and `unevaluatedProperties` of JSON Schema 2020-12.

The library keeps what is evaluated in lists and searches them for each element, and judges each subschema of an
`allOf` again: the square of the input, and more. Here it is a set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jsonschema.exceptions import ValidationError

from runtime.definition.pattern import linear_pattern

_SHOWN: Final = 10


def unevaluated_items(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """The keyword of this name, as the library's are called."""
    if isinstance(instance, list):
        left = set(range(len(instance))) - _of_schema(validator, instance, schema, is_top=True)
        yield from _complain(validator, expected, {key: instance[key] for key in sorted(left)})


def unevaluated_properties(
    validator: Any, expected: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    """The keyword of this name, as the library's are called."""
    if isinstance(instance, dict):
        seen = _of_schema(validator, instance, schema, is_top=True)
        left = {key: one for key, one in instance.items() if key not in seen}
        yield from _complain(validator, expected, left)


def _complain(validator: Any, expected: Any, left: dict[Any, Any]) -> Iterator[Any]:
    wrong = [key for key, one in left.items() if not _fits(validator, expected, one)]
    if wrong:
        shown = ", ".join(map(repr, wrong[:_SHOWN]))
        yield ValidationError(f"{shown} can't stand here: nothing in the schema provides for it")


def _fits(validator: Any, schema: Any, instance: Any) -> bool:
    return bool(validator.evolve(schema=schema).is_valid(instance))


def _of_schema(validator: Any, instance: Any, schema: Any, *, is_top: bool = False) -> set[Any]:
    """The keys or indexes that a schema which the instance fits has evaluated; its own keyword left out at the top."""
    if not isinstance(schema, dict):
        return set()
    own = _of_keys if isinstance(instance, dict) else _of_indexes
    found = own(validator, instance, schema, is_top=is_top)
    for key in ("$ref", "$dynamicRef"):
        if key in schema:
            resolved = validator._resolver.lookup(schema[key])  # noqa: SLF001 - as the library's own keywords do
            inside = validator.evolve(schema=resolved.contents, _resolver=resolved.resolver)
            found |= _of_schema(inside, instance, resolved.contents)
    for one in _applied(validator, instance, schema):
        found |= _of_schema(validator, instance, one)
    return found


def _applied(validator: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """The subschemas that judge the same instance and that it fits; where one misfits all do, none is tried."""
    yield from schema.get("allOf", ())
    for key in ("anyOf", "oneOf"):
        for one in schema.get(key, ()):
            if _fits(validator, one, instance):
                yield one
    if "if" in schema:
        holds = _fits(validator, schema["if"], instance)
        if holds:
            yield schema["if"]
        yield schema.get("then" if holds else "else")
    if isinstance(instance, dict) and "dependentSchemas" in schema:
        yield from (one for key, one in schema["dependentSchemas"].items() if key in instance)


def _of_keys(
    _validator: Any, instance: dict[str, Any], schema: dict[str, Any], *, is_top: bool
) -> set[Any]:
    if "additionalProperties" in schema or ("unevaluatedProperties" in schema and not is_top):
        return set(instance)
    found: set[Any] = schema.get("properties", {}).keys() & instance.keys()
    patterns = schema.get("patternProperties", ())
    for fits in map(linear_pattern, patterns):
        found |= set(filter(fits, instance))
    return found


def _of_indexes(
    validator: Any, instance: list[Any], schema: dict[str, Any], *, is_top: bool
) -> set[Any]:
    if "items" in schema or ("unevaluatedItems" in schema and not is_top):
        return set(range(len(instance)))
    found = set(range(len(schema.get("prefixItems", ()))))
    if "contains" in schema:
        found |= {i for i, one in enumerate(instance) if _fits(validator, schema["contains"], one)}
    return found
