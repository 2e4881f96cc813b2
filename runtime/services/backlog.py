"""Backlogs: how many executions of a tenant may be queued, or wait in lanes, before no more are taken.

`max_queued` in a tenant's settings is the bound; where there is none nothing is counted. What waits is counted at
most once a second for each tenant with a bound, and what this process has accepted since is added: with several API
processes a backlog may pass its bound by what the others take in that second. Only what is asked for anew is refused:
retries, children and what wakes are accepted already.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.errors import Exhausted, Unavailable
from runtime.store.execution_record import ExecutionRecords
from runtime.store.tenant import TenantStore
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

_KNOWN_SECONDS: Final = 30.0
_COUNT_SECONDS: Final = 1.0
_MOST_KNOWN: Final = 10_000
_USUAL_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 60.0

_log = get_logger("backlog")


@dataclass(slots=True)
class _Backlog:
    """What is known of one tenant: its bound until a time, what was queued when, how fast that became less."""

    most: int | None
    until: float
    queued: int = 0
    counted_at: float = float("-inf")
    accepted: int = 0
    per_second: float = 0.0


class Backlogs:
    """Lets enqueues through, or says when to come again."""

    def __init__(
        self, tenants: TenantStore, records: ExecutionRecords, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._tenants = tenants
        self._records = records
        self._clock = clock
        self._metrics = metrics
        self._known: OrderedDict[UUID, _Backlog] = OrderedDict()
        self._looks: dict[UUID, asyncio.Task[_Backlog]] = {}

    async def take(self, tenant: UUID) -> None:
        """One more is about to be accepted; raises Exhausted when as many are queued as may be."""
        known = await self.check(tenant)
        known.accepted += known.most is not None

    async def check(self, tenant: UUID) -> _Backlog:
        """As `take`, of what may yet be refused for other reasons: it takes no place."""
        now = self._clock.monotonic()
        known = self._known.get(tenant)
        if known is None or now >= known.until:
            known = await self._looked_up(tenant)
        if known.most is None:
            return known
        if now - known.counted_at >= _COUNT_SECONDS:
            await self._count(tenant, known, now)
        if known.queued + known.accepted < known.most:
            return known
        self._metrics.backlog_refusals.inc()
        seconds = self._seconds(known)
        raise Exhausted(
            f"As many executions of this tenant are queued or wait for a concurrency key as may, {known.most}: try "
            f"again in {seconds:.0f} s.",
            reason="BACKLOG_FULL",
            retry_after=seconds,
        )

    async def _looked_up(self, tenant: UUID) -> _Backlog:
        """What its settings say now; who asks while somebody is looking waits for that look."""
        look = self._looks.get(tenant)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._look_up(tenant))
            self._looks[tenant] = look
            look.add_done_callback(lambda _: self._looks.pop(tenant, None))
        return await asyncio.shield(look)

    async def _look_up(self, tenant: UUID) -> _Backlog:
        now = self._clock.monotonic()
        found = self._known.get(tenant) or _Backlog(None, now)
        try:
            found.most = _bound(await self._tenants.settings(tenant))
            found.until = now + _KNOWN_SECONDS
        except Unavailable:
            # The catalog is away; what protects the service must not be what stops it.
            found.until = now + _COUNT_SECONDS
        self._known[tenant] = found
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    async def _count(self, tenant: UUID, known: _Backlog, now: float) -> None:
        before, since, accepted = known.queued, now - known.counted_at, known.accepted
        # Who asks meanwhile goes by what was known.
        known.counted_at, known.accepted = now, 0
        known.queued = before + accepted
        try:
            spread = (found := await self._tenants.get(tenant)) is not None and found.spread
            known.queued = await self._records.queued(tenant, known.most or 0, spread=spread)
        except Unavailable:
            return
        if since < _LONGEST_SECONDS:
            known.per_second = max(0.0, before + accepted - known.queued) / since

    def _seconds(self, known: _Backlog) -> float:
        """Until a tenth of the bound is free again, at the pace of the last second; what nobody knows is a while."""
        if known.per_second <= 0 or known.most is None:
            return _USUAL_SECONDS
        return min(_LONGEST_SECONDS, max(1.0, known.most / 10 / known.per_second))


def _bound(settings: dict[str, object]) -> int | None:
    """A tenant's own bound; what is none is no bound."""
    said = settings.get("max_queued")
    if said is None:
        return None
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        return said
    _log.warning("max_queued_unreadable", said=repr(said))
    return None
