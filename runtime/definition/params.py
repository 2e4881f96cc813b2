"""Params: what an execution takes in. JSON Schema 2020-12, or a short form that becomes it.

The short form maps names to schemas: `order_id: {type: string}` or `order_id: string`. Who has no
default is required, unless it says `required: false`. No schema is ever fetched from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable

from runtime.definition.accept import Accept, compile_accept, never
from runtime.definition.effort import QUICK, TooCostly, budget, nobody_waits, pay
from runtime.definition.finding import Findings, Path, did_you_mean
from runtime.definition.judge import FORMATS, additional, judge, misfits, shortened
from runtime.definition.pattern import BadPattern
from runtime.definition.plain import is_plain
from runtime.definition.shape import kind_of
from runtime.definition.subschemas import Refusal, refusals
from runtime.model.errors import Invalid, Problem
from runtime.model.plan import Plan
from runtime.model.values import Json

_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
_SCHEMA_KEYS: Final = ("$schema", "$id", "$ref", "$defs", "allOf", "anyOf", "oneOf", "if")
MAX_SCHEMA_BYTES: Final = 262_144  # Of one JSON Schema in a document, as compact JSON text.
_BYTES_AT_ONCE: Final = 500  # That are written, for one unit of the budget.
_NO: Final = frozenset(("no", "off", "false", "n"))
_KEYWORDS: Final = frozenset(Draft202012Validator.VALIDATORS) | frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "then", "else",
     "minContains", "maxContains", "contentEncoding", "contentMediaType", "contentSchema", "definitions")
)  # fmt: skip
_MAX_PROBLEMS: Final = 100
_MAX_FAULTS: Final = 20
_META: Final = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=FORMATS)
_MAX_HINTS: Final = 10
_AT_ONCE: Final = 5  # Of parts that are copied or looked up, for one unit of the budget.


def is_schema(value: dict[str, Json]) -> bool:
    """Whether params are a JSON Schema, and not the short form."""
    if value.get("type") == "object" or any(key in value for key in _SCHEMA_KEYS):
        return True
    return isinstance(value.get("required"), list) and isinstance(value.get("properties"), dict)


def read_params(value: Json, path: Path, findings: Findings) -> Json:
    """The canonical JSON Schema of params; says what is wrong with it, defaults included.

    Of one that is too large nothing else is looked at, by nobody: it is as if no param had been described.
    """
    if not isinstance(value, dict):
        return value
    if _is_too_large(value, path, findings):
        return {}
    short = not is_schema(value)
    schema = _expand(value, path, findings) if short else value
    faults = _faults(schema, findings)
    for one in faults:
        place = _place(path, list(one.place), short=short)
        findings.error("params-schema", one.message, place, hint=one.hint)
    usable = _plain_part(schema) if faults else schema
    _check_defaults(usable, path, findings, short=short)
    return schema


def check_schema(schema: dict[str, Json], path: Path, findings: Findings) -> None:
    """Say whether a JSON Schema beside params can't be used, and which of its defaults don't fit."""
    if _is_too_large(schema, path, findings):
        return
    faults = _faults(schema, findings)
    for one in faults:
        findings.error("json-schema", one.message, (*path, *one.place), hint=one.hint)
    _check_defaults(_plain_part(schema) if faults else schema, path, findings, short=False)


def refuse_schema(schema: Json, place: str) -> None:
    """Raise Invalid with all that is wrong with a JSON Schema that stands alone, at a place; in a budget, TooCostly."""
    if not isinstance(schema, dict):
        message = f"a JSON Schema is an object, not {kind_of(schema)}"
        raise Invalid([Problem("json-schema", message, path=(place,))])
    findings = Findings()
    check_schema(schema, (place,), findings)
    if findings.found:
        raise Invalid([one.as_problem() for one in findings.found])


def _is_too_large(schema: dict[str, Json], path: Path, findings: Findings) -> bool:
    """Asked first of all: what follows takes far more of each byte."""
    size = _size(schema)
    pay(1 + size // _BYTES_AT_ONCE)
    if size <= MAX_SCHEMA_BYTES:
        return False
    findings.error(
        "too-large",
        f"a JSON Schema has at most {MAX_SCHEMA_BYTES:,} bytes of compact JSON, and this one {size:,}",
        path,
        hint="write what is alike once, under $defs, and refer to it",
    )
    return True


def _size(schema: dict[str, Json]) -> int:
    try:
        return len(orjson.dumps(schema))
    except TypeError:
        # A whole number beyond 64 bits: it has a finding of its own, and the rest is measured all the same.
        return len(
            json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        )


def _faults(schema: dict[str, Json], findings: Findings) -> list[Refusal]:
    """All that keeps it from being a JSON Schema that can be judged by, each place once, the first so many of them."""
    if is_plain(schema):
        return []
    nobody_waits()
    found, is_whole = refusals(schema, _MAX_FAULTS)  # First, because it takes less.
    if not is_whole:
        return found
    told = {one.place for one in found}
    for error in _META.iter_errors(schema):
        place = tuple(error.path)
        if len(told) >= _MAX_FAULTS:
            break
        if place not in told:
            told.add(place)
            found.append(_fault(error, place, findings))
    return found


def _fault(error: ValidationError, place: Path, findings: Findings) -> Refusal:
    value = error.instance
    if place[-1:] == ("type",) and isinstance(value, str):
        return Refusal(f"{value[:40]!r} is no type", place, findings.near(value, _TYPES))
    return Refusal(f"this is not a JSON Schema: {error.message[:200]}", place)


def _expand(value: dict[str, Json], path: Path, findings: Findings) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    required: list[Json] = []
    for name, one in value.items():
        schema: Json = {"type": one} if isinstance(one, str) else one
        if not isinstance(schema, dict):
            findings.error(
                "params-schema",
                f"a param is a type or a JSON Schema, not {kind_of(one)}",
                (*path, name),
            )
            continue
        if isinstance(one, str) and one not in _TYPES:
            findings.error(
                "params-schema",
                f"{one[:40]!r} is no type",
                (*path, name),
                hint=findings.near(one, _TYPES),
            )
            continue
        wanted = schema.get("required")
        if not _is_spelt(schema, (*path, name), findings):
            continue
        if isinstance(wanted, bool):
            schema = {key: part for key, part in schema.items() if key != "required"}
        if wanted is True or ("default" not in schema and wanted is not False):
            required.append(name)
        properties[name] = schema
    out: dict[str, Json] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return out | ({"required": required} if required else {})


def _is_spelt(schema: dict[str, Json], place: Path, findings: Findings) -> bool:
    """Whether a param of the short form says nothing that is surely a slip; warns of keywords that say nothing."""
    for keyword in schema:
        if keyword not in _KEYWORDS and not keyword.startswith(("x-", "$")):
            findings.warning(
                "params-schema", f"{keyword[:40]!r} is no keyword of JSON Schema and checks nothing",
                (*place, keyword), hint=findings.near(keyword, _KEYWORDS), on_key=True,
            )  # fmt: skip
    kind, wanted = schema.get("type"), schema.get("required")
    if isinstance(kind, str) and kind not in _TYPES:
        findings.error(
            "params-schema", f"{kind[:40]!r} is no type",
            (*place, "type"), hint=findings.near(kind, _TYPES),
        )  # fmt: skip
        return False
    if isinstance(wanted, str):
        hint = "write required: false" if wanted.lower() in _NO else "write required: true"
        findings.error(
            "params-schema", "required is true or false", (*place, "required"), hint=hint
        )
        return False
    return True


def _place(path: Path, inner: list[Any], *, short: bool) -> Path:
    """Where a part of the expanded schema was written."""
    if short and inner[:1] == ["properties"]:
        inner = inner[1:]
    return (*path, *inner)


def _plain_part(schema: dict[str, Json]) -> dict[str, Json]:
    """The params of a refused schema that can be judged alone: any other part of it may be broken as well."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    plain: dict[str, Json] = {
        name: one for name, one in properties.items() if isinstance(one, dict) and is_plain(one)
    }
    return {"properties": plain}


def _check_defaults(
    schema: dict[str, Json], path: Path, findings: Findings, *, short: bool
) -> None:
    """Say which defaults do not fit, the first so many, of params and of what lies in them; both are filled in."""
    validator: Validator | None = None
    todo: list[tuple[dict[str, Any], list[Any]]] = [(schema, [])]
    left = _MAX_FAULTS  # The words for each are made with a look through the whole schema.
    while todo and left:
        outer, inner = todo.pop()
        properties = outer.get("properties")
        if not isinstance(properties, dict):
            continue
        for name, one in properties.items():
            if not isinstance(one, dict):
                continue
            place = [*inner, "properties", name]
            todo.append((one, place))
            if "default" not in one or compile_accept(one, schema)(one["default"]):
                continue
            nobody_waits()
            where = _place(path, [*place, "default"], short=short)
            try:
                validator = validator or judge(schema)
                errors = misfits(validator.evolve(schema=one), one["default"], 1)
            except RecursionError:
                message = f"the default of {name} is nested too deeply"
                findings.error("params-schema", message, where)
                left -= 1
                continue
            if errors:
                message = f"the default of {name} does not fit: {errors[0].message[:200]}"
                findings.error("bad-default", message, where)
                left -= 1
            if not left:
                break


class _Carried:
    """An argument that a cache must not compare: the digest beside it already tells all."""

    def __init__(self, schema: Json) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Carried)


@lru_cache(maxsize=512)
def _accepting(digest: str, carried: _Carried) -> Accept:  # noqa: ARG001 - the digest is the key
    """Once for each schema, also for one that takes too much to compile: nothing is accepted by that, only judged."""
    try:
        with budget(QUICK):
            return compile_accept(carried.schema)
    except TooCostly:
        return never


def apply_params(plan: Plan, input: Json) -> Json:
    """The input with defaults filled in; raises Invalid with every misfit, field by field.

    In a budget it ends within some tens of milliseconds and raises TooCostly for whatever does not surely fit by then.
    What is asked otherwise has no bound.
    """
    if plan.params_schema is None:
        if input is None:
            return {}
        if not isinstance(input, dict):
            raise Invalid([Problem("params", "the input is a mapping of params", path=("input",))])
        return input
    return apply_schema(plan.digest.text, plan.params_schema, input)


def apply_schema(digest: str, schema: Json, input: Json) -> Json:
    """As `apply_params`, by the schema with this digest alone; in a budget it raises TooCostly."""
    filled = with_defaults(schema, {} if input is None else input)
    if _accepting(digest, _Carried(schema))(filled):
        return filled
    nobody_waits()
    try:
        errors = sorted(
            misfits(judge(schema), filled, _MAX_PROBLEMS),
            key=lambda one: [str(p) for p in one.absolute_path],
        )
    except RecursionError:
        raise Invalid(
            [Problem("params", "the input is nested too deeply", path=("input",))]
        ) from None
    except (Unresolvable, BadPattern) as error:
        raise Invalid([Problem("params", f"the params schema is broken: {error}")]) from None
    problems = _problems(errors)
    if problems:
        raise Invalid(problems)
    return filled


def with_defaults(schema: Json, value: Json) -> Json:
    """A copy of the value in which absent properties have their defaults."""
    if not isinstance(schema, dict) or not isinstance(value, dict):
        return value
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return value
    out = dict(value)
    pay(1 + (len(value) + len(properties)) // _AT_ONCE)
    for name, one in properties.items():
        if not isinstance(one, dict):
            continue
        if name in out:
            out[name] = with_defaults(one, out[name])
        elif "default" in one:
            out[name] = _copied(one["default"])
    return out


def _copied(value: Json) -> Json:
    if isinstance(value, dict):
        pay(1 + len(value) // _AT_ONCE)
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        pay(1 + len(value) // _AT_ONCE)
        return [_copied(one) for one in value]
    return value


def _problems(errors: list[ValidationError]) -> list[Problem]:
    """One problem per field: what is missing or unknown is named by its own path."""
    found: list[Problem] = []
    for error in errors:
        path = ("input", *(str(part) for part in error.absolute_path))
        if error.validator == "required":
            name = str(cast("list[str]", error.validator_value)[0])
            found.append(Problem("params-required", f"{name} is missing", path=(*path, name)))
        elif error.validator == "additionalProperties" and isinstance(error.instance, dict):
            known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            _say_unknown(additional(error.instance, error.schema), known, path, found)
        else:
            found.append(Problem("params", error.message, path=path))
    return found[:_MAX_PROBLEMS]


def _say_unknown(
    unknown: list[str], known: Mapping[str, Any], path: tuple[str, ...], found: list[Problem]
) -> None:
    for one in unknown[: _MAX_PROBLEMS - len(found)]:
        hint = did_you_mean(one, known) if len(found) < _MAX_HINTS else None
        message = shortened(f"{one} is not a param of this workflow")
        found.append(Problem("params-unknown", message, path=(*path, one), hint=hint))
