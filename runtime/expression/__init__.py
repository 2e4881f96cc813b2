"""Expressions: `{{ steps.a.output.x }}` and `${ params.y }`, read once, evaluated without the world.

Pure: no clock, no files, no Python objects, nothing but the data of the scope, and never more work
or memory than Limits allow. The engine renders with it, validation reads the references.
"""

from __future__ import annotations

from runtime.expression.budget import CONSTANT, DEFAULT, Limits
from runtime.expression.compile import Reference
from runtime.expression.error import MAX_COMPARED, ExpressionError, nearest
from runtime.expression.inspection import (
    MAX_CHARACTERS,
    Inspection,
    inspect_condition,
    inspect_template,
)
from runtime.expression.kinds import TEXT, Kinds, kinds_of_template
from runtime.expression.proof import Facts, fact_of
from runtime.expression.read import write_path
from runtime.expression.scan import has_expression, is_single
from runtime.expression.template import (
    Template,
    constant_condition,
    parse_condition,
    parse_template,
    truthy,
)

__all__ = [
    "CONSTANT",
    "DEFAULT",
    "MAX_CHARACTERS",
    "MAX_COMPARED",
    "TEXT",
    "ExpressionError",
    "Facts",
    "Inspection",
    "Kinds",
    "Limits",
    "Reference",
    "Template",
    "constant_condition",
    "fact_of",
    "has_expression",
    "inspect_condition",
    "inspect_template",
    "is_single",
    "kinds_of_template",
    "nearest",
    "parse_condition",
    "parse_template",
    "truthy",
    "write_path",
]
