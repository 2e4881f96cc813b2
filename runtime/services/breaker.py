"""BreakerService: which targets the workers leave alone at the moment, for whom it concerns."""

from __future__ import annotations

from runtime.model.breaker import OpenBreaker
from runtime.model.errors import Unavailable
from runtime.model.identity import Principal
from runtime.queue.breaker import SharedBreakers
from runtime.services.access import READ_EXECUTIONS, require


class BreakerService:
    """Reads what workers have told each other."""

    def __init__(self, shared: SharedBreakers) -> None:
        self._shared = shared

    async def list(self, who: Principal) -> list[OpenBreaker]:
        """The caller's breakers that are not closed; raises Unavailable when Redis is away."""
        require(who, READ_EXECUTIONS)
        found = await self._shared.open_ones()
        if found is None:
            raise Unavailable(
                "Redis does not answer, so nobody can say what the workers know of each other.",
                reason="REDIS_UNAVAILABLE",
            )
        mine = [one for one in found if one.key.tenant_id == who.tenant_id]
        return sorted(mine, key=lambda one: one.key)
