"""EventHandlerService: how the event handlers do, for operators.

A handler serves all tenants, and so its place and its lag are nobody's secret; what it said about an event is shown
to the tenant of that event only.
"""

from __future__ import annotations

import asyncio
import builtins
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from runtime.model.event_handler import HandlerState, HandlerStatus, PassedBy
from runtime.model.identity import Principal
from runtime.services.access import ADMIN_EXECUTIONS, require
from runtime.store.event_bus import EventBusStore, FailedEvent, HandlerLag
from runtime.store.shards import Shards

MOST_PASSED_BY: Final = 100


class EventHandlerService:
    """Reads the cursors and records of the event bus."""

    def __init__(self, shards: Shards) -> None:
        self._buses = tuple(map(EventBusStore, shards.databases))

    async def list(self, who: Principal) -> builtins.list[HandlerStatus]:
        """Every handler that is known, by name, stream and shard; raises Unavailable when a database is away."""
        require(who, ADMIN_EXECUTIONS)
        parts = await asyncio.gather(*(self._of(bus, who) for bus in self._buses))
        found = (one for part in parts for one in part)
        return sorted(found, key=lambda one: (one.handler, one.stream, one.shard))

    @staticmethod
    async def _of(bus: EventBusStore, who: Principal) -> builtins.list[HandlerStatus]:
        lags = await bus.lags()
        failed = await bus.passed_by(who.tenant_id, MOST_PASSED_BY) if lags else []
        by_cursor: defaultdict[tuple[str, str, int], builtins.list[FailedEvent]] = defaultdict(
            builtins.list
        )
        for one in failed:
            by_cursor[one.handler, one.stream, one.shard].append(one)
        return [_status(lag, who, by_cursor[lag.handler, lag.stream, lag.shard]) for lag in lags]


def state_of(lag: HandlerLag) -> HandlerState:
    """One word for how it does."""
    if not lag.is_run:
        return HandlerState.NOT_RUN
    if lag.attempts:
        return HandlerState.FAILING
    return HandlerState.IN_THE_PAST if lag.is_in_past else HandlerState.OK


def _status(lag: HandlerLag, who: Principal, failed: Iterable[FailedEvent]) -> HandlerStatus:
    return HandlerStatus(
        handler=lag.handler,
        stream=lag.stream,
        shard=lag.shard,
        state=state_of(lag),
        lag_seconds=lag.lag_seconds,
        attempts=lag.attempts,
        error=lag.error if lag.failed_tenant == who.tenant_id else None,
        failed_at=lag.failed_at,
        missed_until=lag.missed_until,
        passed_by=tuple(
            PassedBy(one.event_id, one.kind, one.attempts, one.error, one.at) for one in failed
        ),
    )
