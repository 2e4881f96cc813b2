"""What an operation costs, as a formula of its variables: made once per document, worked out per request.

A formula is a sum of a number, of other sums taken so many times, and of what variables hold. Fragments are sums that
several others share; each is worked out once per request. Whatever no variable moves is a number from the beginning,
so that most documents have nothing to work out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    EnumValueNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)

from subgraph.document.prices import InputPrice, Prices, Slicing

_DIGITS: Final = 10
_ENDLESS: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Length:
    """How long a list is, as far as that hangs on variables: the largest of the numbers that are there."""

    known: int
    assumed: int
    variables: tuple[tuple[str, int | None, bool], ...]

    def of(self, given: Mapping[str, Any]) -> int:
        """The length for these variables; `known` and the argument's default count where they say nothing."""
        longest = self.known
        for name, default, is_list in self.variables:
            value = given.get(name)
            if is_list:
                size: int | None = len(value) if isinstance(value, list) else int(value is not None)
            else:
                size = _whole(value)
            size = default if size is None else size
            longest = longest if size is None else max(longest, size)
        return self.assumed if longest < 0 else longest


@dataclass(slots=True, eq=False)
class Amount:
    """A sum, while it is gathered and ever after."""

    fixed: int = 0
    terms: list[tuple[int | Length, Amount]] = field(default_factory=list)
    inputs: list[tuple[str, InputPrice]] = field(default_factory=list)

    @property
    def is_fixed(self) -> bool:
        """Whether no variable moves it."""
        return not self.terms and not self.inputs

    @property
    def is_nothing(self) -> bool:
        """Whether it is nothing, whatever the variables."""
        return self.is_fixed and self.fixed == 0

    def add(self, other: Amount, times: int | Length = 1) -> None:
        """Take another sum in, so many times."""
        if isinstance(times, int) and other.is_fixed:
            self.fixed += times * other.fixed
        elif not other.is_nothing:
            self.terms.append((times, other))

    def value(self, prices: Prices, given: Mapping[str, Any]) -> int:
        """What it comes to with these variables."""
        return self.fixed if self.is_fixed else self._value(prices, given, {})

    def _value(self, prices: Prices, given: Mapping[str, Any], known: dict[int, int]) -> int:
        if self.is_fixed:
            return self.fixed
        if id(self) in known:
            return known[id(self)]
        total = self.fixed
        for times, amount in self.terms:
            count = times if isinstance(times, int) else times.of(given)
            total += count * amount._value(prices, given, known)  # noqa: SLF001 - its own kind
        for name, price in self.inputs:
            total += prices.score(given.get(name), price)[0]
        known[id(self)] = total
        return total


def length_of(slicing: Slicing, arguments: Mapping[str, ValueNode]) -> int | Length:
    """How long a list is whose field has these arguments."""
    known = -1
    variables: list[tuple[str, int | None, bool]] = []
    for name in slicing.lists & arguments.keys():
        node = arguments[name]
        if isinstance(node, VariableNode):
            variables.append((node.name.value, None, True))
        else:
            known = max(known, len(node.values) if isinstance(node, ListValueNode) else 1)
    for name, default in slicing.numbers.items():
        given = arguments.get(name)
        if isinstance(given, VariableNode):
            variables.append((given.name.value, default, False))
            continue
        size = number_of(given) if isinstance(given, IntValueNode) else default
        if size is not None:
            known = max(known, size, 0)
    if variables:
        return Length(known, slicing.assumed, tuple(variables))
    return slicing.assumed if known < 0 else known


def add_input(amount: Amount, prices: Prices, node: ValueNode, price: InputPrice) -> None:
    """What an argument's value costs, as it is written and with the variables in it."""
    if isinstance(node, VariableNode):
        amount.inputs.append((node.name.value, price))
    elif isinstance(node, ListValueNode):
        amount.fixed += price.declared
        for each in node.values:
            add_input(amount, prices, each, price)
    elif isinstance(node, ObjectValueNode) and price.kind is not None:
        amount.fixed += price.weight
        for part in node.fields:
            inner = prices.input_field(price.kind, part.name.value)
            if inner is not None:
                add_input(amount, prices, part.value, inner)
    elif not isinstance(node, NullValueNode):
        amount.fixed += price.declared


def literal(node: ValueNode) -> Any:
    """A variable's default, as far as it can cost something."""
    if isinstance(node, IntValueNode):
        return number_of(node)
    if isinstance(node, ListValueNode):
        return [literal(each) for each in node.values]
    if isinstance(node, ObjectValueNode):
        return {part.name.value: literal(part.value) for part in node.fields}
    if isinstance(node, NullValueNode):
        return None
    return node.value if isinstance(node, EnumValueNode) else True


def number_of(node: IntValueNode) -> int:
    """The number that is written; one of too many digits is only large."""
    return int(node.value) if len(node.value) <= _DIGITS else _ENDLESS


def _whole(value: object) -> int | None:
    """A number that a page may be asked by, as the library would take it: never less than nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else None
