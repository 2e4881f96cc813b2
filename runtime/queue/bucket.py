"""Token buckets in Redis: what each tenant has left of its requests and its cost, for all API processes together.

One round trip takes from both or from none. When Redis is away nobody is limited: `take` says so by None, and asks
again after a while.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.model.rate import Rate, Rates, Verdict
from runtime.queue import keys
from runtime.queue.link import AWAY, RedisLink

_TAKE: Final = (Path(__file__).parent / "scripts" / "take.lua").read_text("utf-8")
_BUDGETS: Final = (None, "requests", "cost")
_ANSWER_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 1.0


class Buckets:
    """The buckets of all tenants."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._asks_again = 0.0

    async def take(
        self, tenant_id: UUID, rates: Rates, cost: int, *, is_owed: bool = False
    ) -> Verdict | None:
        """Take one request and its cost, or a cost that is owed as far as it is there; None when Redis is silent."""
        if self._clock.monotonic() < self._asks_again:
            return None
        requests = 0 if is_owed else 1
        wanted = (*_numbers(rates.requests, requests), *_numbers(rates.cost, cost), int(is_owed))
        name = keys.bucket(tenant_id)
        try:
            lacks, milliseconds = await self._link.ask(
                lambda client: client.execute_command("EVAL", _TAKE, 1, name, *wanted),
                seconds=_ANSWER_SECONDS,
            )
        except AWAY:
            self._asks_again = self._clock.monotonic() + _AWAY_SECONDS
            return None
        return Verdict(_BUDGETS[int(lacks)], int(milliseconds) / 1000)


def _numbers(rate: Rate | None, take: int) -> tuple[float, int, int]:
    return (1.0, 0, 0) if rate is None else (rate.per_second, rate.burst, take)
