"""From a request to who asks: verified token, tenant, purpose, and the context that resolvers see.

Both protocols come through `Door`. A context is made per operation, so that two operations on one WebSocket share
neither batches nor what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from graphql import DocumentNode

from resolvers.context import Context
from resolvers.dataloaders import Loaders
from resolvers.room import Room
from runtime.bootstrap import Runtime
from runtime.model.errors import Denied, MaestroError, Unauthenticated
from runtime.model.identity import Principal
from runtime.telemetry.tracing import Tracing

PURPOSE: Final = "x-purpose"
_AGAIN_SECONDS: Final = 30.0


class Trace:
    """The trace that an operation belongs to, found when somebody asks: most answers name none."""

    __slots__ = ("_find", "_id")

    def __init__(self, find: Callable[[], str] = str, id: str = "") -> None:
        self._find = find
        self._id = id

    def __call__(self) -> str:
        """Its id, the same each time."""
        if not self._id:
            self._id = self._find()
        return self._id


# Nobody changes it; a frozen one takes twice as long to make, once per request.
@dataclass(slots=True, kw_only=True, eq=False)
class OperationContext(Context):
    """What resolvers see, and what the machinery around them needs."""

    document: DocumentNode
    trace: Trace
    tell_cost: Callable[[Any], dict[str, int]] | None = None
    is_introspection: bool = False

    @property
    def trace_id(self) -> str:
        """The id of its trace; asked for inside its span."""
        return self.trace()


class Door:
    """Lets callers in, and hands each operation its context."""

    def __init__(self, rt: Runtime, *, again_seconds: float = _AGAIN_SECONDS) -> None:
        self._rt = rt
        self._again = again_seconds

    async def admit(self, headers: Mapping[str, str]) -> Principal:
        """The caller behind a request's headers; raises Unauthenticated or Denied."""
        return await self._rt.authenticator.principal(
            headers.get("authorization"), headers.get(PURPOSE)
        )

    async def admit_connection(
        self, headers: Mapping[str, str], params: Mapping[str, object]
    ) -> Principal:
        """The caller behind a WebSocket: what `connection_init` says goes before the upgrade's headers."""
        given = {name.lower(): value for name, value in params.items() if isinstance(value, str)}
        return await self._rt.authenticator.principal(
            given.get("authorization") or headers.get("authorization"),
            given.get(PURPOSE) or given.get("purpose") or headers.get(PURPOSE),
        )

    def next_look(self, who: Principal) -> float:
        """In how many seconds one who listens is to be looked at again: not after his token ran out."""
        left = who.expires_at - self._rt.clock.now().timestamp()
        return max(0.0, min(left, self._again))

    async def look_again(
        self, who: Principal, headers: Mapping[str, str], params: Mapping[str, object]
    ) -> MaestroError | None:
        """Why one who listens may do so no longer, when that is so.

        His token ran out, is not good any more, or gives him something else.
        """
        if who.expires_at <= self._rt.clock.now().timestamp():
            return Unauthenticated("The token has expired", reason="TOKEN_EXPIRED")
        try:
            found = await self.admit_connection(headers, params)
        except (Unauthenticated, Denied) as error:
            return error
        except MaestroError:
            # The door can't say now; whoever was let in stays until it can.
            return None
        if found != who:
            return Unauthenticated("The token gives something else by now.", reason="TOKEN_CHANGED")
        return None

    def context(
        self,
        who: Principal,
        document: DocumentNode,
        trace: Trace,
        *,
        tell_cost: Callable[[Any], dict[str, int]] | None = None,
        is_introspection: bool = False,
        cost: int = 0,
        item_cost: Callable[[Iterable[Any]], int] = lambda _nodes: 1,
    ) -> OperationContext:
        """A fresh context for one operation, of which `cost` is what it was estimated at.

        `item_cost` tells what one item more of a list costs, by the nodes of its field.
        """
        graph = self._rt.settings.api.graph
        services = self._rt.services
        workflows, executions = services.workflows, services.executions
        return OperationContext(
            who=who,
            workflows=workflows,
            executions=executions,
            stats=services.stats,
            artifacts=services.artifacts,
            dead_letters=services.dead_letters,
            doubts=services.doubts,
            breakers=services.breakers,
            simulations=services.simulations,
            replays=services.replays,
            previews=services.previews,
            migrations=services.migrations,
            handlers=services.handlers,
            bulk=services.bulk,
            tenant_settings=services.tenant_settings,
            human_tasks=services.human_tasks,
            loaders=Loaders(
                who,
                workflows,
                executions,
                services.artifacts,
                services.dead_letters,
                services.bulk,
                services.stats,
                services.human_tasks,
            ),
            answer_room=Room(graph.max_answer_bytes),
            cost_room=Room(graph.max_cost, cost),
            item_cost=item_cost,
            document=document,
            trace=trace,
            tell_cost=tell_cost,
            is_introspection=is_introspection,
        )

    def trace(self, headers: Mapping[str, str]) -> Trace:
        """The trace of a request, found when it is asked for."""
        return Trace(partial(self.trace_id, headers))

    def trace_id(self, headers: Mapping[str, str]) -> str:
        """The trace that a request belongs to: the span's, else the caller's, else a new one."""
        return (
            Tracing.current_trace_id()
            or Tracing.trace_id(headers)
            or f"{self._rt.entropy.bits(128):032x}"
        )
