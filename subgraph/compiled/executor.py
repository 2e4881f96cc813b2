"""Strawberry's executor that tries a plan first, and never asks a mutation's root field a second time.

Nothing else of it is changed: when a plan can't answer, this is the library's executor with its own messages, paths
and nulls. What an attempt got from a mutation's root fields is handed to it as their value or exception.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any, ClassVar, Final

from graphql import ExecutionResult, OperationDefinitionNode
from graphql.pyutils import is_async_iterable
from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from subgraph.compiled.info import Request
from subgraph.compiled.reasons import Reason, Unplanned
from subgraph.compiled.run import Attempt, Raised


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
    """

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
            return _tidied(result, asked)
        _close(asked)
        return result


async def _tidied(result: Awaitable[Any], asked: Iterable[CoroutineType[Any, Any, Any]]) -> Any:
    try:
        return await result
    finally:
        _close(asked)


def _close(asked: Iterable[CoroutineType[Any, Any, Any]]) -> None:
    for each in asked:
        if getcoroutinestate(each) == CORO_CREATED:
            each.close()


class PlannedExecutor(TidyExecutor):
    """The library's executor, behind plans."""

    plans: ClassVar[Any]
    _attempt: Attempt | None = None

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
            return ExecutionResult(data, None)
        result = self._as_the_library(attempt, serially)
        return await result if is_awaitable(result) else result

    def _as_the_library(self, attempt: Attempt, serially: Any) -> Any:
        if attempt.known:
            self._attempt = attempt
            self.middleware_manager: Any = _Once(attempt)
        return super().execute_operation(serially)

    def execute_field(
        self,
        parent_type: Any,
        source: Any,
        field_details_list: Any,
        path: Any,
        position_context: Any,
    ) -> Any:
        """Execute a field, unless it is a root field that is complete."""
        done = self._attempt.done if self._attempt is not None and path.prev is None else {}
        if path.key in done:
            return done[path.key]
        return super().execute_field(
            parent_type, source, field_details_list, path, position_context
        )


class _Once:
    """In the place of a middleware: root fields that were asked give what they gave."""

    middlewares: tuple[Any, ...] = ()

    def __init__(self, attempt: Attempt) -> None:
        self._known = attempt.known

    def get_field_resolver(self, resolver: Callable[..., Any]) -> Callable[..., Any]:
        """The resolver, behind what is known."""

        def resolve(source: Any, info: Any, **arguments: Any) -> Any:
            if info.path.prev is not None or info.path.key not in self._known:
                return resolver(source, info, **arguments)
            value = self._known[info.path.key]
            if isinstance(value, Raised):
                raise value.error
            return value

        return resolve
