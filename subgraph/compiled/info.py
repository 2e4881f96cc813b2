"""The info of a step: what the library's shows to resolvers, one for all objects of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLSchema
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable as is_awaitable

from subgraph.compiled.plan import Plan, Step
from subgraph.compiled.reasons import Reason, Unplanned


@dataclass(frozen=True, slots=True)
class Request:
    """What one request brings to a plan."""

    graph: GraphQLSchema
    variables: VariableValues
    context: Any
    root_value: Any = None
    extensions: Any = None


class RawInfo:
    """As `graphql.GraphQLResolveInfo` in Strawberry's form, but for what differs from object to object."""

    __slots__ = (
        "_path",
        "abort_signal",
        "columns",
        "context",
        "field_name",
        "field_nodes",
        "fragments",
        "is_awaitable",
        "operation",
        "operation_extensions",
        "parent_type",
        "return_type",
        "root_value",
        "schema",
        "variable_values",
    )

    def __init__(self, plan: Plan, step: Step, request: Request) -> None:
        self.field_name = step.nodes[0].name.value
        self.field_nodes = step.nodes
        self.return_type = step.definition.type
        self.parent_type = step.parent
        self.schema = request.graph
        self.fragments = plan.fragments
        self.root_value = request.root_value
        self.operation = plan.operation
        self.variable_values = request.variables.coerced
        self.context = request.context
        self.is_awaitable = is_awaitable
        self.abort_signal = None
        self.operation_extensions = request.extensions
        self.columns = step.columns
        self._path = Path(None, step.key, step.parent.name) if step.is_root else None

    @property
    def path(self) -> Path:
        """Where the field stands; below the root that differs from object to object, so nobody here knows."""
        if self._path is None:
            raise Unplanned(Reason.PATH)
        return self._path

    @property
    def async_helpers(self) -> Any:
        """The library's helpers belong to its own execution."""
        raise Unplanned(Reason.RESOLVER, "async_helpers")
