"""Subscriptions as payloads: each event is executed and written once for all who asked the same about it.

Two ask the same when their documents, the variables that reach below the root field, and whatever of a caller an
answer may depend on are equal, and the event is the same record: the services hand one record to all who
watch the same. What was written is shared for a second; who replays later is shown things as they are then.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

import orjson
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    Node,
    VariableNode,
    Visitor,
    visit,
)
from graphql.execution.execute import create_source_event_stream
from strawberry.types.execution import ExecutionResult as Told

from runtime.model.identity import Principal
from subgraph.compiled.size import UNBOUND, Bound
from subgraph.context import OperationContext
from subgraph.document.documents import Operation
from subgraph.errors import present_all
from subgraph.schema.build import Schema
from subgraph.schema.hooks import tell_cost
from subgraph.written import answer_of, written, written_within

_SHARED_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 0.01
_MOST_SHARED: Final = 4_096
_MOST_DOCUMENTS: Final = 512

Build: TypeAlias = Callable[[], Any]
# Of a record its identity, and what is asked of it.
_Key: TypeAlias = "tuple[int, _Asked]"


@dataclass(frozen=True, slots=True)
class Payload:
    """An answer as JSON; `is_refusal` when the operation never began."""

    body: bytes
    errors: Sequence[GraphQLError] = ()
    cursor: str | None = None
    is_refusal: bool = False


class _Asked:
    """What many ask in the same way: the same object for all of them, so that an event compares no more than that.

    Its operation stays as long as its identity stands in a key.
    """

    __slots__ = ("__weakref__", "node")

    def __init__(self, node: Node) -> None:
        self.node = node


@dataclass(slots=True)
class _Written:
    """What is, or is being, written of one record, which stays as long as its identity stands in its key."""

    record: object
    at: float
    payload: Payload | None = None
    written: asyncio.Event = field(default_factory=asyncio.Event)


async def _nothing_is_owed(_who: Principal, _cost: int) -> None:
    """Where nobody counts."""


class Streams:
    """Runs the subscriptions of one schema."""

    def __init__(
        self,
        schema: Schema,
        *,
        bound: Bound = UNBOUND,
        owe: Callable[[Principal, int], Awaitable[None]] = _nothing_is_owed,
        shared_seconds: float = _SHARED_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schema = schema
        self._bound = bound
        self._owe = owe
        self._shared_seconds = shared_seconds
        self._now = now
        self._turn_ends: float | None = None
        self._asked: WeakValueDictionary[tuple[object, ...], _Asked] = WeakValueDictionary()
        self._written: OrderedDict[_Key, _Written] = OrderedDict()
        self._below: OrderedDict[int, tuple[Node, tuple[str, ...]]] = OrderedDict()

    async def run(
        self, operation: Operation, variables: Mapping[str, Any] | None, context: OperationContext
    ) -> AsyncGenerator[Payload, None]:
        """The payloads of a checked subscription, until it ends."""
        build = partial(
            self._schema.execution_context_class.build,
            self._schema._schema,  # noqa: SLF001 - Strawberry has no door to it.
            operation.document,
            context_value=context,
            raw_variable_values=dict(variables or {}),
            operation_name=operation.name,
        )
        executor: Any = build()
        if isinstance(executor, list):
            yield _refusal(executor, context)
            return
        source: Any = create_source_event_stream(executor)
        if executor.is_awaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            yield _refusal(source.errors or [], context)
            return
        # Whoever writes builds another: of a thousand who listen, one does, and each would hold his for days.
        del executor
        asked = self._as_others_ask(operation, variables, context)
        try:
            async with aclosing(source):
                async for event in source:
                    if self._is_to_give_way():
                        await asyncio.sleep(0)
                    key = (id(event.record), asked)
                    known = self._fresh(key)
                    payload = known.payload if known is not None else None
                    if payload is None:
                        payload = await self._payload(key, build, event, context)
                    cursor = context.resume.at
                    try:
                        yield payload if cursor == payload.cursor else _at(payload, cursor)
                    finally:
                        # Of all who share an answer the one for whom it was made, also when he leaves with it.
                        if (more := context.cost_room.more) > 0:
                            context.cost_room.clear()
                            await self._owe(context.who, more)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears of it and not what it is
            yield _failed(error, context)

    def _is_to_give_way(self) -> bool:
        """Whether all streams together have had the loop for as long as they may in one turn.

        What lies ready is told without waiting for anything: a hundred who are told of a thousand things would hold
        up requests, and the heartbeat of a worker in this process, for as long as that takes.
        """
        if self._turn_ends is None:
            self._turn_ends = self._now() + _TURN_SECONDS
            asyncio.get_running_loop().call_soon(self._turn_is_over)
            return False
        return self._now() >= self._turn_ends

    def _turn_is_over(self) -> None:
        self._turn_ends = None

    def _fresh(self, key: _Key) -> _Written | None:
        """What is, or is being, written for all who ask the same of the same record, while that may be shared."""
        known = self._written.get(key)
        if known is None or self._now() - known.at > self._shared_seconds:
            return None
        return known

    async def _payload(
        self, key: _Key, build: Build, event: Any, context: OperationContext
    ) -> Payload:
        while True:
            known = self._fresh(key)
            if known is None:
                entry = _Written(event.record, self._now())
                return await self._first(key, entry, build, event, context)
            if known.payload is None:
                # Somebody is at it; if he leaves meanwhile, the next one of us begins anew.
                await known.written.wait()
            if known.payload is not None:
                return known.payload

    async def _first(
        self,
        key: _Key,
        entry: _Written,
        build: Build,
        event: Any,
        context: OperationContext,
    ) -> Payload:
        self._written.pop(key, None)
        self._written[key] = entry
        self._forget(entry.at)
        try:
            entry.payload = await self._write(build, event, context)
        finally:
            if entry.payload is None and self._written.get(key) is entry:
                del self._written[key]
            entry.written.set()
        return entry.payload

    def _forget(self, now: float) -> None:
        """Hold no answer longer than it is told: some are megabytes."""
        while len(self._written) > 1:
            oldest = next(iter(self._written))
            is_told = now - self._written[oldest].at <= self._shared_seconds
            if is_told and len(self._written) <= _MOST_SHARED:
                return
            del self._written[oldest]

    async def _write(self, build: Build, event: Any, context: OperationContext) -> Payload:
        # What hangs on an event is asked for anew: things have moved on since the last one.
        context.loaders.forget()
        context.answer_room.clear()
        context.cost_room.clear()
        cursor = context.resume.at
        executor = build()
        result = executor.build_per_event_executor(event).execute_operation(False)
        if executor.is_awaitable(result):
            result = await result
        told = Told(data=result.data, errors=result.errors)
        tell_cost(told, context)
        return _payload(told, context, cursor, self._bound)

    def _as_others_ask(
        self, operation: Operation, variables: Mapping[str, Any] | None, context: OperationContext
    ) -> _Asked:
        """The one object for all whose answers about one event are the same."""
        node = operation.node
        name = (id(node), self._given(operation, variables), *_view(context))
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = _Asked(node)
        return asked

    def _given(self, operation: Operation, variables: Mapping[str, Any] | None) -> str:
        """What of the variables an answer about one event depends on."""
        node = operation.node
        known = self._below.get(id(node))
        if known is None:
            known = self._below[id(node)] = (node, below_root(operation))
            if len(self._below) > _MOST_DOCUMENTS:
                self._below.popitem(last=False)
        given = variables or {}
        told = {name: given[name] for name in known[1] if name in given}
        return _text(told) if told else ""


def below_root(operation: Operation) -> tuple[str, ...]:
    """The variables of a subscription that are used elsewhere than in the arguments of its root field."""
    names = _Names()
    fragments = (
        each for each in operation.document.definitions if isinstance(each, FragmentDefinitionNode)
    )
    for selection in (*operation.node.selection_set.selections, *fragments):
        if not isinstance(selection, FieldNode):
            visit(selection, names)
            continue
        for part in (*(selection.directives or ()), selection.selection_set):
            if part is not None:
                visit(part, names)
    return tuple(sorted(names.found))


class _Names(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.found.add(node.name.value)


def _text(told: Mapping[str, Any]) -> str:
    return orjson.dumps(told, default=str, option=orjson.OPT_SORT_KEYS).decode()


def _view(context: OperationContext) -> tuple[object, ...]:
    """What of a caller an answer may depend on, and whether its cost is told."""
    who = context.who
    about = (who.tenant_id, who.subject, who.scopes, who.roles, who.groups, who.purpose)
    return (*about, context.tell_cost is not None)


def _refusal(errors: Sequence[GraphQLError], context: OperationContext) -> Payload:
    shown = present_all(errors, context.trace_id)
    return Payload(
        written({"data": None, "errors": [each.formatted for each in shown]}),
        shown,
        is_refusal=True,
    )


def _failed(error: Exception, context: OperationContext) -> Payload:
    """The end of a stream whose source failed."""
    located = error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)
    return _payload(Told(data=None, errors=[located]), context, None, UNBOUND)


def _payload(result: Told, context: OperationContext, cursor: str | None, bound: Bound) -> Payload:
    if result.errors:
        result.errors = present_all(result.errors, context.trace_id)
    told = written_within(answer_of(result), bound, lambda: context.trace_id)
    shown = (told.refusal,) if told.refusal is not None else tuple(result.errors or ())
    return Payload(told.body, shown, cursor)


def _at(payload: Payload, cursor: str | None) -> Payload:
    return Payload(payload.body, payload.errors, cursor, payload.is_refusal)
