"""A plan: what was found out about an operation once, for every request that sends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
)
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.types.field import StrawberryField

from subgraph.compiled.size import Size

# An object, and the answer that the value of one of its fields goes into; per step, those that wait for it.
Pair: TypeAlias = tuple[Any, dict[str, Any]]
Waiting: TypeAlias = list[list[Pair]]


@dataclass(frozen=True, slots=True)
class Given:
    """What a document gives to one field's arguments: constants and plain variables, if it is no more than that."""

    definition: GraphQLField
    node: FieldNode
    is_plain: bool
    constants: Mapping[str, Any]
    variables: Mapping[str, str]

    def values(self, variables: VariableValues) -> Mapping[str, Any]:
        """The coerced arguments by their names in the graph; raises what the library raises."""
        if self.is_plain and not self.variables:
            return self.constants
        if self.is_plain:
            coerced = variables.coerced
            found = {name: coerced.get(variable) for name, variable in self.variables.items()}
            # What was left out, or is null, has rules of its own.
            if not any(value is None or value is Undefined for value in found.values()):
                return {**self.constants, **found}
        return get_argument_values(self.definition, self.node, variables)


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a resolver; `convert` is None when its coerced value is handed over as it is."""

    name: str
    python_name: str
    convert: Callable[[Any, Any], Any] | None


@dataclass(frozen=True, slots=True)
class Resolver:
    """How a field's resolver is called: which of its parameters take the object, the info, and arguments.

    `batch` asks for all objects of a level.
    """

    function: Callable[..., Any]
    takes_self: bool
    sources: tuple[str, ...]
    info: str | None
    arguments: tuple[Argument, ...]
    is_async: bool
    batch: Callable[..., Any] | None = None

    @property
    def is_inline(self) -> bool:
        """Whether it needs nothing but the object, so that it can be called in passing."""
        return not (self.is_async or self.info or self.arguments)


@dataclass(slots=True)
class Step:
    """One field of one selection, for all objects of a level at once.

    `columns` are set where its value may be `Columns`: no more than these are read of the objects of its list.
    `is_nullable`: an error leaves a null in its place; `spares_items`: an error of an item leaves one in the item's.
    """

    key: str
    declared: StrawberryField
    definition: GraphQLField
    nodes: list[FieldNode]
    parent: GraphQLObjectType
    given: Given
    resolver: Resolver
    is_list: bool
    is_root: bool
    is_nullable: bool
    spares_items: bool
    function: str
    columns: frozenset[str] | None
    steps: list[Step] = field(default_factory=list)
    complete: Callable[[Any, Waiting, Size], Any] = field(default=lambda value, *_: value)


@dataclass(frozen=True, slots=True)
class Plan:
    """One operation for one setting of its switches."""

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    begin: Callable[[Any, Waiting, Size], dict[str, Any]]
    steps: list[Step]
    size: int

    @property
    def is_serial(self) -> bool:
        """Whether its root fields run one after another, each with all that hangs on it."""
        return self.operation.operation is OperationType.MUTATION

    @property
    def is_event(self) -> bool:
        """Whether its root value is what a subscription gave."""
        return self.operation.operation is OperationType.SUBSCRIPTION
