"""What an answer really cost: the lists that came back instead of those that might have.

Worked out only when it is asked for. A shape says which parts of an answer count, fragments written out and fields of
one name put together; it is made once per operation. A list whose objects hold nothing that counts is only measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from subgraph.document.cost import Amount, add_input
from subgraph.document.prices import Price, Prices


@dataclass(slots=True)
class Shape:
    """One name in an answer: what each object under it costs, what a value or null does, and what its arguments do."""

    weight: int = 0
    leaf: int = 0
    arguments: Amount = field(default_factory=Amount)
    parts: dict[str, Shape] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether anything under this name can cost something."""
        return bool(self.weight or self.leaf or self.parts or not self.arguments.is_nothing)


def shape_of(document: DocumentNode, operation: OperationDefinitionNode, prices: Prices) -> Shape:
    """What of an operation's answer counts. The document has passed the limits, so writing it out is bounded."""
    fragments = {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    shape = Shape()
    _fill(
        shape, operation.selection_set, prices.root(operation.operation.value), (fragments, prices)
    )
    return shape


def actual_cost(
    shape: Shape, data: Mapping[str, Any] | None, prices: Prices, given: Mapping[str, Any]
) -> int:
    """What an answer cost. All objects of one place are looked at together, so an answer takes a step per place."""
    return _of_all(shape, [data], (prices, given)) if data else 0


def _of_all(shape: Shape, values: list[Any], around: tuple[Prices, Mapping[str, Any]]) -> int:
    while any(type(value) is list for value in values):
        values = [each for value in values for each in (value if type(value) is list else (value,))]
    nulls = values.count(None)
    total = (len(values) - nulls) * shape.weight + nulls * shape.leaf
    if not shape.parts:
        return total
    objects = [value for value in values if value is not None] if nulls else values
    for name, part in shape.parts.items():
        found = [each[name] for each in objects if name in each]
        if found:
            total += len(found) * part.arguments.value(*around) + _of_all(part, found, around)
    return total


def _fill(
    shape: Shape,
    selections: SelectionSetNode | None,
    kind: str | None,
    around: tuple[Mapping[str, FragmentDefinitionNode], Prices],
) -> None:
    fragments, prices = around
    for selection in selections.selections if selections else ():
        if isinstance(selection, FieldNode):
            price = prices.of(kind, selection.name.value)
            if price is not None and not price.repeats:
                _field(shape, selection, price, around)
        elif isinstance(selection, FragmentSpreadNode):
            fragment = fragments[selection.name.value]
            _fill(shape, fragment.selection_set, fragment.type_condition.name.value, around)
        elif isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            inner = condition.name.value if condition else kind
            _fill(shape, selection.selection_set, inner, around)


def _field(
    shape: Shape,
    node: FieldNode,
    price: Price,
    around: tuple[Mapping[str, FragmentDefinitionNode], Prices],
) -> None:
    name = node.alias.value if node.alias else node.name.value
    part = shape.parts.get(name) or Shape()
    part.weight, part.leaf = max(part.weight, price.weight), max(part.leaf, price.leaf)
    if name not in shape.parts:
        for argument in node.arguments or ():
            if argument.name.value in price.inputs:
                add_input(
                    part.arguments, around[1], argument.value, price.inputs[argument.name.value]
                )
    _fill(part, node.selection_set, price.kind, around)
    if part.counts:
        shape.parts[name] = part
