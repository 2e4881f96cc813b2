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
from runtime.expression import (
    CONSTANT,
    DEFAULT,
    ExpressionError,
    Template,
    has_expression,
    parse_template,
)
from runtime.model.plan import MAX_ITEMS, StepKind

_MAX_LARGE: Final = (
    3  # So many lists are computed whatever their size; of the others only small ones.
)


def check_maps(graph: Graph, types: Types, findings: Findings) -> None:
    """Every map of a document, and what all of them come to."""
    sure = most = 0
    sizes = _Sizes(types, findings)
    for step in graph.steps:
        if step.kind is not StepKind.MAP or "for_each" not in step.value:
            continue
        findings.step = step.id or None
        _check_list(step, types, findings)
        _check_lasting(step, findings)
        size, is_sure = sizes.of(step)
        before, most = most, most + size
        known, sure = sure, sure + (size if is_sure else 0)
        if sure > MAX_ITEMS >= known:
            _refuse(findings.error, f"this comes to {sure:,} items", step)
        elif most > MAX_ITEMS >= before:
            _refuse(findings.warning, f"this may come to {most:,} items", step)
    findings.step = None


def _refuse(report: Callable[..., None], message: str, step: Step) -> None:
    report(
        "fan-out", f"{message} in one execution; the limit is {MAX_ITEMS:,}", step.place("for_each"),
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


def _check_lasting(step: Step, findings: Findings) -> None:
    """A retry does only the items that have not completed, so the list must be what it was."""
    value = step.value["for_each"]
    try:
        paths = [one.path for one in parse_template(value).references]
    except ExpressionError:
        return
    if any(path[:1] == ("execution",) and path[1:2] in {(), ("generation",)} for path in paths):
        findings.error(
            "map-list-changes", "a retry keeps items by their number, and execution.generation makes it another list",
            step.place("for_each"), hint="use it in the task's `with`",
        )  # fmt: skip


class _Sizes:
    """The sizes of one document's lists; what stands in it twice is computed once."""

    def __init__(self, types: Types, findings: Findings) -> None:
        self._types = types
        self._findings = findings
        self._known: dict[str, tuple[int, bool]] = {}
        self._count = 0

    def of(self, step: Step) -> tuple[int, bool]:
        """How many items there are, and whether that is sure or only the most there may be."""
        value = step.value["for_each"]
        if isinstance(value, list):
            return len(value), True
        if not isinstance(value, str) or not has_expression(value):
            return 0, True
        if value not in self._known:
            self._known[value] = self._find(value)
        return self._known[value]

    def _find(self, text: str) -> tuple[int, bool]:
        try:
            template = parse_template(text)
            if not template.references:
                return self._computed(template), True
        except ExpressionError:
            return 0, True
        schema = self._types.list_schema(text)
        most = schema.get("maxItems") if isinstance(schema, dict) else None
        return (most if isinstance(most, int) else 0), False

    def _computed(self, template: Template) -> int:
        if not self._findings.may_compute():
            return 0
        self._count += 1
        limits = DEFAULT if self._count <= _MAX_LARGE else CONSTANT
        found = template.render({}, limits=limits)
        return len(found) if isinstance(found, list) else 0
