"""ExecutionStatsService: numbers of executions for whoever may read them.

Ranges are full hours, as they are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.errors import BadInput
from runtime.model.execution_stats import ExecutionStats, StatsFilter
from runtime.model.identity import Principal
from runtime.model.values import Duration
from runtime.services.access import READ_EXECUTIONS, require
from runtime.store.execution_stats import ExecutionCounters
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore

LONGEST: Final = timedelta(days=31)
_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)


class ExecutionStatsService:
    """Reads counters; the number of executions that there are makes no difference."""

    def __init__(self, *, shards: Shards, tenants: TenantStore, clock: Clock) -> None:
        self._shards = shards
        self._tenants = tenants
        self._counters = ExecutionCounters(shards)
        self._clock = clock

    async def stats(
        self, who: Principal, filter: StatsFilter, window: Duration | None
    ) -> ExecutionStats:
        """The numbers of the caller's executions; raises BadInput for what was not counted."""
        require(who, READ_EXECUTIONS)
        if filter.version is not None and not (filter.workflow_id or filter.workflow_name):
            raise BadInput(
                "`version` of statistics goes with a workflow: name one by `workflowId` or "
                "`workflowName`.",
                reason="STATS_VERSION",
            )
        begin, end = self._range(filter, window)
        homes = self._shards.of_tenant(who.tenant_id, spread=await self._is_spread(who))
        return await self._counters.stats(who.tenant_id, filter, begin, end, homes)

    async def of_workflows(
        self, who: Principal, workflows: Sequence[UUID], window: Duration | None
    ) -> dict[UUID, ExecutionStats]:
        """The numbers of each of these workflows, read for all of them at once."""
        require(who, READ_EXECUTIONS)
        begin, end = self._range(StatsFilter(), window)
        homes = self._shards.of_tenant(who.tenant_id, spread=await self._is_spread(who))
        return await self._counters.stats_of_each(who.tenant_id, workflows, begin, end, homes)

    def _range(
        self, filter: StatsFilter, window: Duration | None
    ) -> tuple[datetime, datetime | None]:
        """Full hours in UTC that hold what was asked for; the list of the same range is as long as its number."""
        now = self._clock.now()
        last = min(max(filter.created_to or now, _EPOCH), _LAST)
        if filter.created_from is not None:
            first = min(max(filter.created_from, _EPOCH), _LAST)
        else:
            length = timedelta(milliseconds=window.milliseconds) if window else timedelta(days=1)
            if not _HOUR <= length <= LONGEST:
                raise _too_long()
            first = max(last - length, _EPOCH)
        begin = _full_hour(first)
        end = None if filter.created_to is None else _full_hour(last + _HOUR - _SHORTEST)
        if (end or last) - begin > LONGEST + _HOUR:
            raise _too_long()
        return begin, end

    async def _is_spread(self, who: Principal) -> bool:
        tenant = await self._tenants.get(who.tenant_id) if self._shards.count > 1 else None
        return tenant is not None and tenant.spread


_SHORTEST: Final = timedelta(microseconds=1)


def _full_hour(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(minute=0, second=0, microsecond=0)


def _too_long() -> BadInput:
    return BadInput(
        f"Statistics cover between one hour and {LONGEST.days} days: give a `window` from PT1H to "
        f"P{LONGEST.days}D, or a `created` range of at most {LONGEST.days} days.",
        reason="STATS_WINDOW",
    )
