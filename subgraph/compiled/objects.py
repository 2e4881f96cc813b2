"""Objects and lists on their way into an answer: what the library asks of them, asked once per class.

Which type an object has follows from its class, unless somebody cast it or wrote a function that decides; the first
is looked for at every object, the second is not planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    GraphQLAbstractType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from graphql.pyutils import is_iterable
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE
from strawberry.types.union import StrawberryUnion

from subgraph.compiled.leaf import refuse_awaitable
from subgraph.compiled.reasons import Reason, Unplanned

BACKREF: Final = "strawberry-definition"
CAST: Final = TYPE_CAST_ATTRIBUTE


@dataclass(frozen=True, slots=True)
class _Asked:
    """What Strawberry's own type resolvers look at of the info."""

    schema: GraphQLSchema
    field_name: str


def origin_of(type_: GraphQLObjectType) -> type:
    """The class that an object type was declared with."""
    definition = type_.extensions.get(BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of is not None:
        raise Unplanned(Reason.RESOLVER, type_.name)
    return definition.origin


class Admission:
    """Lets objects of one type in, for those that are not plainly of its class."""

    def __init__(self, type_: GraphQLObjectType, asked: tuple[GraphQLSchema, str]) -> None:
        self._type = type_
        self._asked: Any = _Asked(*asked)

    def __call__(self, value: Any) -> Any:
        """The object; raises where the library would note an error."""
        check(value)
        belongs = self._type.is_type_of
        if belongs is not None and not belongs(value, self._asked):
            raise Unplanned(Reason.ERROR, f"no {self._type.name}")
        return value


class Dispatch:
    """Finds the function for an object of an abstract type, by its class once that is known to decide."""

    def __init__(
        self,
        type_: GraphQLAbstractType,
        schema: GraphQLSchema,
        field_name: str,
        functions: Mapping[str, str],
    ) -> None:
        definition = type_.extensions.get(BACKREF)
        own = isinstance(definition, StrawberryUnion) or (
            isinstance(type_, GraphQLInterfaceType)
            and isinstance(definition, StrawberryObjectDefinition)
            and definition.resolve_type is None
        )
        if not own or type_.resolve_type is None:
            raise Unplanned(Reason.RESOLVER, type_.name)
        self._type = type_
        self._schema = schema
        self._asked: Any = _Asked(schema, field_name)
        self._names = functions
        self._functions: dict[str, Callable[..., Any]] = {}
        self.by_class: dict[type, Callable[..., Any]] = {}

    def link(self, get: Callable[[str], Callable[..., Any]]) -> None:
        """Take the functions, once they are made."""
        self._functions = {name: get(function) for name, function in self._names.items()}

    def __call__(self, value: Any) -> Callable[..., Any]:
        """The function; raises where the library would note an error."""
        check(value)
        resolve = self._type.resolve_type
        name: Any = resolve(value, self._asked, self._type) if resolve else None
        if not isinstance(name, str) or name not in self._functions:
            raise Unplanned(Reason.ERROR, f"no {self._type.name}")
        found = self._functions[name]
        definition = getattr(value.__class__, "__strawberry_definition__", None)
        is_cast = getattr(value, CAST, None) is not None
        if definition is not None and not is_cast and not definition.is_graphql_generic:
            self.by_class[value.__class__] = found
        return found


def check(value: Any) -> None:
    """Raise for what is no object to go on with: null where there must be one, an error, something to wait for."""
    if isinstance(value, Exception):
        raise value
    if value is None or value is Undefined:
        raise Unplanned(Reason.ERROR, "null")
    refuse_awaitable(value)


def items(value: Any) -> Iterable[Any]:
    """What a list is made of, when it is not plainly a list."""
    check(value)
    # An iterator can be read once, and the library may have to read it again.
    if hasattr(value, "__aiter__") or hasattr(value, "__next__"):
        raise Unplanned(Reason.ITERATOR)
    if not is_iterable(value):
        raise Unplanned(Reason.ERROR, "no list")
    return value
