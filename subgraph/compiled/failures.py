"""Errors that leave a null in their place: told with the path of that place, as the library tells them.

A plan does not know where in an answer an object stands, and need not while nothing fails. Afterwards the answer is
gone through once, along the names that have fields below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    DefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    located_error,
)

from subgraph.compiled.reasons import Reason, Unplanned

# Where something stands: the place around it, and its name or number there.
_Place: TypeAlias = tuple[Any, str | int] | None


class Failure(NamedTuple):
    """What failed: the object in the answer, the way from there, the field's nodes, and the error."""

    answer: dict[str, Any]
    way: tuple[str | int, ...]
    nodes: list[FieldNode]
    error: Exception


def told(
    data: dict[str, Any], failures: Sequence[Failure], definitions: Sequence[DefinitionNode]
) -> list[GraphQLError]:
    """The errors with their paths; raises Unplanned when one stands where nothing is left."""
    wanted = {id(each.answer) for each in failures}
    found: dict[int, _Place] = {}
    branches = frozenset(_branches(definitions))
    stack: list[tuple[Any, _Place]] = [(data, None)]
    while stack and len(found) < len(wanted):
        value, place = stack.pop()
        if id(value) in wanted:
            found[id(value)] = place
        if isinstance(value, dict):
            stack += ((value[name], (place, name)) for name in branches & value.keys())
        elif isinstance(value, list):
            stack += ((each, (place, index)) for index, each in enumerate(value))
    if len(found) < len(wanted):
        raise Unplanned(Reason.ERROR, "place")
    return [
        located_error(each.error, each.nodes, [*_path(found[id(each.answer)]), *each.way])
        for each in failures
    ]


def _path(place: _Place) -> list[str | int]:
    path: list[str | int] = []
    while place is not None:
        place, key = place
        path.append(key)
    return path[::-1]


def _branches(definitions: Sequence[Any]) -> Iterator[str]:
    """The names in an answer that have fields below them."""
    stack: list[Any] = [
        each
        for each in definitions
        if isinstance(each, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    while stack:
        node = stack.pop()
        for each in node.selection_set.selections:
            if isinstance(each, FieldNode) and each.selection_set is not None:
                yield each.alias.value if each.alias else each.name.value
                stack.append(each)
            elif isinstance(each, InlineFragmentNode):
                stack.append(each)
