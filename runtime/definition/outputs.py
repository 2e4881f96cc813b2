"""What steps give: connectors by their schema, people by their form, maps a list.

The one place that says so; references are followed into it and types come from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from runtime.abi.catalog import Catalog, ConnectorInfo
from runtime.definition.document import Step
from runtime.expression import has_expression
from runtime.model.plan import ConnectorRef, StepKind
from runtime.model.values import Json

_TEXT: Final[Json] = {"type": "string"}


@lru_cache(maxsize=1_024)
def parse_ref(uses: str) -> ConnectorRef:
    """`http.request@1.2` as a reference; the form was checked before."""
    name, _, version = uses.removeprefix("tasks/").partition("@")
    parts = [int(part) for part in version.split(".")]
    return ConnectorRef(name, *parts)


def find_info(uses: Json, catalog: Catalog) -> ConnectorInfo | None:
    """The newest connector that a step's `uses` names."""
    if not isinstance(uses, str) or "@" not in uses:
        return None
    ref = parse_ref(uses)
    fitting = [one for one in catalog.get(ref.name, ()) if one.answers(ref)]
    return max(fitting, key=lambda one: (not one.version.prerelease, one.version), default=None)


def output_schema(step: Step, catalog: Catalog) -> Json:
    """The JSON Schema of a step's output; None when nobody knows it, or when `on_error` may give another one."""
    return None if gives_in_place(step) else own_schema(step, catalog)


def own_schema(step: Step, catalog: Catalog) -> Json:
    """The JSON Schema of the output that a step gives when it completes; None when nobody knows it."""
    match step.kind:
        case StepKind.TASK:
            info = find_info(step.value.get("uses"), catalog)
            return info.output_schema if info is not None and info.installed else None
        case StepKind.HUMAN_APPROVAL | StepKind.HUMAN_TASK:
            return _answer(step)
        case StepKind.MAP:
            return {"type": "array"}
        case _:
            return None


def gives_in_place(step: Step) -> bool:
    """Whether `on_error` says with which output the step goes on when it has failed."""
    rule = step.value.get("on_error")
    return isinstance(rule, dict) and rule.get("output") is not None


def missing_in_place(step: Step, path: Sequence[Any]) -> str | None:
    """The first key of a path that the output in `on_error` surely lacks; None where an expression may give it."""
    if not gives_in_place(step):
        return None
    rule: Any = step.value["on_error"]
    value = rule["output"]
    for key in path:
        if isinstance(value, str) and has_expression(value):
            return None
        if isinstance(key, str):
            if not isinstance(value, dict) or key not in value:
                return key
        elif (
            not isinstance(key, int)
            or not isinstance(value, list)
            or not -len(value) <= key < len(value)
        ):
            return None
        value = value[key]
    return None


def asks_people(step: Step) -> bool:
    """Whether a step's output is what people answer."""
    return step.kind in {StepKind.HUMAN_APPROVAL, StepKind.HUMAN_TASK}


def decides_alone(step: Step) -> bool:
    """Whether a task may be decided without an answer: `response` is then null."""
    expiry, chain = step.value.get("on_expiry"), step.value.get("escalate")
    if isinstance(expiry, dict) and "outcome" in expiry and "timeout" in step.value:
        return True
    return isinstance(chain, list) and any(
        isinstance(one, dict) and "outcome" in one for one in chain
    )


def _answer(step: Step) -> Json:
    """What people answer; `decision` is another word for the outcome."""
    form = step.value.get("form")
    properties: dict[str, Json] = {
        "outcome": _TEXT,
        "decision": _TEXT,
        "response": form if isinstance(form, dict) else {},
        "by": {},
        "at": _TEXT,
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def schema_at(root: Any, path: tuple[Any, ...]) -> Any:
    """The schema of what lies at a path; None when it does not say."""
    schema = root
    for key in path:
        schema = resolved(schema, root)
        if not isinstance(schema, dict):
            return None
        below = schema.get("items") if isinstance(key, int) else schema.get("properties")
        schema = below if isinstance(key, int) else _property(below, key)
    return resolved(schema, root)


def _property(properties: Any, key: Any) -> Any:
    return properties.get(key) if isinstance(properties, dict) else None


def resolved(schema: Any, root: Any) -> Any:
    """A schema with its `$ref` into the same document followed."""
    for _ in range(8):
        if not isinstance(schema, dict) or "$ref" not in schema:
            return schema
        target: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        schema = target
    return None
