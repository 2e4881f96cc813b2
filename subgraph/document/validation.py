"""Validation that is bounded whatever is asked: few errors, no place counted twice, no comparison without end.

The rules are the library's and Strawberry's. What is ours: how many errors are told, where the library would go on to a
hundred; how often fields of one name are compared, which grows with their square; and that the line of a place is
looked up, where the library counts it from the beginning of the text each time.
"""

from __future__ import annotations

from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    Source,
    SourceLocation,
    ValidationContext,
    specified_rules,
    validate,
)
from graphql.validation import OverlappingFieldsCanBeMergedRule
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from subgraph.document.limits import Limits

MOST_ERRORS: Final = 10


class Text(Source):
    """A document's text that finds the line of a place without walking there."""

    def get_location(self, position: int) -> SourceLocation:
        """Line and column of a place, both from 1."""
        text = self.body
        ends = text.count("\n", 0, position) + text.count("\r", 0, position)
        begin = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
        return SourceLocation(1 + ends - text.count("\r\n", 0, position), position + 1 - begin)


class Validator:
    """Validates documents against one schema."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, shows_schema: bool = True) -> None:
        self._schema = schema
        self._shows_schema = shows_schema
        self._rules = (
            *(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule),
            _overlaps(limits),
            MaybeNullValidationRule,
            OneOfInputValidationRule,
        )

    def errors(self, document: DocumentNode) -> tuple[GraphQLError, ...]:
        """What is wrong with a document; nothing when it may run, and only the refusal when it asks for too much."""
        found = validate(
            self._schema,
            document,
            self._rules,
            max_errors=MOST_ERRORS,
            hide_suggestions=not self._shows_schema,
        )
        too_much = [error for error in found if (error.extensions or {}).get("code")]
        return tuple(too_much or found)


def _overlaps(limits: Limits) -> type[OverlappingFieldsCanBeMergedRule]:
    """The library's rule with our budget of comparisons instead of its own."""

    class Overlaps(OverlappingFieldsCanBeMergedRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = limits.overlaps

        def enter_selection_set(self, *arguments: Any) -> None:
            try:
                super().enter_selection_set(*arguments)
            except ValidationAbortedError:
                if self.rule_context.remaining_complexity_budget >= 0:
                    raise
                refusal = limits.refusal("overlaps", limits.overlaps + 1)
                raise ValidationAbortedError(
                    refusal.message, extensions=refusal.extensions
                ) from None

    return Overlaps
