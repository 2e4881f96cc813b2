"""Input types, compiled: how a coerced argument becomes the Python value that a resolver is given.

The library asks of every value of every item what its type is; here that is asked once per field. What is not known
here (`Maybe`, relay's `GlobalID`, input types that build themselves in a way of their own) is left to the library, the
whole argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from typing import Any, TypeAlias

from strawberry.relay import GlobalID
from strawberry.schema import Schema
from strawberry.schema.compat import is_scalar
from strawberry.types.arguments import convert_argument
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition, has_enum_definition
from strawberry.types.lazy_type import LazyType
from strawberry.types.unset import UNSET

from subgraph.compiled.declare import is_as_declared

Convert: TypeAlias = Callable[[Any], Any]


def converter_of(type_: Any, schema: Schema, name: str) -> Callable[[Any, Any], Any] | None:
    """What makes the Python value of an argument's coerced value and the info; None when it is that value."""
    try:
        found = _Inputs(schema).converter(type_)
    except _NotKnown:
        registry, config = schema.schema_converter.scalar_registry, schema.config
        return lambda value, info: convert_argument(
            value, type_, registry, config, info, path=(name,)
        )
    return None if found is _as_it_is else lambda value, _: found(value)


class _NotKnown(Exception):
    """Something that the library has rules of its own for."""


def _as_it_is(value: Any) -> Any:
    return value


class _Inputs:
    """Compiles one argument's type; an input type that holds itself is compiled once."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._scalars = schema.schema_converter.scalar_registry
        self._objects: dict[Any, Convert] = {}

    def converter(self, type_: Any) -> Convert:
        if isinstance(type_, StrawberryMaybe) or type_ is GlobalID:
            raise _NotKnown
        if isinstance(type_, StrawberryOptional):
            return self.converter(type_.of_type)
        if isinstance(type_, LazyType):
            return self.converter(type_.resolve_type())
        if isinstance(type_, StrawberryEnumDefinition) or is_scalar(type_, self._scalars):
            return _as_it_is
        if isinstance(type_, StrawberryList):
            return _list_of(self.converter(type_.of_type))
        if has_enum_definition(type_):
            return _as_it_is
        if not has_object_definition(type_):
            raise _NotKnown
        return self._objects.get(type_) or self._object(type_)

    def _object(self, type_: Any) -> Convert:
        definition = type_.__strawberry_definition__
        if not is_as_declared(definition) or not definition.is_input:
            raise _NotKnown
        fields: dict[str, tuple[str, Convert]] = {}
        without: dict[str, Any] = {
            field.python_name: None
            for field in definition.fields
            if field.default_value is MISSING and field.default_factory is MISSING
        }

        def convert(value: Any) -> Any:
            if value is None or value is UNSET:
                return value
            found = without.copy()
            for name, given in value.items():
                python_name, inner = fields[name]
                found[python_name] = given if inner is _as_it_is else inner(given)
            return type_(**found)

        self._objects[type_] = convert
        name_of = self._schema.config.name_converter.from_field
        for field in definition.fields:
            inner = self.converter(field.resolve_type(type_definition=definition))
            fields[name_of(field)] = field.python_name, inner
        return convert


def _list_of(inner: Convert) -> Convert:
    """A list of its own for every call: the library shares the one of a default."""

    def convert(value: Any) -> Any:
        if value is None or value is UNSET:
            return value
        return list(value) if inner is _as_it_is else [inner(one) for one in value]

    return convert
