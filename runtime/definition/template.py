"""Templates inside documents: checked, brought into one spelling, and kept for the checks of meaning.

`${x}` becomes `{{ x }}` and `tasks.` becomes `steps.`, so that both spellings of a document have one
canonical form and one digest. Each template is read once; later checks use its references.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.definition.finding import Findings, Path
from runtime.expression import (
    MAX_CHARACTERS,
    ExpressionError,
    Facts,
    Reference,
    has_expression,
    inspect_condition,
    inspect_template,
)
from runtime.model.values import Json


class TooMuch(Exception):
    """The document holds more expressions than anybody reads."""

    def __init__(self, path: Path) -> None:
        super().__init__("too many expressions")
        self.path = path


class Use(NamedTuple):
    """A template in the document: where it stands and what part of the language it belongs to.

    `proves`, of a condition: what is there when it holds.
    """

    references: tuple[Reference, ...]
    path: Path
    area: str
    step: int | None
    proves: Facts = frozenset()


def read_template(
    value: Json,
    path: Path,
    *,
    area: str,
    step: int | None,
    findings: Findings,
    uses: list[Use],
    needs_value: bool = False,
) -> Json:
    """The canonical form of a value with expressions; its faults are reported, all of them."""
    try:
        found = inspect_template(value, needs_value=needs_value)
    except ExpressionError:
        _report_each(value, path, findings)
        return value
    if found.size:
        _pay(found.size, path, findings)
    if found.references:
        uses.append(Use(found.references, path, area, step))
    return found.canonical


def read_condition(
    value: Json, path: Path, *, step: int | None, findings: Findings, uses: list[Use]
) -> Json:
    """The canonical form of a condition."""
    if not isinstance(value, str | bool):
        findings.error("type", "a condition is an expression, true or false", path)
        return True
    try:
        found = inspect_condition(value)
    except ExpressionError as error:
        report(error, path, findings)
        return value
    _pay(found.size, path, findings)
    if found.references:
        uses.append(Use(found.references, path, "when", step, found.proves))
    return found.canonical


def _pay(size: int, path: Path, findings: Findings) -> None:
    """One more part of what a document may hold of expressions; what goes beyond is not read."""
    findings.expression_characters += size
    if findings.expression_characters > MAX_CHARACTERS:
        raise TooMuch(path)


def report(error: ExpressionError, path: Path, findings: Findings) -> None:
    """Turn an expression's error into a finding."""
    where = f" (at character {error.offset + 1})" if error.offset else ""
    findings.error("expression", f"{error.message}{where}", path, hint=error.hint)


def _report_each(value: Json, path: Path, findings: Findings) -> None:
    """Every broken string of a value, not only the first."""
    if isinstance(value, dict):
        for key, one in value.items():
            if has_expression(key):
                message = "a key can't be an expression"
                findings.error("expression", message, (*path, key), on_key=True)
            _report_each(one, (*path, key), findings)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _report_each(one, (*path, index), findings)
    elif isinstance(value, str):
        try:
            _pay(inspect_template(value).size, path, findings)
        except ExpressionError as error:
            report(error, path, findings)
            _pay(len(value), path, findings)
