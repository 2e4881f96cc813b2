"""One pass over a parsed document: every limit's number, and what each operation costs as a formula.

Called by `documents` before validation, so nothing here believes that types or fields exist. Every node is
visited once: a fragment is measured when it is first met and remembered, never written out, so that fragments inside
fragments cost no more than their text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
    TypeNode,
    VariableDefinitionNode,
)

from subgraph.document.cost import Amount, add_input, length_of, literal
from subgraph.document.limits import Limits
from subgraph.document.prices import MUTATION, InputPrice, Price, Prices

_HIDDEN: Final = frozenset({"__schema", "__type", "_service"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one operation costs, before its variables are known; whether it asks for nothing but the schema."""

    amount: Amount
    defaults: Mapping[str, Any]
    variables: tuple[tuple[str, InputPrice], ...]
    is_introspection: bool = False

    def given(self, variables: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The variables of a request with the defaults of those that it leaves out."""
        return {**self.defaults, **(variables or {})} if self.defaults else variables or {}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pass found: an estimate per operation by its name, and whether the schema itself is asked for.

    `items`: what one item of each list costs that has no pages, by where its field stands in the text.
    """

    estimates: Mapping[str | None, Estimate]
    is_introspection: bool
    items: Mapping[int, Amount]


def measure(document: DocumentNode, prices: Prices, limits: Limits) -> Measured:
    """Measure a document; raises the refusal of what asks for too much."""
    walk = _Walk(document, prices, limits)
    estimates = {
        each.name.value if each.name else None: walk.operation(each)
        for each in document.definitions
        if isinstance(each, OperationDefinitionNode)
    }
    for name in walk.fragments:
        walk.fragment(name, 0)
    walk.check()
    return Measured(estimates, walk.is_introspection, walk.items)


@dataclass(slots=True)
class _Part:
    """A selection as far as it has been measured.

    `sized` holds fields that are as long as the list around says, if it says so: what one item costs, and what all cost
    if it does not.
    """

    depth: int = 0
    levels: int = 0
    fields: int = 0
    direct: int = 0
    meta: int = 0
    introspection: int = 0
    cost: Amount = field(default_factory=Amount)
    sized: dict[str, tuple[Amount, Amount]] = field(default_factory=dict)

    def take(self, other: _Part) -> None:
        """Add what a fragment brings."""
        self.depth = max(self.depth, other.depth)
        self.levels = max(self.levels, other.levels + 1)
        self.fields += other.fields
        self.direct += other.direct
        self.meta += other.meta
        self.introspection += other.introspection
        self.cost.add(other.cost)
        for name, (item, alone) in other.sized.items():
            mine = self.sized.setdefault(name, (Amount(), Amount()))
            mine[0].add(item)
            mine[1].add(alone)

    def total(self, price: Price | None, arguments: Mapping[str, Any]) -> Amount:
        """What it costs below a field of this price."""
        if not self.sized:
            return self.cost
        total = Amount()
        total.add(self.cost)
        for name, (item, alone) in self.sized.items():
            if price is not None and name in price.slicing.sized:
                total.add(item, length_of(price.slicing, arguments))
            else:
                total.add(alone)
        return total


class _Walk:
    """The pass itself."""

    def __init__(self, document: DocumentNode, prices: Prices, limits: Limits) -> None:
        self.fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self.is_introspection = False
        self.items: dict[int, Amount] = {}
        self._operations = [
            each for each in document.definitions if isinstance(each, OperationDefinitionNode)
        ]
        self._prices = prices
        self._limits = limits
        self._known: dict[str, _Part] = {}
        self._entered: set[str] = set()
        self._written = self._aliases = self._directives = self._together = 0
        self._all_fields = self._depth = self._root_fields = self._introspection = 0

    def check(self) -> None:
        """Refuse a document that has more of anything than it may have."""
        for name, asked in {
            "operations": len(self._operations),
            "fragments": len(self.fragments),
            "root_fields": self._root_fields,
            "depth": self._depth,
            "fields": max(self._written, self._all_fields),
            "aliases": self._aliases,
            "directives": self._directives,
            "directives_together": self._together,
            "variables": sum(len(each.variable_definitions or ()) for each in self._operations),
            "introspection": self._introspection,
        }.items():
            self._limits.check(name, asked)

    def operation(self, node: OperationDefinitionNode) -> Estimate:
        """Measure an operation."""
        self._decorated(node.directives)
        part = self._selections(node.selection_set, self._prices.root(node.operation.value), 1)
        self._root_fields = max(self._root_fields, part.direct)
        self._depth = max(self._depth, part.depth)
        self._all_fields += part.fields
        self._introspection += part.introspection
        amount = Amount(MUTATION if node.operation.value == "mutation" else 0)
        amount.add(part.total(None, {}))
        defaults, variables = {}, []
        for each in node.variable_definitions or ():
            self._decorated(each.directives)
            if each.default_value is not None:
                defaults[each.variable.name.value] = literal(each.default_value)
            if (price := self._variable(each)) is not None:
                variables.append((each.variable.name.value, price))
        return Estimate(
            amount, defaults, tuple(variables), is_introspection=part.direct == part.meta
        )

    def fragment(self, name: str, level: int) -> _Part:
        """Measure a fragment, once."""
        part = self._known.get(name)
        if part is None:
            node = self.fragments.get(name)
            if node is None:
                return _Part()
            if name in self._entered:
                raise GraphQLError(
                    f"Cannot spread fragment {name!r} within itself.",
                    node,
                    extensions={"code": "GRAPHQL_VALIDATION_FAILED"},
                )
            self._entered.add(name)
            self._decorated(node.directives)
            part = self._selections(node.selection_set, node.type_condition.name.value, level + 1)
            self._entered.discard(name)
            self._known[name] = part
        self._limits.check("levels", level + 1 + part.levels)
        return part

    def _selections(self, node: SelectionSetNode, kind: str | None, level: int) -> _Part:
        self._limits.check("levels", level)
        part = _Part()
        for selection in node.selections:
            self._decorated(selection.directives)
            if isinstance(selection, FieldNode):
                self._field(part, selection, kind, level)
            elif isinstance(selection, FragmentSpreadNode):
                part.take(self.fragment(selection.name.value, level))
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = condition.name.value if condition else kind
                part.take(self._selections(selection.selection_set, inner, level + 1))
        return part

    def _field(self, part: _Part, node: FieldNode, kind: str | None, level: int) -> None:
        name = node.name.value
        self._written += 1
        self._aliases += node.alias is not None
        self.is_introspection |= name in _HIDDEN
        price = self._prices.of(kind, name)
        inner = _Part()
        if node.selection_set is not None:
            below = price.kind if price else None
            inner = self._selections(node.selection_set, below, level + 1)
        part.depth = max(part.depth, inner.depth + 1)
        part.levels = max(part.levels, inner.levels + 1)
        part.fields += inner.fields + 1
        part.direct += 1
        part.meta += name.startswith("__")
        if price is None:
            part.introspection += inner.introspection
            return
        part.introspection += price.repeats * (1 + inner.introspection) // price.share
        if not _is_left_out(node):
            self._cost(part, node, price, inner)

    def _cost(self, part: _Part, node: FieldNode, price: Price, inner: _Part) -> None:
        arguments = {each.name.value: each.value for each in node.arguments or ()}
        item = Amount(price.weight)
        item.add(inner.total(price, arguments))
        if not price.is_list:
            part.cost.add(item)
        else:
            length = 1 if price.slicing.sized else length_of(price.slicing, arguments)
            if node.name.value in self._prices.sized:
                mine = part.sized.setdefault(node.name.value, (Amount(), Amount()))
                mine[0].add(item)
                mine[1].add(item, length)
            else:
                part.cost.add(item, length)
                if node.loc is not None and not price.slicing.numbers:
                    self.items[node.loc.start] = item
        for name in price.inputs.keys() & arguments.keys():
            add_input(part.cost, self._prices, arguments[name], price.inputs[name])

    def _variable(self, node: VariableDefinitionNode) -> InputPrice | None:
        type_: TypeNode = node.type
        is_list = False
        while isinstance(type_, NonNullTypeNode | ListTypeNode):
            is_list |= isinstance(type_, ListTypeNode)
            type_ = type_.type
        if not isinstance(type_, NamedTypeNode):
            return None
        return self._prices.variable(type_.name.value, is_list=is_list)

    def _decorated(self, directives: Sequence[DirectiveNode] | None) -> None:
        count = len(directives or ())
        self._directives += count
        self._together = max(self._together, count)


def _is_left_out(node: FieldNode) -> bool:
    """Whether the field itself says, without a variable, that it is not wanted."""
    for directive in node.directives or ():
        wants = {"skip": False, "include": True}.get(directive.name.value)
        for argument in directive.arguments or ():
            value = argument.value
            if isinstance(value, BooleanValueNode) and wants is not None:
                return value.value is not wants
    return False
