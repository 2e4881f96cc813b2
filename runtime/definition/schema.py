"""The JSON Schema of documents, for editors: completion, descriptions, and the first refusals.

Made from the same table that reads documents, and valid in the strict mode of validators that have
one. Given a catalog, `uses` completes to the connectors that are installed. A copy without catalog
lies beside this file (`workflow.schema.json`), for editors that have no server at hand.
"""

from __future__ import annotations

import json
from typing import Any, Final

from runtime.abi.catalog import Catalog, ConnectorInfo
from runtime.definition.language import (
    API_VERSION,
    EVERY_STEP,
    FLAT,
    KINDS_WITH_OWN_KEYS,
    METADATA,
    SPEC,
    STEPS,
)
from runtime.definition.shape import Record, Schema, camel
from runtime.definition.waits import ENDS
from runtime.model.plan import StepKind
from runtime.model.values import Json

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Of each unit as many digits as ten years have, which is the longest duration that there is.
_DIGITS: Final = {"ms": 12, "s": 9, "m": 7, "h": 5, "d": 4, "w": 3}
_W, _D, _H, _M, _S = (rf"0*\d{{1,{_DIGITS[unit]}}}" for unit in ("w", "d", "h", "m", "s"))
_COMPACT: Final = (
    "(" + "|".join(rf"0*\d{{1,{most}}}(\.\d+)?{unit}" for unit, most in _DIGITS.items()) + ")+"
)
_ISO: Final = rf"P(?=\d|T\d)({_W}W)?({_D}D)?(T(?=\d)({_H}H)?({_M}M)?({_S}(\.\d+)?S)?)?"
_EXPRESSION: Final = r"\{\{|\$\{"


def json_schema(catalog: Catalog | None = None) -> dict[str, Json]:
    """JSON Schema 2020-12 of a workflow document, in either spelling."""
    infos = [one for versions in (catalog or {}).values() for one in versions if one.installed]
    definitions: Schema = {
        "duration": {
            "type": "string",
            "pattern": f"^({_COMPACT}|{_ISO})$",
            "maxLength": 128,
            "description": "A length of time: 30s, 5m, 2h30m, 500ms, PT5M.",
        },
        "positiveDuration": {
            "type": "string",
            "allOf": [{"$ref": "#/$defs/duration"}],
            "pattern": "[1-9]",
            "description": "A length of time, and not none: 30s, 5m, 2h30m, 500ms, PT5M.",
        },
        "step": _step(infos),
        "flat": _either_name(FLAT.schema(), "steps", "tasks"),
        "manifest": _manifest(),
        "manifestStep": _camelled(_step(infos)),
    }
    return {
        "$schema": _DIALECT,
        "title": "Workflow",
        "description": "A workflow of Maestro Composer: flat, or as a manifest.",
        "type": "object",
        "if": _with(["apiVersion"]),
        "then": {"$ref": "#/$defs/manifest"},
        "else": {"$ref": "#/$defs/flat"},
        "$defs": definitions,
    }


def _step(infos: list[ConnectorInfo]) -> Schema:
    """A step of any kind: its `type` decides which keys it has."""
    kinds: list[Schema] = []
    for kind, record in STEPS.items():
        condition: Schema = {"type": "object", "properties": {"type": {"const": kind.value}}}
        if kind is not StepKind.TASK:
            condition["required"] = ["type"]
        kinds.append({"if": condition, "then": _record(record, kind, infos)})
    return {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": True,
            "type": {"enum": [kind.value for kind in STEPS], "default": "task"},
        },
        "allOf": kinds,
    }


def _record(record: Record, kind: StepKind, infos: list[ConnectorInfo]) -> Schema:
    schema = record.schema()
    schema["properties"]["type"] = {"const": kind.value}
    if kind is StepKind.TASK and infos:
        names = [f"{one.name}@{one.version.major}" for one in infos]
        uses = schema["properties"]["uses"]
        uses["examples"] = sorted(set(names))
    if kind in KINDS_WITH_OWN_KEYS:
        _allow_inside_with(schema, record)
    if kind is StepKind.WAIT:
        schema["anyOf"] = [_with([key]) for key in ENDS]
    return schema


def _allow_inside_with(schema: Schema, record: Record) -> None:
    """Kinds with keys of their own may have them inside of `with`, as manifests like to."""
    own = {name: one for name, one in record.fields.items() if name not in EVERY_STEP}
    inside = Record(record.name, own).schema()
    needed = inside.pop("required", [])
    schema["properties"]["with"] = inside
    if needed:
        schema["required"] = [name for name in schema["required"] if name not in needed]
        schema["anyOf"] = [_with(needed), _with(["with"])]


def _with(names: list[str]) -> Schema:
    """A mapping that has these keys, said so that strict validators know them."""
    return {"type": "object", "properties": dict.fromkeys(names, True), "required": names}


def _either_name(schema: Schema, name: str, other: str) -> Schema:
    """Steps are called steps or tasks in both spellings, but not both at once."""
    schema["properties"][other] = schema["properties"][name]
    schema["required"] = [one for one in schema["required"] if one != name]
    schema["oneOf"] = [_with([name]), _with([other])]
    return schema


def _manifest() -> Schema:
    spec = _camelled(SPEC.schema())
    spec["properties"]["tasks"]["items"] = {"$ref": "#/$defs/manifestStep"}
    spec = _either_name(spec, "tasks", "steps")
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": "Workflow"},
            "metadata": _camelled(METADATA.schema()),
            "spec": spec,
        },
    }


def _camelled(schema: Any) -> Any:
    """A schema whose keys may be written in camelCase too."""
    if isinstance(schema, list):
        return [_camelled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _camelled(one) for key, one in schema.items() if key != "properties"}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        out["properties"] = {}
        for key, one in properties.items():
            out["properties"][key] = _camelled(one)
            if camel(key) != key:
                out["properties"][camel(key)] = _camelled(one)
        required = out.get("required")
        if required:
            out["required"] = [key for key in required if camel(key) == key]
            both = [key for key in required if camel(key) != key]
            if both:
                out["allOf"] = [
                    *out.get("allOf", []),
                    *({"anyOf": [_with([key]), _with([camel(key)])]} for key in both),
                ]
    return out


def schema_text() -> str:
    """What stands in `workflow.schema.json`; `make schema` writes it."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n"
