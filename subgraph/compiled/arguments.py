"""What a document gives to a field, and how the field's resolver takes it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Final

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)
from graphql.execution.values import get_argument_values
from strawberry.schema import Schema
from strawberry.types.field import StrawberryField

from subgraph.compiled.inputs import converter_of
from subgraph.compiled.plan import Argument, Given, Resolver
from subgraph.compiled.reasons import Reason, Unplanned

_MUTABLE: Final = (dict, list)


def given_of(definition: GraphQLField, node: FieldNode) -> Given:
    """What a document gives to a field's arguments."""
    nodes = {each.name.value: each.value for each in node.arguments or ()}
    variables = {
        name: value.name.value for name, value in nodes.items() if isinstance(value, VariableNode)
    }
    rest = {name: each for name, each in definition.args.items() if name not in variables}
    plain, constants = True, {}
    try:
        if any(_mentions_variable(nodes[name]) for name in rest if name in nodes):
            plain = False
        else:
            constants = get_argument_values(SimpleNamespace(args=rest), node)  # type: ignore[arg-type]
    except GraphQLError:
        plain = False  # The library says it where it belongs.
    if any(isinstance(value, _MUTABLE) for value in constants.values()):
        plain = False  # A resolver may change what it is given, so every request gets its own.
    if any(each.out_name not in {None, name} for name, each in definition.args.items()):
        plain = False
    return Given(definition, node, plain, constants, variables)


def resolver_of(field: StrawberryField, schema: Schema) -> Resolver:
    """How the resolver of a field is called; raises Unplanned when the field calls it in a way of its own."""
    base = field.base_resolver
    if base is None or type(field).get_result is not StrawberryField.get_result:
        raise Unplanned(Reason.RESOLVER, field.python_name)
    sources = (base.parent_parameter, base.root_parameter)
    return Resolver(
        function=base.wrapped_func,  # type: ignore[arg-type]
        takes_self=base.self_parameter is not None,
        sources=tuple(each.name for each in sources if each is not None),
        info=base.info_parameter.name if base.info_parameter else None,
        arguments=tuple(_arguments(field, schema)),
        is_async=field.is_async and not field.is_subscription,
        batch=getattr(base.wrapped_func, "batch", None),
    )


def _arguments(field: StrawberryField, schema: Schema) -> Iterator[Argument]:
    for each in field.arguments:
        name = schema.config.name_converter.from_argument(each)
        yield Argument(name, each.python_name, converter_of(each.type, schema, name))


def _mentions_variable(node: ValueNode) -> bool:
    if isinstance(node, ListValueNode):
        return any(map(_mentions_variable, node.values))
    if isinstance(node, ObjectValueNode):
        return any(_mentions_variable(each.value) for each in node.fields)
    return isinstance(node, VariableNode)
