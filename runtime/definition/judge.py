"""The judge of params: JSON Schema, within a budget and with patterns in linear time.

Whoever publishes a workflow writes the schema, and whoever starts it the input; neither may keep a
server busy. So patterns are run by RE2, lists are compared by what their elements hash to, and every
keyword that is applied counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

import re2  # type: ignore[import-untyped]  # it comes without types
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from runtime.model.values import Json

MAX_APPLIED: Final = 300_000
_MAX_PATTERN: Final = 2_000
_SIGNS_AT_ONCE: Final = 200  # Of a text, in the time that another keyword takes.

_left: ContextVar[list[int]] = ContextVar("left_of_the_budget")


class TooCostly(Exception):
    """Judging this value by this schema takes more work than it may."""


class BadPattern(ValueError):
    """A regular expression that can't be run in linear time, or is none."""


@lru_cache(maxsize=1_024)
def linear_pattern(text: str) -> Callable[[str], bool]:
    """Whether a text contains a match; raises BadPattern for what RE2 does not take."""
    if len(text) > _MAX_PATTERN:
        raise BadPattern(f"a pattern has at most {_MAX_PATTERN:,} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(text, options).search
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else "no regular expression"
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise BadPattern(said[:200]) from None
    return lambda value: search(value) is not None


def judge(schema: Json) -> Validator:
    """A validator; call it through `misfits`, which gives it its budget."""
    return cast("Validator", _Judge(schema, registry=Registry(), format_checker=FORMATS))


def misfits(validator: Validator, value: Json, most: int) -> list[ValidationError]:
    """The first misfits; raises TooCostly, and what the library raises for a broken schema."""
    token = _left.set([MAX_APPLIED])
    try:
        return list(islice(validator.iter_errors(value), most))
    finally:
        _left.reset(token)


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


def _paid(check: Callable[..., Any]) -> Callable[..., Any]:
    def run(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
        _pay(1 + (len(expected) if isinstance(expected, list) else 0))
        return check(validator, expected, instance, schema) or ()

    return run


def _pay(count: int) -> None:
    left = _left.get()
    left[0] -= count
    if left[0] < 0:
        raise TooCostly


def _pattern(_validator: Any, expected: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str):
        _pay(len(instance) // _SIGNS_AT_ONCE)
        if not linear_pattern(expected)(instance):
            yield ValidationError(f"{instance!r} does not match {expected!r}")


def _pattern_properties(
    validator: Any, expected: Any, instance: Any, _schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        _pay(len(expected) * len(instance))
    for pattern, schema in expected.items() if isinstance(instance, dict) else ():
        for key, one in instance.items():
            if linear_pattern(pattern)(key):
                yield from validator.descend(one, schema, path=key, schema_path=pattern)


def _additional(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict) or expected is True:
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    _pay(len(patterns) * len(instance))
    matches = [linear_pattern(one) for one in patterns]
    extras = [k for k in instance if k not in known and not any(fits(k) for fits in matches)]
    if expected is False and extras:
        yield ValidationError(f"{', '.join(map(repr, extras[:10]))} can't stand here")
    elif isinstance(expected, dict):
        for extra in extras:
            yield from validator.descend(instance[extra], expected, path=extra)


def _unique(_validator: Any, expected: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if not expected or not isinstance(instance, list):
        return
    _pay(len(instance))
    if len({_mark(one) for one in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _mark(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values: 1 is 1.0, true is not 1."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, list):
        return "list", tuple(map(_mark, value))
    if isinstance(value, Mapping):
        return "map", frozenset((key, _mark(one)) for key, one in value.items())
    return value


_Judge = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    {
        name: _paid(check)
        for name, check in {
            **Draft202012Validator.VALIDATORS,
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional,
            "uniqueItems": _unique,
        }.items()
    },
)
