"""The switches of an operation: the variables of `@skip` and `@include`. It has a plan for each of their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)

from subgraph.compiled.reasons import Reason, Unplanned

_SWITCHING: Final = frozenset({"skip", "include"})


def switches_of(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> tuple[str, ...]:
    """The names of these variables; raises Unplanned when a directive means something else.

    Only what the operation reaches counts: in the fragments of another one, a name may stand for a list.
    """
    found: dict[str, None] = {}
    reached: set[str] = set()
    todo: list[OperationDefinitionNode | FragmentDefinitionNode] = [operation]
    while todo:
        each = todo.pop()
        if each.directives or (
            isinstance(each, FragmentDefinitionNode) and each.variable_definitions
        ):
            raise Unplanned(Reason.DIRECTIVE)
        for selection in _selections(each.selection_set):
            found |= dict.fromkeys(_variables(selection))
            if not isinstance(selection, FragmentSpreadNode):
                continue
            if selection.arguments:
                raise Unplanned(Reason.DIRECTIVE)
            if selection.name.value not in reached:
                reached.add(selection.name.value)
                todo.append(fragments[selection.name.value])
    return tuple(found)


def _variables(selection: SelectionNode) -> Iterator[str]:
    """The variables that decide on this selection."""
    for directive in selection.directives or ():
        if directive.name.value not in _SWITCHING:
            raise Unplanned(Reason.DIRECTIVE, directive.name.value)
        for argument in directive.arguments or ():
            if isinstance(argument.value, VariableNode):
                yield argument.value.name.value


def _selections(selections: SelectionSetNode | None) -> Iterator[SelectionNode]:
    """Every selection inside, but not what is in the fragments that are spread."""
    for selection in selections.selections if selections else ():
        yield selection
        if isinstance(selection, FieldNode | InlineFragmentNode):
            yield from _selections(selection.selection_set)
