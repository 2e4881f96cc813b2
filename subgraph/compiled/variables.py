"""Variables of an operation: what nearly all requests send is taken at once, everything else as the library takes it.

What is taken at once is coerced as graphql-core does it: text for an ID or a String, a number for an Int, what a scalar
of one's own reads, and lists of these. Whatever is left out, null, of another class or refused goes to the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    Undefined,
    VariableDefinitionNode,
)
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values

Read = Callable[[Any], Any]
_MOST: Final = 2_147_483_647


class _Variable(NamedTuple):
    name: str
    signature: GraphQLVariableSignature
    read: Read


class Variables:
    """How the variables of one operation are coerced."""

    def __init__(
        self, schema: GraphQLSchema, definitions: Sequence[VariableDefinitionNode]
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        self._known = _known(schema, definitions)

    def coerced(self, given: Mapping[str, Any] | None) -> VariableValues | list[GraphQLError]:
        """The values, or the library's errors."""
        given = given or {}
        if self._known is not None:
            sources: dict[str, VariableValueSource] = {}
            coerced: dict[str, Any] = {}
            for name, signature, read in self._known:
                value = given.get(name)
                found = read(value)
                if found is Undefined:
                    break
                sources[name], coerced[name] = VariableValueSource(signature, value), found
            else:
                return VariableValues(sources, coerced)
        return get_variable_values(self._schema, self._definitions, dict(given))


def _known(
    schema: GraphQLSchema, definitions: Sequence[VariableDefinitionNode]
) -> list[_Variable] | None:
    """How each variable is read at once; None when there is one that is not."""
    found = []
    for definition in definitions:
        signature = get_variable_signature(schema, definition)
        if isinstance(signature, GraphQLError):
            return None
        read = _reader(signature.type)
        if read is None:
            return None
        found.append(_Variable(signature.name, signature, read))
    return found


def _reader(type_: Any) -> Read | None:
    """What reads a value of a type, or gives Undefined for what the library has to look at."""
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if isinstance(inner, GraphQLList):
        item = _reader(inner.of_type)
        return None if item is None else _list_of(item)
    if inner in (GraphQLID, GraphQLString):
        return lambda value: value if value.__class__ is str else Undefined
    if inner is GraphQLBoolean:
        return lambda value: value if value.__class__ is bool else Undefined
    if inner is GraphQLInt:
        return _whole
    if isinstance(inner, GraphQLScalarType) and inner.name != "Float":
        return _by(inner.coerce_input_value)
    return None


def _whole(value: Any) -> Any:
    return value if value.__class__ is int and -_MOST <= value <= _MOST else Undefined


def _list_of(item: Read) -> Read:
    def read(value: Any) -> Any:
        if value.__class__ is not list:
            return Undefined
        found = list(map(item, value))
        return Undefined if Undefined in found else found

    return read


def _by(coerce: Read) -> Read:
    def read(value: Any) -> Any:
        if value is None:
            return Undefined
        try:
            return coerce(value)
        except Exception:  # noqa: BLE001 - a scalar's own code; the library says what is wrong
            return Undefined

    return read
