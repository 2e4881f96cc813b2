"""Words of causes: what is said of items and of worker tags in the sentences of a Blocker."""

from __future__ import annotations

from datetime import datetime

from runtime.model.blocker import (
    BlockCause,
    Blocker,
    Lane,
    RunningLimit,
    Standing,
    WaitingItem,
)
from runtime.model.execution import Execution, ExecutionStatus, WaitKind
from runtime.model.plan import StepPlan


def item_words(waiting: WaitingItem) -> str:
    """`item 7`, `item 7 and of 3 more`; of the past nobody knows which."""
    if waiting.item < 0:
        return "some of its items"
    rest = waiting.count - 1
    return f"item {waiting.item}" + (f" and of {rest} more" if rest > 0 else "")


def tags_missing(
    step: StepPlan, since: datetime, standing: Standing, execution: Execution
) -> Blocker | None:
    """Its execution is to go to a worker with its tags: parked for that, or with an owner who lacks them; else None."""
    is_parked = execution.status is ExecutionStatus.WAITING
    if not step.runs_on or (is_parked and execution.wait is not WaitKind.WORKER_TAGS):
        return None
    if execution.status is ExecutionStatus.QUEUED or (not is_parked and standing.tags is None):
        return None
    here = frozenset() if is_parked or standing.tags is None else standing.tags
    missing = [tag for tag in step.runs_on if tag not in here]
    if not missing:
        return None
    wanted = ", ".join(step.runs_on)
    if not is_parked:
        summary = f"It runs on {wanted}, and the worker that has the execution lacks {', '.join(missing)}."
        frees = "The end of what that worker still does for the execution, which then moves."
    elif any(one.issuperset(step.runs_on) for one in standing.fleet):
        summary = f"It runs on {wanted}, and waits for a worker that has these tags."
        frees = "A free place at a worker with these tags: by priority, then by age."
    else:
        summary = f"It runs on {wanted}, and no worker of its shard has these tags."
        frees = f"A worker with these tags: `mc worker --tags {','.join(step.runs_on)}`."
    return Blocker(
        BlockCause.WORKER_TAGS,
        step.key,
        since,
        summary,
        frees,
        worker=None if is_parked else standing.worker,
        tags=step.runs_on,
    )


def lane_full(step: StepPlan, since: datetime, lane: Lane) -> Blocker:
    """Its execution waits for a place among those with its concurrency key."""
    many = "execution" if lane.limit == 1 else "executions"
    names = ", ".join(map(str, lane.holders))
    held = f", held by {names}" if names else ", and a place is free"
    where = "" if lane.position is None else f" It is at place {lane.position} of those that wait."
    return Blocker(
        BlockCause.CONCURRENCY,
        step.key,
        since,
        f"At most {lane.limit} {many} with the key {lane.key!r} may run at once{held}.{where}",
        "The end of one of these executions; then by priority and age."
        if names
        else "The next look of a worker, within a heartbeat.",
        position=lane.position,
        concurrency_key=lane.key,
        holders=lane.holders,
        limit=lane.limit,
    )


def limit_reached(
    step: StepPlan, since: datetime, limit: RunningLimit, position: int | None
) -> Blocker:
    """As many executions of its tenant or its workflow run as may."""
    whose = "this workflow" if limit.is_of_workflow else "this tenant"
    return Blocker(
        BlockCause.RUNNING_LIMIT,
        step.key,
        since,
        f"At most {limit.most} executions of {whose} may run at once, and {limit.running} do.",
        "One of these that ends or is parked; then by priority and age.",
        position=position,
        limit=limit.most,
        running=limit.running,
    )


def quarantined(step: StepPlan, since: datetime) -> Blocker:
    """Its execution is to run alone."""
    return Blocker(
        BlockCause.QUARANTINE,
        step.key,
        since,
        "The execution lost two workers in a row, so it runs alone, in a process of its own, and waits for that.",
        "A worker that begins a process for it.",
    )
