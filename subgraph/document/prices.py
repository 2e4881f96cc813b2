"""What the SDL says that things cost: `@cost` and `@listSize` of every field, as gateways read them.

Made once from the schema. The rules are those of the cost directives as Apollo Router counts them: an object costs 1,
a value nothing unless `@cost` says otherwise, a list as often as `@listSize` says, an input object 1 and its fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.schema import Schema

MUTATION: Final = 10
# What gateways take for a list of which nothing is said; a test sees to it that there is none of objects.
ASSUMED: Final = 10
_DEFINITION: Final = "strawberry-definition"
_META: Final = {"__schema": "__Schema", "__type": "__Type"}


@dataclass(frozen=True, slots=True)
class InputPrice:
    """What the value of an argument or of an input's field costs; `kind` names an input object's type."""

    weight: int = 0
    kind: str | None = None
    declared: int = 0
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Slicing:
    """How long a list is: by the numbers and the lists among its arguments, else by what is assumed.

    `sized`: the fields below it that are as long, instead of itself.
    """

    assumed: int = ASSUMED
    numbers: Mapping[str, int | None] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()
    sized: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Price:
    """What one field costs: each object (or value) that it gives, and how many there are.

    `leaf` is what a value without fields costs, or null; introspection goes through it `repeats` times for each `share`
    of those that it meets: most types are wrapped once, few twice.
    """

    kind: str
    weight: int = 0
    leaf: int = 0
    is_list: bool = False
    slicing: Slicing = Slicing()
    inputs: Mapping[str, InputPrice] = field(default_factory=dict)
    repeats: int = 0
    share: int = 1


class Prices:
    """The prices of a schema's fields and inputs."""

    def __init__(self, schema: Schema) -> None:
        self._core = schema._schema  # noqa: SLF001 - Strawberry has no door to it.
        lengths = _introspected(self._core)
        self._fields = {
            type_.name: dict(_prices(type_, lengths))
            for type_ in self._core.type_map.values()
            if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        }
        for name, kind in _META.items():
            self._fields["Query"][name] = Price(kind, repeats=1)
        self._inputs = {
            type_.name: {
                name: price
                for name, each in type_.fields.items()
                if (price := _input_price(each)) is not None
            }
            for type_ in self._core.type_map.values()
            if isinstance(type_, GraphQLInputObjectType)
        }
        self.sized = frozenset(
            name
            for fields in self._fields.values()
            for price in fields.values()
            for name in price.slicing.sized
        )

    def root(self, operation: str) -> str | None:
        """The name of the type that an operation begins at."""
        types = {
            "query": self._core.query_type,
            "mutation": self._core.mutation_type,
            "subscription": self._core.subscription_type,
        }
        type_ = types[operation]
        return type_.name if type_ else None

    def of(self, kind: str | None, name: str) -> Price | None:
        """The price of a field; None when there is no such field."""
        return self._fields.get(kind or "", {}).get(name)

    def variable(self, kind: str, *, is_list: bool) -> InputPrice | None:
        """The price of a variable's value by its declared type; None when it can neither cost nor be long."""
        type_ = self._core.type_map.get(kind)
        return None if type_ is None else _priced(type_, None, is_list=is_list)

    def score(self, value: object, price: InputPrice) -> tuple[int, int]:
        """What a value from outside costs, and how many items its lists hold; of any form, however deep."""
        cost = items = 0
        stack: list[tuple[object, InputPrice]] = [(value, price)]
        while stack:
            value, price = stack.pop()
            if value is None:
                continue
            if isinstance(value, list):
                cost += price.declared
                items += len(value)
                if price.kind or price.declared:
                    stack += ((each, price) for each in value)
            elif isinstance(value, dict) and price.kind is not None:
                cost += price.weight
                fields = self._inputs[price.kind]
                stack += ((value[name], fields[name]) for name in fields.keys() & value.keys())
            else:
                cost += price.declared
        return cost, items

    def input_field(self, kind: str, name: str) -> InputPrice | None:
        """The price of a field of an input object."""
        return self._inputs.get(kind, {}).get(name)


def _prices(
    type_: GraphQLObjectType | GraphQLInterfaceType, lengths: Mapping[str, int]
) -> Iterator[tuple[str, Price]]:
    is_meta = type_.name.startswith("__")
    for name, each in type_.fields.items():
        given = get_named_type(each.type)
        is_list = is_list_type(get_nullable_type(each.type))
        declared = _cost(each) if _cost(each) is not None else _cost(given)
        is_object = isinstance(given, GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType)
        weight = 0 if is_meta else int(is_object)
        yield (
            name,
            Price(
                given.name,
                weight=weight if declared is None else declared,
                leaf=declared or 0,
                is_list=is_list,
                slicing=_slicing(name, each),
                inputs={
                    argument: price
                    for argument, definition in each.args.items()
                    if (price := _input_price(definition)) is not None
                },
                repeats=(lengths.get(name, 1) if is_list else 1) if is_meta else 0,
                share=2 if is_meta and name == "ofType" else 1,
            ),
        )


def _slicing(name: str, each: GraphQLField) -> Slicing:
    """The rule of `@listSize`. References and ids are counted as they come: their list is their length."""
    lists = frozenset(each.args) & ({"representations"} if name == "_entities" else {"ids"})
    for directive in _directives(each):
        if isinstance(directive, ListSize):
            return Slicing(
                assumed=directive.assumed_size or ASSUMED,
                numbers={
                    argument: _number(each.args[argument].default_value)
                    for argument in directive.slicing_arguments or ()
                },
                lists=lists if is_list_type(get_nullable_type(each.type)) else frozenset(),
                sized=frozenset(directive.sized_fields or ()),
            )
    return Slicing(lists=lists) if name == "_entities" else Slicing()


def _input_price(each: GraphQLArgument | GraphQLInputField) -> InputPrice | None:
    is_list = is_list_type(get_nullable_type(each.type))
    return _priced(get_named_type(each.type), _cost(each), is_list=is_list)


def _priced(type_: Any, declared: int | None, *, is_list: bool) -> InputPrice | None:
    declared = _cost(type_) if declared is None else declared
    if isinstance(type_, GraphQLInputObjectType):
        weight = 1 if declared is None else declared
        return InputPrice(weight, type_.name, declared or 0, is_list)
    if declared is None and not is_list:
        return None
    return InputPrice(declared=declared or 0, is_list=is_list)


def _cost(each: Any) -> int | None:
    return next(
        (directive.weight for directive in _directives(each) if isinstance(directive, Cost)), None
    )


def _directives(each: Any) -> Iterable[object]:
    definition = (each.extensions or {}).get(_DEFINITION)
    return getattr(definition, "directives", None) or ()


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _introspected(schema: GraphQLSchema) -> dict[str, int]:
    """How many items the lists of introspection hold in the middle: a walk through all types is counted well."""
    count: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            kinds["fields"] += 1
            count["fields"] += len(type_.fields)
            kinds["args"] += len(type_.fields)
            count["args"] += sum(len(each.args) for each in type_.fields.values())
            kinds["interfaces"] += 1
            count["interfaces"] += len(type_.interfaces)
        if isinstance(type_, GraphQLInputObjectType):
            kinds["inputFields"] += 1
            count["inputFields"] += len(type_.fields)
        if isinstance(type_, GraphQLEnumType):
            kinds["enumValues"] += 1
            count["enumValues"] += len(type_.values)
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            kinds["possibleTypes"] += 1
            count["possibleTypes"] += len(schema.get_possible_types(type_))
    found = {name: -(-count[name] // kinds[name]) for name in count}
    return {**found, "types": len(schema.type_map), "directives": len(schema.directives)}
