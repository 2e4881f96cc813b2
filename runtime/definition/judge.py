"""The judge of params: JSON Schema as the jsonschema library reads it, with patterns in linear time.

It has no bound of its own, whatever the schema and the input are: it runs where nobody waits for it, in a process that
can be ended. What is here instead of the library's own keywords is here for what they mean (patterns of RE2, exact
multiples), for their words, or because the library's take the square of an ordinary list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from fractions import Fraction
from itertools import islice
from typing import Any, Final, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from runtime.definition.accept import compile_accept
from runtime.definition.comparing import mark, same
from runtime.definition.concealing import conceal, note_schema
from runtime.definition.pattern import BadPattern, linear_pattern
from runtime.definition.unevaluated import unevaluated_items, unevaluated_properties
from runtime.model.values import Json

_FEWEST_LEVELS: Final = 150
_FRAMES: Final = 10  # Of Python's, for each level.
_NAMED: Final = 10
_LONG: Final = 50
_ITEMS: Final = Draft202012Validator.VALIDATORS["items"]
_SHOWN: Final = 100
_MESSAGE: Final = 300

_level: ContextVar[list[int] | None] = ContextVar("levels_left_of_the_judge", default=None)


def judge(schema: Json) -> Validator:
    """A validator; call it through `misfits`."""
    # Known beforehand: the library looks through the whole schema each time a reference meets a new one.
    resource = DRAFT202012.create_resource(cast("Any", schema))
    registry: Registry[Any] = Registry().with_resource(resource.id() or "", resource).crawl()
    return cast("Validator", _Judge(schema, registry=registry, format_checker=FORMATS))


def misfits(validator: Validator, value: Json, most: int) -> list[ValidationError]:
    """The first misfits; raises RecursionError, and what the library raises for a broken schema.

    None quotes a value that a schema calls `writeOnly`, nor one that holds or is part of such a value.
    """
    token = _level.set([max(_FEWEST_LEVELS, sys.getrecursionlimit() // _FRAMES)])
    try:
        found = list(islice(validator.iter_errors(value), most))
    finally:
        _level.reset(token)
    conceal(validator, found)
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


def _leveled(check: Callable[..., Any]) -> Callable[..., Any]:
    """Raises RecursionError beyond so many levels: the library's own end to that is not an orderly one."""

    def run(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _level.get() or [_FEWEST_LEVELS]
        left[0] -= 1
        try:
            if left[0] < 0:
                raise RecursionError
            for error in check(validator, expected, instance, schema) or ():
                # Before the next one quotes the same value; an exception also keeps what it was made of.
                error.message = shortened(error.message)
                error.args = (error.message,)
                note_schema(error, schema)
                yield error
        finally:
            left[0] += 1

    return run


def _pattern(_validator: Any, expected: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not linear_pattern(expected)(instance):
        yield ValidationError(f"{_shown(instance)} does not match {expected!r}")


def _pattern_properties(
    validator: Any, expected: Any, instance: Any, _schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in expected.items():
        fits = linear_pattern(pattern)
        for key, one in instance.items():
            if fits(key):
                yield from validator.descend(one, schema, path=key, schema_path=pattern)


def _additional(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict) or expected is True:
        return
    extras = additional(instance, schema)
    if expected is False and extras:
        yield ValidationError(f"{', '.join(map(repr, extras[:_NAMED]))} can't stand here")
    elif isinstance(expected, dict):
        for extra in extras:
            yield from validator.descend(instance[extra], expected, path=extra)


def additional(instance: dict[str, Any], schema: Any) -> list[str]:
    """The keys for which `properties` and `patternProperties` beside `additionalProperties` do not provide."""
    known = schema.get("properties", {})
    matches = [linear_pattern(one) for one in schema.get("patternProperties", ())]
    return [k for k in instance if k not in known and not any(fits(k) for fits in matches)]


def _items(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """As the library, but of a long list only what is not accepted quickly is looked at: mostly nothing, or little."""
    if not isinstance(instance, list) or len(instance) < _LONG or expected is False:
        yield from _ITEMS(validator, expected, instance, schema) or ()
        return
    root = validator._resolver.lookup("#").contents  # noqa: SLF001 - as the library's own keywords do
    accepts = compile_accept(expected, root)
    for index in range(len(schema.get("prefixItems", ())), len(instance)):
        if not accepts(instance[index]):
            yield from validator.descend(instance[index], expected, path=index)


def _multiple(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    """Of numbers as they are written, exactly: 0.3 is a multiple of 0.1, whatever binary fractions make of them."""
    if isinstance(instance, int | float) and not isinstance(instance, bool):
        quotient = _exact(instance) / _exact(expected)
        if quotient.denominator != 1:
            yield ValidationError(f"{_shown(instance)} is not a multiple of {_shown(expected)}")


def _exact(number: Any) -> Fraction:
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def _required(_validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """As the library, but each misfit says in `validator_value` the one name that is missing."""
    if not isinstance(instance, dict):
        return
    for name in expected:
        if name not in instance:
            yield ValidationError(
                f"{name!r} is a required property",
                validator="required",
                validator_value=[name],
                instance=instance,
                schema=schema,
            )


def _unique(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    wanted = expected and isinstance(instance, list)
    if wanted and len({mark(one) for one in instance}) < len(instance):
        yield ValidationError(f"{_shown(instance)} has non-unique elements")


def _const(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not same(expected, instance):
        yield ValidationError(f"{_shown(expected)} was expected")


def _enum(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not any(same(one, instance) for one in expected):
        yield ValidationError(f"{_shown(instance)} is not one of {_shown(expected)}")


def _not(validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if validator.evolve(schema=expected).is_valid(instance):
        yield ValidationError(f"{_shown(instance)} is what `not` excludes: {_shown(expected)}")


def shortened(message: str) -> str:
    """At most 300 characters of a message, which may quote a whole input."""
    return message if len(message) <= _MESSAGE else message[:200] + " ... " + message[-95:]


def _shown(value: Any) -> str:
    """A value in a message; of a list or mapping that is large only what it is."""
    if isinstance(value, list | dict) and len(value) > _SHOWN:
        what = "elements" if isinstance(value, list) else "keys"
        return f"{'a list' if what == 'elements' else 'a mapping'} of {len(value):,} {what}"
    return repr(value)


_Judge: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    {
        name: _leveled(check)
        for name, check in {
            **Draft202012Validator.VALIDATORS,
            "additionalProperties": _additional,
            "const": _const,
            "enum": _enum,
            "items": _items,
            "multipleOf": _multiple,
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
    """The library takes another class for a schema that says `$schema`: one with Python's patterns."""
    schema = changes.get("schema")
    if isinstance(schema, dict) and "$schema" in schema:
        changes["schema"] = {key: one for key, one in schema.items() if key != "$schema"}
    return _evolve(self, **changes)


_Judge.evolve = _stay
