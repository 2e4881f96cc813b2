"""Reads of circuit breakers."""

from __future__ import annotations

from resolvers.context import Context
from runtime.model.breaker import OpenBreaker


async def circuit_breakers(context: Context) -> list[OpenBreaker]:
    """Those of the tenant that are not closed."""
    return await context.breakers.list(context.who)
