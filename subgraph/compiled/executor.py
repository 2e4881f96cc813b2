"""Strawberry's executor that tries a plan first, and never asks a mutation's root field a second time.

Nothing else of it is changed: when a plan can't answer, this is the library's executor with its own messages, paths
and nulls. What an attempt got from a mutation's root fields is handed to it as their value or exception.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any, ClassVar, Final

from graphql import ExecutionResult, OperationDefinitionNode, OperationType
from graphql.pyutils import is_async_iterable
from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from subgraph.compiled.info import Request
from subgraph.compiled.reasons import Reason, Unplanned
from subgraph.compiled.run import Asking, Attempt, Given, asking
from subgraph.compiled.size import ENTRY, UNBOUND, Bound, Size, TooLarge


@dataclass(frozen=True, slots=True)
class Attempted:
    """An operation that a plan was tried for already, and how far that came."""

    operation: OperationDefinitionNode
    attempt: Attempt


_ATTEMPTED: Final[ContextVar[Attempted | None]] = ContextVar("attempted", default=None)


@contextmanager
def attempted(what: Attempted) -> Iterator[None]:
    """Whatever executes this operation inside the block goes on from the attempt."""
    token = _ATTEMPTED.set(what)
    try:
        yield
    finally:
        _ATTEMPTED.reset(token)


class TidyExecutor(StrawberryGraphQLCoreExecutionContext):
    """The library's executor; what it asked and does not want any more is closed when it has answered.

    An error ends an operation while the fields beside it have not begun. Python would complain of each on standard
    error, at some later time and in the name of nobody.

    An answer that is larger than `bound` is refused as a whole: from there on nothing is asked or made any more, but
    for the root fields of a mutation.
    """

    bound: ClassVar[Bound] = UNBOUND

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._size = Size(self.bound)

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 - their signature
        """Execute the operation."""
        asked: list[CoroutineType[Any, Any, Any]] = []
        told = self.is_awaitable

        def is_awaitable(value: Any) -> Any:
            if value.__class__ is CoroutineType:
                asked.append(value)
            return told(value)

        self.is_awaitable: Any = is_awaitable
        result: Any = super().execute_operation(serially)
        if told(result):
            return self._tidied(result, asked)
        _close(asked)
        return self._bounded(result)

    def execute_fields(
        self,
        parent_type: Any,
        source_value: Any,
        path: Any,
        grouped_field_set: Any,
        position_context: Any,
    ) -> Any:
        """Execute the fields of an object, and count what they are called."""
        self._size.bytes += 1 + sum(len(key) + ENTRY for key in grouped_field_set)
        return super().execute_fields(
            parent_type, source_value, path, grouped_field_set, position_context
        )

    def execute_field(
        self,
        parent_type: Any,
        source: Any,
        field_details_list: Any,
        path: Any,
        position_context: Any,
    ) -> Any:
        """Execute a field, where there is room for it."""
        if self._size.is_over and not (path.prev is None and self._is_mutation):
            return None
        return super().execute_field(
            parent_type, source, field_details_list, path, position_context
        )

    def complete_value(
        self,
        return_type: Any,
        field_details_list: Any,
        info: Any,
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        """Complete a value, where there is room for it."""
        if self._size.is_over:
            return None
        return super().complete_value(
            return_type, field_details_list, info, path, result, position_context
        )

    def complete_leaf_value(self, return_type: Any, result: Any) -> Any:  # type: ignore[override]
        """Complete a scalar or an enum, and count it."""
        value = super().complete_leaf_value(return_type, result)
        self._size.bytes += self._size.of(value)
        return value

    def handle_field_error(self, raw_error: Any, return_type: Any, details: Any, path: Any) -> None:
        """Note the error of a field, unless it refuses the whole answer."""
        if isinstance(getattr(raw_error, "original_error", raw_error), TooLarge):
            self._size.overflow()
        else:
            super().handle_field_error(raw_error, return_type, details, path)

    @property
    def _is_mutation(self) -> bool:
        return self.operation.operation is OperationType.MUTATION

    async def _tidied(
        self, result: Awaitable[Any], asked: Iterable[CoroutineType[Any, Any, Any]]
    ) -> Any:
        try:
            return self._bounded(await result)
        finally:
            _close(asked)

    def _bounded(self, result: Any) -> Any:
        """The result, or the refusal of one that is too large."""
        if not self._size.is_over:
            return result
        return ExecutionResult(None, [self.bound.refusal(is_done=self._is_mutation)])


def _close(asked: Iterable[CoroutineType[Any, Any, Any]]) -> None:
    for each in asked:
        if getcoroutinestate(each) == CORO_CREATED:
            each.close()


class PlannedExecutor(TidyExecutor):
    """The library's executor, behind plans."""

    plans: ClassVar[Any]
    _attempt: Attempt | None = None
    _given: Mapping[Asking, Given]

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 - their signature
        """Execute the operation, by its plan if that can be."""
        before = _ATTEMPTED.get()
        if before is not None and before.operation is self.operation:
            return self._as_the_library(before.attempt, serially)
        # Who executes without a loop says so in this way; a plan would have to wait.
        if self.is_async_iterable is not is_async_iterable:
            return super().execute_operation(serially)
        return self._planned(serially)

    async def _planned(self, serially: Any) -> Any:
        attempt = Attempt()
        try:
            if self.middleware_manager and self.middleware_manager.middlewares:
                raise Unplanned(Reason.EXTENSION)
            request = Request(
                self.schema,
                self.variable_values,
                self.context_value,
                self.root_value,
                self.operation_extensions,
            )
            data = await self.plans.run(self.operation, self.fragment_definitions, request, attempt)
        except Unplanned as unplanned:
            self.plans.note(unplanned)
        else:
            return attempt.result or ExecutionResult(data, None)
        result = self._as_the_library(attempt, serially)
        return await result if is_awaitable(result) else result

    def _as_the_library(self, attempt: Attempt, serially: Any) -> Any:
        if attempt.result is not None:
            return attempt.result
        if attempt.known or attempt.asked:
            self._attempt, self._given = attempt, attempt.given()
            self.middleware_manager: Any = _Once(attempt.known, self._given)
        return super().execute_operation(serially)

    def execute_field(
        self,
        parent_type: Any,
        source: Any,
        field_details_list: Any,
        path: Any,
        position_context: Any,
    ) -> Any:
        """Execute a field, unless its answer is complete: a root field's, or one that was read in columns."""
        attempt = self._attempt
        if attempt is not None:
            if path.prev is None and path.key in attempt.done:
                return attempt.done[path.key]
            given = self._given.get(asking(source, (one.node for one in field_details_list)))
            if given is not None and given.is_columns:
                try:
                    return given.completed(self._size)
                except Exception as error:  # noqa: BLE001 - told at its place, as the library tells its own
                    self.handle_field_error(
                        error, given.step.definition.type, field_details_list, path
                    )
                    return None
        return super().execute_field(
            parent_type, source, field_details_list, path, position_context
        )


class _Once:
    """In the place of a middleware: resolvers that were asked for an object give, or raise, what they gave."""

    middlewares: tuple[Any, ...] = ()

    def __init__(self, roots: Mapping[str, Any], given: Mapping[Asking, Given]) -> None:
        self._roots = roots
        self._given = given

    def get_field_resolver(self, resolver: Callable[..., Any]) -> Callable[..., Any]:
        """The resolver, behind what is known."""

        def resolve(source: Any, info: Any, /, **arguments: Any) -> Any:
            if info.path.prev is None and info.path.key in self._roots:
                value = self._roots[info.path.key]
                if isinstance(value, Exception):
                    raise value
                return value
            given = self._given.get(asking(source, info.field_nodes))
            return resolver(source, info, **arguments) if given is None else given.again()

        return resolve
