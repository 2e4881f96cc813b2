"""Human tasks as callers say them: new ones, changes, deeds, and which ones a list has."""

from datetime import datetime
from typing import Any, Final, cast

import strawberry
from strawberry.scalars import JSON

from runtime.model import human_task as model
from runtime.model.values import Json
from subgraph.types.status import HumanTaskStatus

_COMMENT: Final = (
    "Why, or what else is to be said; stands in its history. At most 2,000 characters."
)


@strawberry.input(
    description="What happens at a point in time when nobody has answered. `outcome` decides; the others may be said "
    "together."
)
class HumanTaskEscalationInput:
    """What happens at a point in time."""

    at: datetime = strawberry.field(description="When.")
    to: str | None = strawberry.field(default=None, description="Who gets it.")
    candidate_groups: list[str] | None = strawberry.field(
        default=None, description="Groups whose members may answer from then on, too."
    )
    notify: list[str] | None = strawberry.field(
        default=None, description="Who is named in its history and in `notified`."
    )
    outcome: str | None = strawberry.field(
        default=None, description="The outcome that it is decided with."
    )

    def record(self) -> model.Escalation:
        """As services take it."""
        return model.Escalation(
            self.at, self.to, _texts(self.candidate_groups), _texts(self.notify), self.outcome
        )


@strawberry.input(
    description="A task that stands on its own. Without candidates and assignee anybody who may answer tasks may "
    "answer this one."
)
class CreateHumanTaskInput:
    """A task that stands on its own."""

    title: str = strawberry.field(description="What stands in lists; at most 255 characters.")
    description: str | None = strawberry.field(default=None, description="What is asked.")
    form: JSON | None = strawberry.field(
        default=None, description="JSON Schema of what is to be filled in."
    )
    data: JSON | None = strawberry.field(
        default=None, description="What is to be looked at; at most 64 KiB of JSON."
    )
    outcomes: list[str] | None = strawberry.field(
        default=None, description="The possible answers; `approved` and `rejected` when left out."
    )
    candidate_users: list[str] | None = strawberry.field(
        default=None, description="Who may answer, by the `sub` of the token."
    )
    candidate_groups: list[str] | None = strawberry.field(
        default=None, description="Groups of the token whose members may answer."
    )
    assignee: str | None = strawberry.field(default=None, description="Who has it at first.")
    priority: int = strawberry.field(
        default=0, description="Above 0 high, below 0 low; -32,000 to 32,000."
    )
    quorum: int = strawberry.field(
        default=1, description="How many people must give the same outcome."
    )
    separation_of_duties: bool = strawberry.field(
        default=False, description="Neither who creates it nor those in `excluded` may answer."
    )
    excluded: list[str] | None = strawberry.field(
        default=None, description="Who may not answer either, with `separationOfDuties`."
    )
    delegation: bool = strawberry.field(
        default=True, description="Whether who has it may hand it on."
    )
    attachments: list[str] | None = strawberry.field(
        default=None, description="Where what belongs to it lies."
    )
    due_at: datetime | None = strawberry.field(
        default=None, description="By when an answer is wanted."
    )
    warn_at: datetime | None = strawberry.field(
        default=None, description="When a warning is given, before it is due."
    )
    escalations: list[HumanTaskEscalationInput] | None = strawberry.field(
        default=None, description="What happens when it is late, in the order of time."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="When nobody can answer any more."
    )
    expiry_outcome: str | None = strawberry.field(
        default=None, description="The outcome that it expires with."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and task give the task that was created first."
    )

    def record(self) -> model.NewHumanTask:
        """As services take it."""
        said = {
            "outcomes": tuple(self.outcomes) if self.outcomes is not None else None,
            "form": cast("Json", self.form),
            "data": cast("Json", self.data),
        }
        plain = ("title", "description", "assignee", "priority", "quorum", "separation_of_duties", "delegation",
                 "due_at", "warn_at", "expires_at", "expiry_outcome")  # fmt: skip
        lists = ("candidate_users", "candidate_groups", "excluded", "attachments")
        said |= {name: getattr(self, name) for name in plain}
        said |= {name: _texts(getattr(self, name)) for name in lists}
        said["escalations"] = tuple(one.record() for one in self.escalations or ())
        given: dict[str, Any] = {name: one for name, one in said.items() if one is not None}
        return model.NewHumanTask(**given)


@strawberry.input(
    description="What the owner of a task changes; what is left out stays. A comment alone may come from anybody who "
    "may answer tasks."
)
class UpdateHumanTaskInput:
    """What changes."""

    human_task_id: strawberry.ID = strawberry.field(description="The task.")
    title: str | None = strawberry.field(default=None, description="What stands in lists.")
    description: str | None = strawberry.field(default=None, description="What is asked.")
    data: JSON | None = strawberry.field(default=None, description="What is to be looked at.")
    priority: int | None = strawberry.field(default=None, description="Above 0 high, below 0 low.")
    due_at: datetime | None = strawberry.field(
        default=None, description="By when an answer is wanted; a warning keeps its distance."
    )
    candidate_users: list[str] | None = strawberry.field(
        default=None, description="Who may answer, all of them."
    )
    candidate_groups: list[str] | None = strawberry.field(
        default=None, description="Groups whose members may answer, all of them."
    )
    attachments: list[str] | None = strawberry.field(
        default=None, description="Where what belongs to it lies, all of it."
    )
    comment: str | None = strawberry.field(default=None, description=_COMMENT)

    def said(self) -> dict[str, Any]:
        """What is said, by the names of the model."""
        lists = ("candidate_users", "candidate_groups", "attachments")
        names = ("title", "description", "data", "priority", "due_at", *lists)
        given = {name: getattr(self, name) for name in names}
        return {
            name: tuple(one) if name in lists else one
            for name, one in given.items()
            if one is not None
        }


@strawberry.input(description="A task, and why something is done with it.")
class HumanTaskRefInput:
    """A task, and why."""

    human_task_id: strawberry.ID = strawberry.field(description="The task.")
    comment: str | None = strawberry.field(default=None, description=_COMMENT)


@strawberry.input(description="A task, and who is to have it.")
class AssignHumanTaskInput:
    """A task, and who is to have it."""

    human_task_id: strawberry.ID = strawberry.field(description="The task.")
    assignee: str = strawberry.field(description="Who, by the `sub` of the token.")
    comment: str | None = strawberry.field(default=None, description=_COMMENT)


@strawberry.input(description="A task that goes on to others.")
class EscalateHumanTaskInput:
    """A task that goes on to others."""

    human_task_id: strawberry.ID = strawberry.field(description="The task.")
    to: str | None = strawberry.field(
        default=None, description="Who gets it; left out: whatever its next escalation says."
    )
    comment: str | None = strawberry.field(default=None, description=_COMMENT)


@strawberry.input(description="An answer.")
class CompleteHumanTaskInput:
    """An answer."""

    human_task_id: strawberry.ID = strawberry.field(description="The task.")
    outcome: str = strawberry.field(description="One of its outcomes.")
    response: JSON | None = strawberry.field(
        default=None, description="What its form asks for; at most 32 KiB of JSON."
    )
    comment: str | None = strawberry.field(default=None, description=_COMMENT)
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and answer change nothing the second time."
    )


@strawberry.input(description="Several tasks, and who is to have them.")
class AssignHumanTasksInput:
    """Several tasks, and who is to have them."""

    human_task_ids: list[strawberry.ID] = strawberry.field(description="The tasks, 100 at most.")
    assignee: str = strawberry.field(description="Who, by the `sub` of the token.")
    comment: str | None = strawberry.field(default=None, description=_COMMENT)


@strawberry.input(description="One answer to several tasks.")
class CompleteHumanTasksInput:
    """One answer to several tasks."""

    human_task_ids: list[strawberry.ID] = strawberry.field(description="The tasks, 100 at most.")
    outcome: str = strawberry.field(description="One of the outcomes of each.")
    response: JSON | None = strawberry.field(
        default=None, description="What their forms ask for; at most 32 KiB of JSON."
    )
    comment: str | None = strawberry.field(default=None, description=_COMMENT)
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and answer change nothing the second time."
    )


@strawberry.input(description="Which tasks a list has; all that is said restricts it.")
class HumanTaskFilter:
    """Which tasks a list has."""

    status: list[HumanTaskStatus] | None = strawberry.field(
        default=None, description="In one of these."
    )
    mine: bool = strawberry.field(
        default=False,
        description="Open, and the caller's, or nobody's and the caller may take it.",
    )
    group: str | None = strawberry.field(
        default=None, description="Open, and members of this group may answer."
    )
    assignee: str | None = strawberry.field(default=None, description="Somebody has it.")
    overdue: bool = strawberry.field(
        default=False,
        description="Open, and due before now. The list begins with what has been due for the longest time.",
    )
    workflow_id: strawberry.ID | None = strawberry.field(
        default=None, description="Of a step of this workflow."
    )
    execution_id: strawberry.ID | None = strawberry.field(
        default=None, description="Of a step of this execution."
    )

    def record(self) -> model.HumanTaskFilter:
        """As services take it, but for the ids."""
        return model.HumanTaskFilter(
            statuses=None if self.status is None else tuple(self.status),
            mine=self.mine,
            group=self.group,
            assignee=self.assignee,
            overdue=self.overdue,
        )


def _texts(said: list[str] | None) -> tuple[str, ...]:
    return tuple(said or ())
