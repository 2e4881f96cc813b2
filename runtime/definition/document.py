"""A document, from what was written to one canonical mapping, whichever spelling it came in.

Flat (`name`, `steps`) or manifest (`apiVersion`, `metadata`, `spec.tasks`, camelCase): the result is
the same, key by key, so that both have one digest. Step kinds are read by their own record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.definition.finding import Findings, Path, known_here
from runtime.definition.language import (
    API_VERSION,
    EVERY_STEP,
    FLAT,
    FLAT_TASKS,
    KINDS_WITH_OWN_KEYS,
    METADATA,
    SPEC,
    SPEC_STEPS,
    STEPS,
)
from runtime.definition.params import read_params
from runtime.definition.shape import MISSING, Field, Reading, Record, camel, kind_of
from runtime.definition.template import Use
from runtime.model.plan import StepKind
from runtime.model.values import Json

_KINDS = {kind.value: kind for kind in StepKind}
# Of a step whose kind is misspelt only that is said, not that it lacks the keys of some kind.
_ANY_KIND = Record(
    "a step",
    {
        name: one if name == "id" else Field(one.shape, one.about)
        for record in STEPS.values()
        for name, one in record.fields.items()
    },
)
_MANIFEST_KEYS = ("apiVersion", "kind", "metadata", "spec")


@dataclass(slots=True)
class Step:
    """One step as it was read: canonical, and where each part of it was written."""

    index: int
    value: dict[str, Json]
    raw: dict[str, Json]
    path: Path
    kind: StepKind

    @property
    def id(self) -> str:
        """The step's id, empty if it has none."""
        found = self.value.get("id")
        return found if isinstance(found, str) else ""

    @property
    def depends_on(self) -> list[str]:
        """The ids it waits for, as written."""
        found = self.value.get("depends_on")
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def place(self, *keys: str | int) -> Path:
        """Where a canonical part of this step stands in the document."""
        value: Any = self.raw
        path: list[str | int] = list(self.path)
        for key in keys:
            if isinstance(value, dict) and isinstance(key, str):
                is_here = key in value or camel(key) in value
                if not is_here and isinstance(value.get("with"), dict) and key != "with":
                    value = value["with"]
                    path.append("with")
                written = key if key in value else camel(key)
                path.append(written)
                value = value.get(written)
            elif isinstance(value, list) and isinstance(key, int) and key < len(value):
                path.append(key)
                value = value[key]
        return tuple(path)


@dataclass(slots=True)
class Document:
    """A document as it was read; `value` is complete only if there were no errors."""

    value: dict[str, Json]
    steps: list[Step] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    body: Path = ()
    camel: bool = False

    def place(self, *keys: str | int) -> Path:
        """Where a canonical top-level part of the document stands."""
        return (
            *self.body,
            *(camel(one) if self.camel and isinstance(one, str) else one for one in keys),
        )


def is_manifest(source: dict[str, Json]) -> bool:
    """Whether a document is in the manifest spelling."""
    return "apiVersion" in source or ("spec" in source and not {"steps", "tasks"} & source.keys())


def read_document(
    source: Json, findings: Findings, keys: list[tuple[Path, str]] | None = None
) -> Document:
    """Read a whole document; says all that is wrong with its form. `keys` collects the language's."""
    if not isinstance(source, dict):
        findings.error("type", f"a workflow is a mapping, not {kind_of(source)}", ())
        return Document({})
    if is_manifest(source):
        return _manifest(source, Reading(findings, camel=True, keys=keys))
    return _flat(source, Reading(findings, keys=keys))


def _flat(source: dict[str, Json], reading: Reading) -> Document:
    name = "tasks" if "tasks" in source and "steps" not in source else "steps"
    value = (FLAT if name == "steps" else FLAT_TASKS).read(source, (), reading)
    document = Document(_as_steps(value), uses=reading.uses)
    return _finish(document, reading, (name,), ("params",))


def _manifest(source: dict[str, Json], reading: Reading) -> Document:
    findings = reading.findings
    for key in source:
        if key not in _MANIFEST_KEYS:
            hint = findings.near(key, _MANIFEST_KEYS) or known_here(_MANIFEST_KEYS)
            findings.error(
                "unknown-key", f"{key!r} is not a key of a manifest", (key,), hint=hint, on_key=True
            )
    if source.get("apiVersion") != API_VERSION:
        findings.error(
            "api-version", f"apiVersion must be {API_VERSION}", ("apiVersion",), hint=API_VERSION
        )
    if source.get("kind") != "Workflow":
        findings.error("kind", "kind must be Workflow", ("kind",), hint="Workflow")
    value: dict[str, Json] = {}
    spec = source.get("spec")
    name = (
        "steps" if isinstance(spec, dict) and "steps" in spec and "tasks" not in spec else "tasks"
    )
    records = {"metadata": METADATA, "spec": SPEC if name == "tasks" else SPEC_STEPS}
    for key, record in records.items():
        if key not in source:
            findings.error("missing-key", f"a manifest needs {key!r}", ())
            continue
        found = record.read(source[key], (key,), reading)
        if found is not MISSING:
            value |= found
    document = Document(_as_steps(value), uses=reading.uses, body=("spec",), camel=True)
    return _finish(document, reading, ("spec", name), ("spec", "params"))


def _as_steps(value: dict[str, Json]) -> dict[str, Json]:
    """Steps may be called tasks; canonically they are steps."""
    if value is not MISSING and "tasks" in value:
        value["steps"] = value.pop("tasks")
    return value


def _finish(document: Document, reading: Reading, steps: Path, params: Path) -> Document:
    value = document.value
    if value is MISSING:
        document.value = {}
        return document
    raw_steps = value.get("steps")
    if isinstance(raw_steps, list):
        if not raw_steps:
            reading.findings.error("empty", "a workflow has at least one step", steps)
        document.steps = [
            step
            for index, raw in enumerate(raw_steps)
            if (step := _step(raw, index, (*steps, index), reading)) is not None
        ]
        value["steps"] = [step.value for step in document.steps]
    if "params" in value:
        value["params"] = read_params(value["params"], params, reading.findings)
    return document


def _step(raw: Json, index: int, path: Path, reading: Reading) -> Step | None:
    if not isinstance(raw, dict):
        reading.findings.error("type", f"a step is a mapping, not {kind_of(raw)}", path)
        return None
    kind = _kind(raw)
    reading.step = index
    given = raw.get("id")
    reading.findings.step = given if isinstance(given, str) else None
    value = _read_step(kind, raw, path, reading)
    reading.step = reading.findings.step = None
    if kind is StepKind.TASK:
        value.pop("type", None)
    return Step(index, value, raw, path, kind or StepKind.TASK)


def _kind(raw: dict[str, Json]) -> StepKind | None:
    """The kind that was written, if it is one. Under `kind` it is refused, but what else stands there is read by it."""
    written = raw.get("type", raw.get("kind", "task"))
    return _KINDS.get(written) if isinstance(written, str) else None


def _read_step(
    kind: StepKind | None, raw: dict[str, Json], path: Path, reading: Reading
) -> dict[str, Json]:
    """A step by its record; kinds with keys of their own may have them inside of `with`."""
    record = STEPS[kind] if kind is not None else _ANY_KIND
    inner = raw.get("with")
    if kind not in KINDS_WITH_OWN_KEYS or not isinstance(inner, dict):
        found = record.read(raw, path, reading)
        return found if isinstance(found, dict) else {}
    outer = {key: one for key, one in raw.items() if key != "with"}
    own = {name: one for name, one in record.fields.items() if name not in EVERY_STEP}
    beside = Record(
        record.name,
        {
            name: one if name not in own else Field(one.shape, one.about)
            for name, one in record.fields.items()
        },
    )
    value: dict[str, Json] = beside.read(outer, path, reading)
    inside = Record(record.name, own, never=_never_inside(record))
    _refuse_twice(inside, outer, inner, (*path, "with"), reading)
    value |= inside.read(inner, (*path, "with"), reading)
    return value


def _never_inside(record: Record) -> dict[str, str]:
    """What every step has stands beside `with`; what this kind never has is not told to stand there."""
    beside = {name: f"{name} stands beside `with`, not inside of it" for name in EVERY_STEP}
    return beside | dict(record.never)


def _refuse_twice(
    inside: Record, outer: dict[str, Json], inner: dict[str, Json], path: Path, reading: Reading
) -> None:
    """One of the two would be forgotten, and with it what somebody wrote to make an approval safe."""
    beside = {inside.canonical(key, reading) for key in outer}
    for key in inner:
        name = inside.canonical(key, reading)
        if name is not None and name in beside:
            reading.findings.error(
                "duplicate-key",
                f"{name} stands beside and inside of `with`",
                (*path, key),
                on_key=True,
            )
