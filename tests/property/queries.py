"""Operations made up at random from a schema: aliases, fragments, directives, variables, abstract types, doubled fields.

Every operation is valid, so that what two executors answer to it can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

# A value for an argument or a field of an input, by its path; None: none of these, so think of one.
Values = Callable[[str, Random], Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One operation and its variables."""

    text: str
    variables: Mapping[str, Any]


@dataclass(slots=True)
class Queries:
    """Thinks of operations."""

    schema: GraphQLSchema
    random: Random
    values: Values = lambda _path, _random: None
    left_out: frozenset[str] = frozenset()
    depth: int = 4
    most: int = 4
    _variables: dict[str, Any] = field(default_factory=dict)
    _declared: list[str] = field(default_factory=list)
    _fragments: list[str] = field(default_factory=list)
    _count: int = 0

    def query(self, kind: str = "query") -> Asked:
        """One operation."""
        root = {"query": self.schema.query_type, "mutation": self.schema.mutation_type}[kind]
        assert root is not None
        body = self._selections(root, self.depth)
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        text = "\n".join([f"{kind} Asked{declared} {body}", *self._fragments])
        return Asked(text, self._variables)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _selections(self, type_: GraphQLNamedType, depth: int) -> str:
        parts = [self._selection(type_, depth) for _ in range(self.random.randint(1, self.most))]
        return "{ " + " ".join(parts) + " }"

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        if depth > 1 and self._chance(0.3 if is_abstract_type(type_) else 0.15):
            return self._fragment(type_, depth - 1)
        fields = self._fields(type_, depth)
        if not fields or self._chance(0.1):
            return f"{self._alias(0.3)}__typename{self._directive()}"
        name = self.random.choice(sorted(fields))
        return self._field(f"{type_.name}.{name}", name, fields[name], depth)

    def _fields(self, type_: GraphQLNamedType, depth: int) -> dict[str, GraphQLField]:
        found: dict[str, GraphQLField] = getattr(type_, "fields", {})
        return {
            name: each
            for name, each in found.items()
            if f"{type_.name}.{name}" not in self.left_out
            and name not in self.left_out
            and (depth > 1 or is_leaf_type(get_named_type(each.type)))
        }

    def _field(self, path: str, name: str, definition: GraphQLField, depth: int) -> str:
        given = self._arguments(path, definition.args)
        # Fields of one name merge; with arguments of their own they may not.
        alias = self._alias(1.0 if definition.args else 0.25)
        inner = get_named_type(definition.type)
        below = "" if is_leaf_type(inner) else " " + self._selections(inner, depth - 1)
        return f"{alias}{name}{given}{self._directive()}{below}"

    def _alias(self, share: float) -> str:
        return f"{self._name('a')}: " if self._chance(share) else ""

    def _directive(self) -> str:
        if not self._chance(0.15):
            return ""
        name, value = self.random.choice(["skip", "include"]), self._chance(0.5)
        return f" @{name}(if: {self._spoken('Boolean!', value)})"

    def _fragment(self, type_: GraphQLNamedType, depth: int) -> str:
        narrower: list[GraphQLNamedType] = [type_]
        if is_abstract_type(type_):
            narrower += self.schema.get_possible_types(type_)
        narrower += getattr(type_, "interfaces", ())
        on = self.random.choice(narrower)
        body = self._selections(on, depth)
        if self._chance(0.6):
            condition = "" if on is type_ and self._chance(0.3) else f" on {on.name}"
            return f"...{condition}{self._directive()} {body}"
        name = self._name("F")
        self._fragments.append(f"fragment {name} on {on.name} {body}")
        twice = f" ...{name}" if self._chance(0.3) else ""
        return f"...{name}{self._directive()}{twice}"

    # --- arguments ---------------------------------------------------------------------------------

    def _arguments(self, path: str, arguments: Mapping[str, GraphQLArgument]) -> str:
        given = []
        for name, each in arguments.items():
            needed = isinstance(each.type, GraphQLNonNull) and each.default_value is Undefined
            if needed or self._chance(0.5):
                value = self._value(f"{path}.{name}", each.type)
                given.append(f"{name}: {self._spoken(str(each.type), value, each.type)}")
        return f"({', '.join(given)})" if given else ""

    def _spoken(self, type_: str, value: Any, graph_type: GraphQLInputType | None = None) -> str:
        """A value as a literal, or as a variable that holds it, or has it as its default, or is left out."""
        if self._chance(0.5):
            return _literal(value, graph_type)
        name = self._name("v")
        way = self.random.random()
        if way < 0.15 and value is not None:
            self._declared.append(f"${name}: {type_} = {_literal(value, graph_type)}")
        elif way < 0.25 and not type_.endswith("!"):
            self._declared.append(f"${name}: {type_}")
        else:
            self._declared.append(f"${name}: {type_}")
            self._variables[name] = value
        return f"${name}"

    def _value(self, path: str, type_: Any) -> Any:
        if isinstance(type_, GraphQLNonNull):
            return self._value_of(path, type_.of_type)
        return None if self._chance(0.1) else self._value_of(path, type_)

    def _value_of(self, path: str, type_: Any) -> Any:
        known = self.values(path, self.random)
        if known is not None:
            return known
        if isinstance(type_, GraphQLList):
            return [self._value(path, type_.of_type) for _ in range(self.random.randint(0, 3))]
        if isinstance(type_, GraphQLEnumType):
            return self.random.choice(sorted(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            return {
                name: self._value(f"{path}.{name}", each.type)
                for name, each in type_.fields.items()
                if isinstance(each.type, GraphQLNonNull) or self._chance(0.5)
            }
        return {
            "Int": self.random.randint(-2, 12),
            "Float": self.random.randint(0, 20) / 4,
            "Boolean": self._chance(0.5),
        }.get(type_.name, self.random.choice(["x", "1", "", 'ü \\" \n']))


def _literal(value: Any, type_: Any) -> str:
    """A value as the text of a document."""
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(inner, GraphQLEnumType):
        return str(value)
    if isinstance(value, list):
        item = inner.of_type if isinstance(inner, GraphQLList) else None
        return f"[{', '.join(_literal(each, item) for each in value)}]"
    if isinstance(value, dict):
        fields = inner.fields if isinstance(inner, GraphQLInputObjectType) else {}
        pairs = (
            f"{name}: {_literal(each, fields[name].type if name in fields else None)}"
            for name, each in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value)
