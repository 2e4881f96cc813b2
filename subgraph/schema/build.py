"""The assembled schema: root fields, scalars, federation 2.9, and the plans by which it is executed."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import Any, Final

import strawberry
from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    Undefined,
)
from strawberry.federation.schema import FederationAny
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType

from resolvers.context import Info
from runtime.model.errors import BadInput
from subgraph.compiled.executor import TidyExecutor
from subgraph.compiled.plans import Plans
from subgraph.compiled.size import UNBOUND, Bound
from subgraph.schema.entities import MOST, resolve_entities
from subgraph.schema.hooks import CheckedDocument, PresentedErrors, ToldCost, tell_cost
from subgraph.schema.mutation import Mutation
from subgraph.schema.query import Query
from subgraph.schema.sdl import write_sdl
from subgraph.schema.subscription import Subscription
from subgraph.types.scalars import SCALARS
from subgraph.types.step_execution import StepExecution
from subgraph.types.user_error import DefinitionError, OperationError
from subgraph.types.workflow_version import WorkflowVersion

_MOST_SAID: Final = 8
# What only interfaces lead to must be named.
MORE_TYPES: Final = (OperationError, DefinitionError, StepExecution, WorkflowVersion)


class Schema(strawberry.federation.Schema):
    """Strawberry's, with our entities, and without its log: `subgraph.errors` logs faults, once."""

    plans: Plans | None = None
    bound: Bound = UNBOUND

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        # What it said of itself: the same for everybody, and the one answer that takes long without asking anybody.
        self._said: OrderedDict[tuple[str, str | None], dict[str, Any] | None] = OrderedDict()

    @cached_property
    def sdl(self) -> str:
        """The text that gateways compose: written once, which takes as long as hundreds of requests."""
        return write_sdl(self)

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Answer by the plan of the document that was checked before, where there are plans."""
        library = super().execute

        def otherwise() -> Awaitable[ExecutionResult]:
            return library(
                query,
                variable_values=variable_values,
                context_value=context_value,
                root_value=root_value,
                operation_name=operation_name,
                allowed_operation_types=allowed_operation_types,
                operation_extensions=operation_extensions,
            )

        key = (query or "", operation_name)
        is_same = getattr(context_value, "is_introspection", False) and not variable_values
        if is_same and key in self._said:
            self._said.move_to_end(key)
            result = ExecutionResult(data=self._said[key], errors=None)
        elif self.plans is None:
            result = await otherwise()
        else:
            result = await self.plans.execute(
                context_value.document,
                otherwise,
                context=context_value,
                operation_name=operation_name,
                variables=variable_values,
            )
        if is_same and not result.errors:
            self._said[key] = result.data
            if len(self._said) > _MOST_SAID:
                self._said.popitem(last=False)
        tell_cost(result, context_value)
        return result

    def entities_resolver(self, info: Info, representations: list[FederationAny]) -> Any:
        """Resolve the references of a gateway in one batch per kind."""
        if len(representations) > MOST:
            raise BadInput(f"At most {MOST} representations at once.", reason="TOO_MANY")
        return resolve_entities(info, representations)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Leave errors to the hook that presents them."""


def build_schema(
    *,
    compiled: bool = False,
    fell_back: Callable[[str], None] | None = None,
    bound: Bound = UNBOUND,
) -> Schema:
    """A fresh schema, executed by plans or by the library alone; an app builds it once.

    `fell_back` is told the reason each time that the library answers instead of a plan; `bound` says how large an
    answer may be.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=MORE_TYPES,
        federation_version="2.9",
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[CheckedDocument, PresentedErrors, ToldCost],
        execution_context_class=type("Bounded", (TidyExecutor,), {"bound": bound}),
    )
    schema.bound = bound
    _drop_null_defaults(schema)
    if compiled:
        # Both extensions only hand over what was checked and look at errors: an answer without errors needs neither.
        schema.plans = Plans(
            schema,
            silent=(CheckedDocument, PresentedErrors, ToldCost),
            fell_back=fell_back or _nobody_counts,
            bound=bound,
        )
    return schema


def _nobody_counts(_reason: str) -> None:
    """For schemas outside an app."""


def _drop_null_defaults(schema: Schema) -> None:
    """Say `after: String`, not `after: String = null`.

    Python needs a default for what may be left out, the graph does not: an argument that is left out is not passed
    on, and then Python's default stands.
    """
    for type_ in schema._schema.type_map.values():  # noqa: SLF001 - Strawberry has no door to it.
        if isinstance(type_, GraphQLInputObjectType):
            inputs: list[Any] = list(type_.fields.values())
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            inputs = [each for field in type_.fields.values() for each in field.args.values()]
        else:
            continue
        for each in inputs:
            if each.default_value is None:
                each.default_value = Undefined
