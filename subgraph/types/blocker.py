"""Blocker: why a step is not running, since when, and what would free it."""

from datetime import datetime
from typing import Self

import strawberry

from resolvers.ids import HumanTaskId
from runtime.model import blocker as model
from subgraph.compiled.declare import record_field
from subgraph.directives import access
from subgraph.types.actor import Actor
from subgraph.types.status import BlockCause


@strawberry.type(
    description="The one cause for which a step is not running. The fields after `until` are of some causes only."
)
class Blocker:
    """Why a step is not running."""

    record: strawberry.Private[model.Blocker]
    cause: BlockCause = record_field(description="The cause: the first condition that is not met.")
    step_key: str = record_field(description="The step that is not running.")
    summary: str = record_field(description="What it waits for, in a sentence.")
    what_frees: str = record_field("frees", description="What would free it, in a sentence.")
    since: datetime = record_field(description="Since when this is the cause.")
    until: datetime | None = record_field(
        description="When the cause ends by itself; null when it does not."
    )
    steps: list[str] = record_field(
        lambda one: list(one.steps),
        description="The steps that are waited for, or that hold all places, or whose failure ended the execution; "
        "at most the first 20.",
        directives=access("Blocker.steps"),
    )
    signal: str | None = record_field(description="The signal that is waited for.")
    attempt: int | None = record_field(
        description="The attempt that comes next, or whose call is in doubt."
    )
    target: str | None = record_field(description="The target whose circuit breaker is open.")
    actor: Actor | None = record_field(
        lambda one: None if one.actor is None else Actor.of(one.actor),
        description="Who paused or cancelled the execution.",
    )
    reason: str | None = record_field(description="The reason that they gave.")
    worker_id: str | None = record_field(
        "worker", description="The worker that is about to start it, or that had it and is gone."
    )
    position: int | None = record_field(
        description="Its place in its tenant's queue, from 1; null beyond 1,000."
    )

    tags: list[str] = record_field(
        lambda one: list(one.tags),
        description="The tags that a worker must have to run it, while none that could has it.",
        directives=access("Blocker.tags"),
    )

    concurrency_key: str | None = record_field(
        description="The concurrency key for which its execution waits."
    )
    holders: list[strawberry.ID] = record_field(
        lambda one: list(map(str, one.holders)),
        description="The executions that hold the places of that key; at most the first 20.",
        directives=access("Blocker.holders"),
    )

    limit: int | None = record_field(
        description="How many executions may run at once: with its concurrency key, or of its workflow or tenant."
    )
    running: int | None = record_field(
        description="How many executions of its workflow or tenant run, while that is the cause."
    )

    task_id: strawberry.ID | None = record_field(
        lambda one: None if one.task is None else strawberry.ID(str(HumanTaskId(one.task))),
        description="The human task that is to be answered.",
    )
    assignees: list[str] = record_field(
        lambda one: list(one.assignees),
        description="The people who are asked; at most the first 20.",
        directives=access("Blocker.assignees"),
    )
    candidate_groups: list[str] = record_field(
        lambda one: list(one.candidate_groups),
        description="The groups of which anybody may answer; at most the first 20.",
        directives=access("Blocker.candidateGroups"),
    )

    @classmethod
    def of(cls, blocker: model.Blocker) -> Self:
        """From its record."""
        return cls(record=blocker)
