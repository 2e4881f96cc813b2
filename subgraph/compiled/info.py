"""The info of a step: what the library's shows to resolvers, one for all objects of the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable as is_awaitable

from subgraph.compiled.plan import Plan, Step
from subgraph.compiled.reasons import Reason, Unplanned


@dataclass(slots=True, eq=False)
class Request:
    """What one request brings to a plan."""

    graph: GraphQLSchema
    variables: VariableValues
    context: Any
    root_value: Any = None
    extensions: Any = None


class RawInfo:
    """As `graphql.GraphQLResolveInfo` in Strawberry's form, but for what differs from object to object.

    A step that is asked makes one, and few resolvers look at more than the context.
    """

    __slots__ = ("_plan", "_request", "_step", "context")

    abort_signal = None
    is_awaitable = staticmethod(is_awaitable)

    def __init__(self, plan: Plan, step: Step, request: Request) -> None:
        self._plan = plan
        self._step = step
        self._request = request
        self.context = request.context

    @property
    def field_name(self) -> str:
        """The field's name in the schema."""
        return self._step.nodes[0].name.value

    @property
    def field_nodes(self) -> list[FieldNode]:
        """Where the document asks for the field."""
        return self._step.nodes

    @property
    def return_type(self) -> GraphQLOutputType:
        """What the field gives."""
        return self._step.definition.type

    @property
    def parent_type(self) -> GraphQLObjectType:
        """What it is a field of."""
        return self._step.parent

    @property
    def schema(self) -> GraphQLSchema:
        """The schema."""
        return self._request.graph

    @property
    def fragments(self) -> Mapping[str, FragmentDefinitionNode]:
        """The document's fragments by name."""
        return self._plan.fragments

    @property
    def root_value(self) -> Any:
        """The value of the root."""
        return self._request.root_value

    @property
    def operation(self) -> OperationDefinitionNode:
        """The operation."""
        return self._plan.operation

    @property
    def variable_values(self) -> dict[str, Any]:
        """The coerced variables."""
        return self._request.variables.coerced

    @property
    def operation_extensions(self) -> Any:
        """What came beside the document."""
        return self._request.extensions

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that a list of objects may be read in."""
        return self._step.columns

    @property
    def path(self) -> Path:
        """Where the field stands; below the root that differs from object to object, so nobody here knows."""
        step = self._step
        if not step.is_root:
            raise Unplanned(Reason.PATH)
        return Path(None, step.key, step.parent.name)

    @property
    def async_helpers(self) -> Any:
        """The library's helpers belong to its own execution."""
        raise Unplanned(Reason.RESOLVER, "async_helpers")
