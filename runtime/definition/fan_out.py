"""Maps: they go over a list, and not over more than one execution may come to.

The size is known for lists that are written down, for expressions that read nothing, and for params
whose schema says how long they may get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.definition.document import Step
from runtime.definition.finding import Findings
from runtime.definition.graph import Graph
from runtime.definition.shape import kind_of
from runtime.definition.types import Types
from runtime.expression import ExpressionError, has_expression, parse_template
from runtime.model.plan import StepKind

MAX_FAN_OUT: Final = 100_000


def check_maps(graph: Graph, types: Types, findings: Findings) -> None:
    """Every map of a document, and what all of them come to."""
    sure = most = 0
    for step in graph.steps:
        if step.kind is not StepKind.MAP or "for_each" not in step.value:
            continue
        findings.step = step.id or None
        _check_list(step, types, findings)
        size, is_sure = _size(step, types)
        before, most = most, most + size
        sure += size if is_sure else 0
        if is_sure and sure > MAX_FAN_OUT:
            _refuse(findings.error, f"this comes to {sure:,} items", step)
        elif most > MAX_FAN_OUT >= before:
            _refuse(findings.warning, f"this may come to {most:,} items", step)
    findings.step = None


def _refuse(report: Callable[..., None], message: str, step: Step) -> None:
    report(
        "fan-out", f"{message} in one execution; the limit is {MAX_FAN_OUT:,}", step.place("for_each"),
        hint="map over parts of the list, each in a workflow of its own",
    )  # fmt: skip


def _check_list(step: Step, types: Types, findings: Findings) -> None:
    value = step.value["for_each"]
    if isinstance(value, str) and has_expression(value):
        kinds = types.of(value)
        if kinds is not None and not kinds & {"array", "null"}:
            named = " or ".join(sorted(kinds))
            findings.error(
                "map-without-list", f"this is of type {named}, not a list", step.place("for_each")
            )
    elif not isinstance(value, list):
        findings.error(
            "map-without-list", f"a map goes over a list, not {kind_of(value)}", step.place("for_each"),
            hint="write an expression that gives a list",
        )  # fmt: skip


def _size(step: Step, types: Types) -> tuple[int, bool]:
    """How many items there are, and whether that is sure or only the most there may be."""
    value = step.value["for_each"]
    if isinstance(value, list):
        return len(value), True
    if not isinstance(value, str) or not has_expression(value):
        return 0, True
    try:
        template = parse_template(value)
        if not template.references:
            found = template.render({})
            return (len(found) if isinstance(found, list) else 0), True
    except ExpressionError:
        return 0, True
    schema = types.list_schema(value)
    most = schema.get("maxItems") if isinstance(schema, dict) else None
    return (most if isinstance(most, int) else 0), False
