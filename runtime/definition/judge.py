"""The judge of params: JSON Schema, within a budget and with patterns in linear time.

Whoever publishes a workflow writes the schema, and whoever starts it the input; neither may keep a
server busy. So patterns are run by RE2, values are compared within the budget, and every keyword that is
applied pays for what it looks at, and for the message when it complains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from runtime.definition.comparing import mark, same
from runtime.definition.effort import pay
from runtime.definition.pattern import SIGNS_AT_ONCE, BadPattern, linear_pattern, name_signs
from runtime.definition.unevaluated import DESCENT, unevaluated_items, unevaluated_properties
from runtime.model.values import Json

_NAMES_AT_ONCE: Final = 10  # Of names that are looked up, for one unit.
_SHOWN: Final = 100


def judge(schema: Json) -> Validator:
    """A validator; call it through `misfits`, in a budget."""
    registry: Registry[Any] = Registry()
    if _refers_by_name(schema):
        # Known beforehand: the library looks through the whole schema each time a reference meets a new one.
        resource = DRAFT202012.create_resource(cast("Any", schema))
        registry = registry.with_resource(resource.id() or "", resource).crawl()
    return cast("Validator", _Judge(schema, registry=registry, format_checker=FORMATS))


def misfits(validator: Validator, value: Json, most: int) -> list[ValidationError]:
    """The first misfits; raises TooCostly, and what the library raises for a broken schema."""
    return list(islice(validator.iter_errors(value), most))


def _refers_by_name(schema: Any) -> bool:
    """Whether a reference in a schema leads to an anchor, not along a path; pays for the look at all that follows."""
    todo, found, count = [schema], False, 0
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            targets = (one.get("$ref"), one.get("$dynamicRef"))
            found |= any(isinstance(to, str) and not f"{to}/".startswith("#/") for to in targets)
            count += 1
        if isinstance(one, dict | list):
            todo += one.values() if isinstance(one, dict) else one
            pay(1 + len(one) // _NAMES_AT_ONCE)
    pay(2 * DESCENT * count if found else 0)
    return found


def _formats() -> FormatChecker:
    """The formats of the library, save for regex: it means what RE2 takes."""
    formats = FormatChecker(())
    known = Draft202012Validator.FORMAT_CHECKER.checkers
    formats.checkers = {name: one for name, one in known.items() if name != "regex"}
    formats.checks("regex", raises=BadPattern)(
        lambda one: not isinstance(one, str) or bool(linear_pattern(one))
    )
    return formats


FORMATS: Final = _formats()


def _paid(name: str, check: Callable[..., Any]) -> Callable[..., Any]:
    cost = _COSTS.get(name, _one)

    def run(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        pay(cost(expected, instance))
        for error in check(validator, expected, instance, schema) or ():
            if not isinstance(error.validator, str):  # Said here, not further down.
                pay(2 * DESCENT + len(error.message) // SIGNS_AT_ONCE)
            yield error

    return run


def _one(_expected: Any, _instance: Any) -> int:
    return 1


def _each_schema(expected: Any, _instance: Any) -> int:
    return DESCENT * (1 + len(expected))


def _each_part(kind: type[Any]) -> Callable[[Any, Any], int]:
    """Every element of a list, or every key of a mapping, is judged by a schema."""
    return lambda expected, instance: (
        1 + DESCENT * len(instance)
        if isinstance(instance, kind) and not isinstance(expected, bool)
        else 1
    )


def _each_name(expected: Any, instance: Any) -> int:
    """Names are looked up, and what is there is judged."""
    if not isinstance(instance, dict):
        return 1
    return 1 + len(expected) // _NAMES_AT_ONCE + DESCENT * min(len(expected), len(instance))


_COSTS: Final[dict[str, Callable[[Any, Any], int]]] = {
    "allOf": _each_schema,
    "anyOf": _each_schema,
    "oneOf": _each_schema,
    "not": lambda _expected, _instance: 2 * DESCENT,
    "if": lambda _expected, _instance: 3 * DESCENT,
    "$ref": lambda expected, _instance: 4 * DESCENT + expected.count("/"),
    "$dynamicRef": lambda expected, _instance: 4 * DESCENT + expected.count("/"),
    "items": _each_part(list),
    "contains": _each_part(list),
    "propertyNames": _each_part(dict),
    "prefixItems": lambda expected, instance: (
        1 + DESCENT * min(len(expected), len(instance)) if isinstance(instance, list) else 1
    ),
    "properties": _each_name,
    "dependentSchemas": _each_name,
    "multipleOf": lambda _expected, _instance: DESCENT,
    "format": lambda _expected, instance: (
        DESCENT + len(instance) // _NAMES_AT_ONCE if isinstance(instance, str) else 1
    ),
}


def _pattern(_validator: Any, expected: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str):
        pay(len(instance) // SIGNS_AT_ONCE)
        if not linear_pattern(expected)(instance):
            yield ValidationError(f"{instance!r} does not match {expected!r}")


def _pattern_properties(
    validator: Any, expected: Any, instance: Any, _schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    pay(len(expected) * name_signs(instance))
    for pattern, schema in expected.items():
        fits = linear_pattern(pattern)
        for key, one in instance.items():
            if fits(key):
                pay(DESCENT)
                yield from validator.descend(one, schema, path=key, schema_path=pattern)


def _additional(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict) or expected is True:
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    pay(1 + len(instance) // _NAMES_AT_ONCE)
    if patterns:
        pay(len(patterns) * name_signs(instance))
    matches = [linear_pattern(one) for one in patterns]
    extras = [k for k in instance if k not in known and not any(fits(k) for fits in matches)]
    if expected is False and extras:
        yield ValidationError(f"{', '.join(map(repr, extras[:10]))} can't stand here")
    elif isinstance(expected, dict):
        pay(DESCENT * len(extras))
        for extra in extras:
            yield from validator.descend(instance[extra], expected, path=extra)


def _required(_validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """As the library, but each misfit says in `validator_value` the one name that is missing."""
    if not isinstance(instance, dict):
        return
    pay(len(expected) // _NAMES_AT_ONCE)
    for name in expected:
        if name not in instance:
            pay(2 * DESCENT)
            yield ValidationError(
                f"{name!r} is a required property",
                validator="required",
                validator_value=[name],
                instance=instance,
                schema=schema,
            )


def _dependent(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    pay(len(expected) // _NAMES_AT_ONCE)
    for name, others in expected.items():
        if name in instance:
            pay(1 + len(others) // _NAMES_AT_ONCE)
            for one in others:
                if one not in instance:
                    yield ValidationError(f"{one!r} is a dependency of {name!r}")


def _unique(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not expected or not isinstance(instance, list):
        return
    pay(1 + len(instance) // 2)
    if len({mark(one) for one in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _const(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not same(expected, instance):
        yield ValidationError(f"{_shown(expected)} was expected")


def _enum(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    pay(len(expected) // 2)
    if not any(same(one, instance) for one in expected):
        yield ValidationError(f"{_shown(instance)} is not one of {_shown(expected)}")


def _not(validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if validator.evolve(schema=expected).is_valid(instance):
        yield ValidationError(f"{_shown(instance)} is what `not` excludes: {_shown(expected)}")


def _shown(value: Any) -> str:
    """A value in a message; of a list or mapping that is large only what it is."""
    if isinstance(value, list | dict) and len(value) > _SHOWN:
        what = "elements" if isinstance(value, list) else "keys"
        return f"{'a list' if what == 'elements' else 'a mapping'} of {len(value):,} {what}"
    return repr(value)


_Judge: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    {
        name: _paid(name, check)
        for name, check in {
            **Draft202012Validator.VALIDATORS,
            "additionalProperties": _additional,
            "const": _const,
            "dependentRequired": _dependent,
            "enum": _enum,
            "not": _not,
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "required": _required,
            "unevaluatedItems": unevaluated_items,
            "unevaluatedProperties": unevaluated_properties,
            "uniqueItems": _unique,
        }.items()
    },
)
_evolve: Final = _Judge.evolve


def _stay(self: Any, **changes: Any) -> Any:
    """The library takes another class for a schema that says `$schema`: one without budget, with Python's patterns."""
    schema = changes.get("schema")
    if isinstance(schema, dict) and "$schema" in schema:
        changes["schema"] = {key: one for key, one in schema.items() if key != "$schema"}
    return _evolve(self, **changes)


_Judge.evolve = _stay
