"""Connectors in documents: whether they exist, and whether a step's `with` fits their input.

Values that only an execution knows (`{{ ... }}`) fit everything; what stands around them is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from runtime.abi.catalog import Catalog, ConnectorInfo
from runtime.definition.accept import Accept, Unknown, compile_accept
from runtime.definition.document import Step
from runtime.definition.effort import nobody_waits
from runtime.definition.finding import Findings, Path, known_here
from runtime.definition.outputs import find_info, parse_ref
from runtime.definition.types import Types
from runtime.expression import has_expression
from runtime.model.plan import ConnectorRef
from runtime.model.values import Json

# Names that the language reserves for connectors which come as packages of their own. A document
# that uses one validates everywhere, and is published only where it is installed.
DECLARED: Final = frozenset(
    ("db.query", "email.send", "kafka.publish", "ml.invoke", "s3.get", "s3.put", "schema.validate",
     "slack.message")
)  # fmt: skip
_MAX_ERRORS: Final = 50
_WHOLE: Final = ("not", "oneOf", "if", "const", "enum", "uniqueItems", "contains", "dependentSchemas",
                 "dependentRequired", "unevaluatedProperties", "unevaluatedItems")  # fmt: skip


class ConnectorCheck:
    """All uses of connectors in one document."""

    def __init__(
        self, catalog: Catalog, findings: Findings, types: Types, *, publishing: bool
    ) -> None:
        self._catalog = catalog
        self._findings = findings
        self._types = types
        self._publishing = publishing
        self._infos: dict[str, ConnectorInfo | None] = {}
        self._accepts: dict[str, Accept] = {}

    def run(self, step: Step) -> None:
        """Check what one step uses, also inside of a map and to undo."""
        value = step.value
        self._findings.step = step.id or None
        if "uses" in value:
            self._check(value, step, ())
        for key in ("task", "compensate"):
            inner = value.get(key)
            if isinstance(inner, dict):
                self._check(inner, step, (key,))
        self._findings.step = None

    def _check(self, value: Mapping[str, Json], step: Step, inside: Path) -> None:
        uses = value.get("uses")
        if not isinstance(uses, str):
            return
        if uses not in self._infos:
            self._infos[uses] = find_info(uses, self._catalog)
        info = self._infos[uses]
        if info is None or not info.installed:
            self._report_absent(
                parse_ref(uses), step.place(*inside, "uses"), declared=info is not None
            )
            return
        known = self._unknowing(value.get("with", {}), step, (*inside, "with"))
        if uses not in self._accepts:
            self._accepts[uses] = _judges(_Schema(info))[0]
        if not self._accepts[uses](known):
            check_input(info, known, step, (*inside, "with"), self._findings)

    def _unknowing(self, value: Json, step: Step, inside: Path) -> Any:
        """The value with Unknown where an execution will put something."""
        if isinstance(value, str):
            if not has_expression(value):
                return value
            return Unknown(lambda: self._types.of(value, step, is_mapped=inside[0] == "task"))
        if isinstance(value, dict):
            return {key: self._unknowing(one, step, inside) for key, one in value.items()}
        if isinstance(value, list):
            return [self._unknowing(one, step, inside) for one in value]
        return value

    def _report_absent(self, ref: ConnectorRef, place: Path, *, declared: bool) -> None:
        if declared or (ref.name in DECLARED and ref.name not in self._catalog):
            report = self._findings.error if self._publishing else self._findings.warning
            report(
                "connector-not-installed", f"the connector {ref.name} is not installed here", place,
                hint="install its package, or start with --import PACKAGE",
            )  # fmt: skip
            return
        known = self._catalog.get(ref.name)
        if known:
            versions = ", ".join(str(one.version) for one in known)
            self._findings.error(
                "unknown-connector-version", f"there is no {ref}; installed: {versions}", place,
                hint=f"{ref.name}@{known[0].version.major}",
            )  # fmt: skip
            return
        hint = self._findings.near(ref.name, sorted({*self._catalog, *DECLARED}))
        self._findings.error(
            "unknown-connector", f"there is no connector {ref.name!r}", place, hint=hint
        )


def check_input(
    info: ConnectorInfo, value: Any, step: Step, inside: Path, findings: Findings
) -> None:
    """Say what is wrong with a `with` block that was not accepted at once."""
    nobody_waits()
    _, validator = _judges(_Schema(info))
    try:
        errors = sorted(
            islice(validator.iter_errors(value), _MAX_ERRORS),
            key=lambda one: [str(p) for p in one.absolute_path],
        )
    except (Unresolvable, RecursionError):
        return
    for error in errors:
        _report(error, info, step, inside, findings)


def _report(
    error: ValidationError, info: ConnectorInfo, step: Step, inside: Path, findings: Findings
) -> None:
    path = (*inside, *error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [
            one for one in cast("list[str]", error.validator_value) if one not in error.instance
        ]
        name = next((one for one in missing if error.message.startswith(repr(one))), missing[0])
        findings.error("connector-input", f"{info.name} needs {name!r}", _place(step, path))
        return
    if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
        known: Mapping[str, Any] = error.schema.get("properties", {})
        for key in [one for one in cast("dict[str, Any]", error.instance) if one not in known]:
            hint = findings.near(key, known) or known_here(known)
            place = _place(step, (*path, key))
            findings.error(
                "connector-input",
                f"{info.name} has no input {key!r}",
                place,
                hint=hint,
                on_key=True,
            )
        return
    findings.error("connector-input", f"{info.name}: {_in_words(error)}", _place(step, path))


def _place(step: Step, path: Path) -> Path:
    """`with` may be absent from the document: then the step itself is meant."""
    place = step.place(*path)
    return place if path[0] in step.raw or len(path) > 1 else step.path


def _in_words(error: ValidationError) -> str:
    if error.validator == "type":
        wanted = error.validator_value
        expected = f"{' or '.join(wanted) if isinstance(wanted, list) else wanted} is expected here"
        if isinstance(error.instance, Unknown):
            return f"{expected}, and {_will_be(error.instance)}"
        return expected
    if error.validator == "anyOf":
        best = min(error.context or [], key=lambda one: len(one.message), default=None)
        return f"no allowed form fits ({best.message[:150]})" if best else "no allowed form fits"
    return error.message[:200]


def _will_be(value: Unknown) -> str:
    return f"this will be {' or '.join(sorted(value.kinds or ()))}"


def _holds_unknown(value: Any) -> bool:
    if isinstance(value, Unknown):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_unknown(one) for one in inner)


class _Schema:
    """A connector's input schema as a key of the cache of validators."""

    def __init__(self, info: ConnectorInfo) -> None:
        self.info = info

    def __hash__(self) -> int:
        return hash((self.info.name, self.info.version, id(self.info.input_schema)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Schema) and self.info is other.info


@lru_cache(maxsize=512)
def _judges(schema: _Schema) -> tuple[Accept, Validator]:
    """The quick judge of a connector's input, and the thorough one."""
    found = schema.info.input_schema
    return compile_accept(found), cast(
        "Validator", _UNKNOWING_VALIDATOR(found, registry=Registry())
    )


_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _lenient(name: str, check: _Keyword) -> _Keyword:
    """A keyword that lets unknown values pass, and that judges wholes only when all of it is known."""
    needs_all = name in _WHOLE

    def run(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, Unknown):
            if name == "type":
                if not instance.may_be(expected if isinstance(expected, list) else [expected]):
                    yield ValidationError(_will_be(instance))
            elif name in {"anyOf", "allOf", "$ref"}:
                yield from check(validator, expected, instance, schema) or ()
            return
        if needs_all and _holds_unknown(instance):
            return
        yield from check(validator, expected, instance, schema) or ()

    return run


_UNKNOWING_VALIDATOR: Final[Any] = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    {name: _lenient(name, check) for name, check in Draft202012Validator.VALIDATORS.items()},
)
