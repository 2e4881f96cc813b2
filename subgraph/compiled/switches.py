"""The switches of an operation: the variables of `@skip` and `@include`. It has a plan for each of their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

from subgraph.compiled.reasons import Reason, Unplanned

_SWITCHING: Final = frozenset({"skip", "include"})


def switches_of(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> tuple[str, ...]:
    """The names of these variables; raises Unplanned when a directive means something else."""
    found: dict[str, None] = {}
    for each in (operation, *fragments.values()):
        if each.directives or (
            isinstance(each, FragmentDefinitionNode) and each.variable_definitions
        ):
            raise Unplanned(Reason.DIRECTIVE)
        for directive in _directives(each.selection_set):
            if directive.name.value not in _SWITCHING:
                raise Unplanned(Reason.DIRECTIVE, directive.name.value)
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    found[argument.value.name.value] = None
    return tuple(found)


def _directives(selections: SelectionSetNode | None) -> Iterator[DirectiveNode]:
    for selection in selections.selections if selections else ():
        yield from selection.directives or ()
        if isinstance(selection, FieldNode | InlineFragmentNode):
            yield from _directives(selection.selection_set)
        elif isinstance(selection, FragmentSpreadNode) and selection.arguments:
            raise Unplanned(Reason.DIRECTIVE)
