"""How many rows an operation can come to: pages inside pages multiply, and depth alone does not see it.

Looked at per request, because page sizes come in variables. The sizes are those that the SDL tells gateways
(`@listSize`), so both count the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.federation.schema_directives import ListSize
from strawberry.schema import Schema

MOST_ROWS: Final = 100_000
_PAGE_ARGUMENTS: Final = ("first", "last")
_LIST_ARGUMENTS: Final = ("ids", "representations")


def sizes_of(schema: Schema) -> dict[str, int]:
    """What a list comes to unless its arguments say otherwise, by the name of its field."""
    sizes: dict[str, int] = {"_entities": 1}
    for type_ in schema.schema_converter.type_map.values():
        for field in getattr(type_.definition, "fields", ()):
            name = schema.config.name_converter.get_graphql_name(field)
            for directive in field.directives:
                if isinstance(directive, ListSize):
                    sizes[name] = max(sizes.get(name, 0), directive.assumed_size or _default(field))
    return sizes


def _default(field: Any) -> int:
    found = {each.python_name: each.default for each in field.arguments}
    return int(found.get("first") or 1)


def rows_of(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    sizes: Mapping[str, int],
    variables: Mapping[str, Any],
) -> int:
    """The most rows that an operation can come to with these variables."""
    given = {
        each.variable.name.value: int(each.default_value.value)
        for each in operation.variable_definitions or ()
        if isinstance(each.default_value, IntValueNode)
    }
    return _Count(document, sizes, {**given, **variables}).rows(operation.selection_set)


class _Count:
    """Counts one operation; a fragment is looked into once."""

    def __init__(
        self, document: DocumentNode, sizes: Mapping[str, int], variables: Mapping[str, Any]
    ) -> None:
        self._sizes = sizes
        self._variables = variables
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._known: dict[str, int] = {}

    def rows(self, selections: SelectionSetNode | None) -> int:
        """Rows that a selection comes to."""
        total = 0
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                inner = self.rows(selection.selection_set)
                size = self._size(selection)
                total += inner if size is None else size * (1 + inner)
            elif isinstance(selection, FragmentSpreadNode):
                total += self._fragment(selection.name.value)
            else:
                total += self.rows(getattr(selection, "selection_set", None))
        return total

    def _fragment(self, name: str) -> int:
        if name not in self._known and name in self._fragments:
            self._known[name] = self.rows(self._fragments[name].selection_set)
        return self._known.get(name, 0)

    def _size(self, field: FieldNode) -> int | None:
        """How many items a field gives; None when it is no list."""
        default = self._sizes.get(field.name.value)
        if default is None:
            return None
        asked = [self._asked(argument) for argument in field.arguments or ()]
        return max((size for size in asked if size is not None), default=default)

    def _asked(self, argument: ArgumentNode) -> int | None:
        """The size that one argument asks for."""
        value: Any = argument.value
        if isinstance(value, VariableNode):
            value = self._variables.get(value.name.value)
        if argument.name.value in _PAGE_ARGUMENTS:
            if isinstance(value, IntValueNode):
                return int(value.value)
            return value if isinstance(value, int) else None
        if argument.name.value in _LIST_ARGUMENTS:
            if isinstance(value, ListValueNode):
                return len(value.values)
            return len(value) if isinstance(value, list) else None
        return None
