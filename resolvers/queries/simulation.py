"""How an execution would go."""

from __future__ import annotations

from collections.abc import Callable

from resolvers.context import Context
from runtime.services.simulation import Simulated, SimulationRequest


async def simulate(context: Context, *, request: Callable[[], SimulationRequest]) -> Simulated:
    """Simulate, without any effect; `request` reads what was asked, and refuses what can't be meant."""
    return await context.simulations.simulate(context.who, request(), context.loaders.simulating)
