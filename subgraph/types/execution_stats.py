"""ExecutionStats: how many executions are where, how they end, how long they take, what they cost."""

from datetime import datetime
from typing import Self

import strawberry

from runtime.model import execution_stats as model
from runtime.model.execution import ExecutionState
from runtime.model.values import Duration
from subgraph.directives import access
from subgraph.types.money import Money

_RANGE = "of those created in the range"
_NOW = "whenever they were created"


def _count(state: ExecutionState, of: str, what: str) -> int:
    def resolve(root: "ExecutionStats") -> int:
        return root.record.count(state)

    field: int = strawberry.field(resolver=resolve, description=f"How many {what}, {of}.")
    return field


@strawberry.type(
    description="Numbers of executions, from counters that change in the transaction of what they count: each number "
    "is the `totalCount` of the list that its description names, `from` and `to` being its `created`."
)
class ExecutionStats:
    """Numbers of executions."""

    record: strawberry.Private[model.ExecutionStats]
    from_: datetime = strawberry.field(
        name="from",
        description="The begin of the range: what was asked for, made larger to a full hour in UTC.",
    )
    to: datetime | None = strawberry.field(
        description="The first instant after the range, a full hour in UTC; null when it has no end."
    )
    queued: int = _count(ExecutionState.QUEUED, _NOW, "are QUEUED now")
    running: int = _count(ExecutionState.RUNNING, _NOW, "are RUNNING now")
    waiting: int = _count(ExecutionState.WAITING, _NOW, "are WAITING now")
    paused: int = _count(ExecutionState.PAUSED, _NOW, "are PAUSED now")
    cancelling: int = _count(ExecutionState.CANCELLING, _NOW, "are CANCELLING now")
    compensating: int = _count(ExecutionState.COMPENSATING, _NOW, "are COMPENSATING now")
    completed: int = _count(ExecutionState.COMPLETED, _RANGE, "are COMPLETED")
    failed: int = _count(ExecutionState.FAILED, _RANGE, "are FAILED")
    cancelled: int = _count(ExecutionState.CANCELLED, _RANGE, "are CANCELLED")
    timed_out: int = _count(ExecutionState.TIMED_OUT, _RANGE, "are TIMED_OUT")
    dead_lettered: int = _count(ExecutionState.DEAD_LETTERED, _RANGE, "are DEAD_LETTERED")
    success_rate: float | None = strawberry.field(
        description="What part completed of those created in the range that completed, failed, ran out of time or are "
        "dead letters: 0 to 1; null when there are none."
    )
    duration_p50: Duration | None = strawberry.field(
        name="durationP50",
        description="Half of what completed, of those created in the range, took at most this from start to end; at "
        "most 2.5 % off. Null when nothing did.",
    )
    duration_p95: Duration | None = strawberry.field(
        name="durationP95", description="The same for 95 of 100."
    )
    oldest_queued_at: datetime | None = strawberry.field(
        description="When the oldest was created that waits for its first worker; null when none does."
    )
    backlog_age: Duration | None = strawberry.field(
        description="How long ago that was, by the database's clock."
    )
    is_partial: bool = strawberry.field(
        description="Whether one of several databases did not answer: what lies there is not counted."
    )

    @strawberry.field(
        description="What steps have cost, of executions created in the range: an amount for each currency.",
        directives=access("ExecutionStats.cost"),
    )
    def cost(self) -> list[Money]:
        """What steps have cost."""
        return [Money.of(one) for one in self.record.cost]

    @classmethod
    def of(cls, stats: model.ExecutionStats) -> Self:
        """From its record."""
        return cls(
            record=stats,
            from_=stats.begin,
            to=stats.end,
            success_rate=stats.success_rate,
            duration_p50=stats.percentile(50),
            duration_p95=stats.percentile(95),
            oldest_queued_at=stats.oldest_queued_at,
            backlog_age=stats.backlog_age,
            is_partial=bool(stats.silent),
        )
