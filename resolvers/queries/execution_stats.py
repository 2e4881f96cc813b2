"""Reads of statistics of executions."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from runtime.model.execution_stats import ExecutionStats, StatsFilter
from runtime.model.values import Duration


async def execution_stats(
    context: Context, *, filter: StatsFilter, window: Duration | None
) -> ExecutionStats:
    """The numbers of the tenant's executions."""
    return await context.stats.stats(context.who, filter, window)


async def workflow_stats(
    context: Context, *, workflow_id: UUID, window: Duration | None
) -> ExecutionStats:
    """The numbers of one workflow; those of a list are read together."""
    return await context.loaders.stats.load((workflow_id, window))
