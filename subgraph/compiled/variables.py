"""Variables of an operation: what nearly all requests send is taken at once, everything else as the library takes it.

What is taken at once is coerced as graphql-core does it: text for an ID or a String, a number for an Int, what an enum
or a scalar of one's own reads, lists and input objects of these. Whatever is left out, null where it must not be, of
another class or refused goes to the library, and so does a type that refers to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    Undefined,
    VariableDefinitionNode,
    is_required_input_field,
)
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.utilities.coerce_input_value import coerce_default_value

Read = Callable[[Any], Any]
_MOST: Final = 2_147_483_647
_UNCHANGEABLE: Final = frozenset({bool, int, str, type(None)})


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


def _reader(type_: Any, within: tuple[str, ...] = ()) -> Read | None:
    """What reads a value of a type, or gives Undefined for what the library has to look at."""
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if isinstance(inner, GraphQLList):
        item = _reader(inner.of_type, within)
        return None if item is None else _list_of(item)
    if isinstance(inner, GraphQLInputObjectType):
        return _object_of(inner, within)
    if isinstance(inner, GraphQLEnumType):
        return _by(inner.coerce_input_value)
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


class _Field(NamedTuple):
    """How a field of an input object is read. `default` is Undefined where it may be left out, or has to be there."""

    name: str
    out_name: str
    read: Read
    is_nullable: bool
    is_required: bool
    default: Any


def _object_of(type_: GraphQLInputObjectType, within: tuple[str, ...]) -> Read | None:
    """What reads objects of an input type; None where one of its fields is not read at once."""
    if type_.is_one_of or type_.name in within:
        return None
    fields = [_field_of(name, each, (*within, type_.name)) for name, each in type_.fields.items()]
    known = [each for each in fields if each is not None]
    if len(known) < len(fields):
        return None
    names, out = frozenset(type_.fields), type_.out_type

    def read(value: Any) -> Any:
        if value.__class__ is not dict or not names.issuperset(value):
            return Undefined
        found: dict[str, Any] = {}
        for name, out_name, read_field, is_nullable, is_required, default in known:
            given = value.get(name, Undefined)
            if given is Undefined:
                if is_required:
                    return Undefined
                if default is not Undefined:
                    found[out_name] = default
            elif given is None and is_nullable:
                found[out_name] = None
            else:
                one = read_field(given)
                if one is Undefined:
                    return Undefined
                found[out_name] = one
        return out(found)

    return read


def _field_of(name: str, field: GraphQLInputField, within: tuple[str, ...]) -> _Field | None:
    read = _reader(field.type, within)
    default = coerce_default_value(field)
    # Whoever is given a list or an object may change it.
    if read is None or not (default is Undefined or default.__class__ in _UNCHANGEABLE):
        return None
    return _Field(
        name,
        field.out_name or name,
        read,
        not isinstance(field.type, GraphQLNonNull),
        is_required_input_field(field),
        default,
    )


def _by(coerce: Read) -> Read:
    def read(value: Any) -> Any:
        if value is None:
            return Undefined
        try:
            return coerce(value)
        except Exception:  # noqa: BLE001 - a scalar's own code; the library says what is wrong
            return Undefined

    return read
