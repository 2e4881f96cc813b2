"""RateService: how much of the graph a tenant may use, and the refusal of what is more.

A tenant's own settings go before those of the installation. Where nothing is limited nothing is asked; otherwise a
request costs one round trip to Redis, and none while this process knows that the tenant has used its requests up. When
Redis is away requests go through unchecked: a limit that protects the service must not be what stops it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.errors import Exhausted, MaestroError
from runtime.model.identity import Principal
from runtime.model.rate import Rate, Rates
from runtime.queue.bucket import Buckets
from runtime.store.tenant import TenantStore
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

_KNOWN_SECONDS: Final = 30.0
_MOST_KNOWN: Final = 10_000
_SAYS: Final = {
    "requests": "This tenant has used up its requests; try again in {:.0f} s.",
    "cost": "This tenant has used up the cost that its operations may come to; try again in {:.0f} s.",
}

_log = get_logger("rate")


class RateService:
    """Lets requests through, or says when to come again."""

    def __init__(
        self,
        tenants: TenantStore,
        buckets: Buckets,
        usual: Rates,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._tenants = tenants
        self._buckets = buckets
        self._usual = usual
        self._clock = clock
        self._metrics = metrics
        self._known: OrderedDict[UUID, tuple[float, Rates]] = OrderedDict()
        self._empty: dict[UUID, float] = {}
        self._is_checking = True

    def check(self, who: Principal) -> None:
        """Refuse at once a tenant that is known to have used its requests up, before anything is done for it."""
        until = self._empty.get(who.tenant_id)
        if until is None:
            return
        left = until - self._clock.monotonic()
        if left > 0:
            raise self._refused("requests", left)
        del self._empty[who.tenant_id]

    async def take(self, who: Principal, cost: int) -> None:
        """Take one request and its cost from the tenant's budgets; raises Exhausted when they lack."""
        rates = await self._rates(who.tenant_id)
        if rates.is_free:
            return
        verdict = await self._buckets.take(who.tenant_id, rates, cost)
        self._tell(is_checking=verdict is not None)
        if verdict is None or verdict.used_up is None:
            return
        if verdict.used_up == "requests":
            if len(self._empty) >= _MOST_KNOWN:
                self._empty.clear()
            self._empty[who.tenant_id] = self._clock.monotonic() + verdict.seconds
        raise self._refused(verdict.used_up, verdict.seconds)

    async def owe(self, who: Principal, cost: int) -> None:
        """Take what an operation came to beyond its estimate, as far as it is there: the answer is made already.

        Raises nothing when the stores are away: nobody is left to be told.
        """
        if cost <= 0:
            return
        try:
            rates = await self._rates(who.tenant_id)
            if not rates.is_free:
                await self._buckets.take(who.tenant_id, rates, cost, is_owed=True)
        except MaestroError as error:
            self._metrics.rate_unchecked.inc()
            _log.warning("rate_not_owed", why=error.message, cost=cost)

    async def _rates(self, tenant_id: UUID) -> Rates:
        found = self._known.get(tenant_id)
        if found is not None and self._clock.monotonic() < found[0]:
            return found[1]
        rates = _rates(await self._tenants.settings(tenant_id), self._usual)
        self._known[tenant_id] = (self._clock.monotonic() + _KNOWN_SECONDS, rates)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return rates

    def _refused(self, budget: str, seconds: float) -> Exhausted:
        self._metrics.rate_refusals.labels(budget).inc()
        return Exhausted(
            _SAYS[budget].format(max(1.0, seconds)),
            reason=f"{budget.upper()}_USED_UP",
            retry_after=seconds,
        )

    def _tell(self, *, is_checking: bool) -> None:
        if not is_checking:
            self._metrics.rate_unchecked.inc()
        if is_checking != self._is_checking:
            self._is_checking = is_checking
            if is_checking:
                _log.info("rates_checked_again")
            else:
                _log.warning("rates_unchecked", why="Redis does not answer; nobody is limited")


def _rates(settings: dict[str, object], usual: Rates) -> Rates:
    return Rates(
        _rate(settings.get("rate_requests"), usual.requests),
        _rate(settings.get("rate_cost"), usual.cost),
    )


def _rate(setting: object, usual: Rate | None) -> Rate | None:
    """A tenant's own rate; `off` lifts the usual one, and what is none leaves it."""
    if setting == "off":
        return None
    try:
        return usual if setting is None else Rate.parse(str(setting))
    except ValueError as error:
        _log.warning("rate_unreadable", why=str(error))
        return usual
