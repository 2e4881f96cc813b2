"""Definitions: from text (YAML or JSON, two spellings) to findings, one canonical form and a Plan.

Pure. `validate` judges a document, `compile_plan` turns a stored definition into the plan that the
engine walks, `apply_params` checks the input of an execution, `json_schema` serves editors.
"""

from __future__ import annotations

from runtime.definition.calling import called
from runtime.definition.canonical import canonical_bytes, canonical_digest
from runtime.definition.compile import compile_plan, config_hash
from runtime.definition.diff import diff_definitions
from runtime.definition.effort import QUICK, TooCostly, budget
from runtime.definition.language import NAME
from runtime.definition.params import apply_params, apply_schema, refuse_schema
from runtime.definition.question import DocumentQuestion, InputQuestion, Question, SchemaQuestion
from runtime.definition.schema import json_schema, schema_text
from runtime.definition.validate import Validation, validate

__all__ = [
    "NAME",
    "QUICK",
    "DocumentQuestion",
    "InputQuestion",
    "Question",
    "SchemaQuestion",
    "TooCostly",
    "Validation",
    "apply_params",
    "apply_schema",
    "budget",
    "called",
    "canonical_bytes",
    "canonical_digest",
    "compile_plan",
    "config_hash",
    "diff_definitions",
    "json_schema",
    "refuse_schema",
    "schema_text",
    "validate",
]
