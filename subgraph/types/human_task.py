"""HumanTask: work that waits for a person, with its answers and its history."""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Self

import strawberry
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from resolvers.ids import HumanTaskId, WorkflowId
from resolvers.queries import human_task as tasks_of
from runtime.model import human_task as model
from runtime.model import human_task_rules as rules
from runtime.model.errors import MaestroError
from runtime.model.page import Page
from subgraph.directives import access
from subgraph.faces import connection_face, face
from subgraph.types.actor import Actor
from subgraph.types.execution import Execution
from subgraph.types.node import Node
from subgraph.types.pagination import AFTER, FIRST, PageInfo, page_request
from subgraph.types.status import HumanTaskChangeKind, HumanTaskStatus
from subgraph.types.user_error import UserError, attempt, refused


@strawberry.type(description="What happens at a point in time when nobody has answered a task.")
class HumanTaskEscalation:
    """What happens at a point in time."""

    at: datetime = strawberry.field(description="When.")
    to: str | None = strawberry.field(description="Who gets it.")
    candidate_groups: list[str] = strawberry.field(
        description="Groups whose members may answer from then on, too.",
        directives=access("HumanTaskEscalation.candidateGroups"),
    )
    notify: list[str] = strawberry.field(
        description="Who is named then.", directives=access("HumanTaskEscalation.notify")
    )
    outcome: str | None = strawberry.field(description="The outcome that it is decided with.")

    @classmethod
    def of(cls, one: model.Escalation) -> Self:
        """From its record."""
        return cls(
            at=one.at,
            to=one.to,
            candidate_groups=list(one.candidate_groups),
            notify=list(one.notify),
            outcome=one.outcome,
        )


@strawberry.type(description="What one person has answered.")
class HumanTaskAnswer:
    """What one person has answered."""

    by: Actor = strawberry.field(description="Who.")
    at: datetime = strawberry.field(description="When.")
    outcome: str = strawberry.field(description="The outcome.")
    response: JSON | None = strawberry.field(description="What was filled in.")

    @classmethod
    def of(cls, one: model.Answer) -> Self:
        """From its record."""
        return cls(
            by=Actor.of(one.by), at=one.at, outcome=one.outcome, response=_json(one.response)
        )


@strawberry.type(description="One entry of a task's history.")
class HumanTaskChange:
    """One entry of a task's history."""

    sequence: int = strawberry.field(description="Counts from 1, without gaps.")
    kind: HumanTaskChangeKind = strawberry.field(description="What happened.")
    actor: Actor = strawberry.field(description="Who did it; `system` is time.")
    at: datetime = strawberry.field(description="When.")
    before: JSON = strawberry.field(description="The fields that it changed, as they were.")
    after: JSON = strawberry.field(
        description="The same afterwards; of the first entry the whole task."
    )
    comment: str | None = strawberry.field(description="Why, or what was said, in their words.")

    @classmethod
    def of(cls, one: model.HumanTaskChange) -> Self:
        """From its record."""
        return cls(
            sequence=one.sequence,
            kind=one.kind,
            actor=Actor.of(one.actor),
            at=one.at,
            before=JSON(dict(one.before)),
            after=JSON(dict(one.after)),
            comment=one.reason,
        )


@strawberry.type(description="One entry of a history in a page.")
class HumanTaskChangeEdge:
    """One entry in a page."""

    cursor: str = strawberry.field(description="The place of this entry in the history.")
    node: HumanTaskChange = strawberry.field(description="The entry.")


@strawberry.type(description="A page of a task's history, in order.")
class HumanTaskChangeConnection:
    """A page of a history."""

    edges: list[HumanTaskChangeEdge] = strawberry.field(
        description="The entries with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page lies in the history.")

    @classmethod
    def of(cls, page: Page[model.HumanTaskChange]) -> Self:
        """From a page of records."""
        edges = [
            HumanTaskChangeEdge(cursor=cursor, node=HumanTaskChange.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))


@face(model.HumanTask)
@strawberry.federation.type(
    keys=["id"],
    directives=access("HumanTask"),
    description="Work that waits for a person: a question, who may answer it, until when, and what was answered.",
)
class HumanTask(Node):
    """Work that waits for a person."""

    record: strawberry.Private[model.HumanTask]
    title: str = strawberry.field(description="What stands in lists.")
    description: str | None = strawberry.field(description="What is asked.")
    form: JSON | None = strawberry.field(description="JSON Schema of what is to be filled in.")
    data: JSON | None = strawberry.field(description="What is to be looked at.")
    outcomes: list[str] = strawberry.field(
        description="The possible answers.", directives=access("HumanTask.outcomes")
    )
    status: HumanTaskStatus = strawberry.field(description="Where it stands.")
    priority: int = strawberry.field(description="Above 0 high, below 0 low.")
    assignee: str | None = strawberry.field(
        description="Who has it, or is to have it, by the `sub` of the token."
    )
    candidate_users: list[str] = strawberry.field(
        description="Who may answer; nobody here and in `candidateGroups`: whoever may answer tasks.",
        directives=access("HumanTask.candidateUsers"),
    )
    candidate_groups: list[str] = strawberry.field(
        description="Groups whose members may answer.",
        directives=access("HumanTask.candidateGroups"),
    )
    quorum: int = strawberry.field(description="How many people must give the same outcome.")
    short_by: int = strawberry.field(
        description=(
            "How many people it lacks before any outcome can have its quorum: separation of duties, or earlier answers,"
            " have left too few of those who are named. 0 while a group or anyone may answer, and when it is over."
        )
    )
    separation_of_duties: bool = strawberry.field(
        description="Whether those in `excluded` may not answer."
    )
    excluded: list[str] = strawberry.field(
        description="Who started it, or approved it before.",
        directives=access("HumanTask.excluded"),
    )
    delegation: bool = strawberry.field(description="Whether who has it may hand it on.")
    attachments: list[str] = strawberry.field(
        description="Where what belongs to it lies.", directives=access("HumanTask.attachments")
    )
    due_at: datetime | None = strawberry.field(description="By when an answer is wanted.")
    warn_at: datetime | None = strawberry.field(description="When a warning is given.")
    warned_at: datetime | None = strawberry.field(description="When it was given.")
    breached_at: datetime | None = strawberry.field(
        description="When it was seen that it was due and not answered."
    )
    escalations: list[HumanTaskEscalation] = strawberry.field(
        description="What happens when it is late; `escalationLevel` of them have happened.",
        directives=access("HumanTask.escalations"),
    )
    escalation_level: int = strawberry.field(description="How many escalations have happened.")
    notified: list[str] = strawberry.field(
        description="Whom escalations have named so far.", directives=access("HumanTask.notified")
    )
    expires_at: datetime | None = strawberry.field(description="When nobody can answer any more.")
    expiry_outcome: str | None = strawberry.field(description="The outcome that it expires with.")
    answers: list[HumanTaskAnswer] = strawberry.field(
        description="What was answered so far, in order.", directives=access("HumanTask.answers")
    )
    outcome: str | None = strawberry.field(description="The outcome; null while it is open.")
    response: JSON | None = strawberry.field(
        description="What the one filled in whose answer decided."
    )
    created_by: Actor = strawberry.field(description="Who created it.")
    created_at: datetime = strawberry.field(description="When.")
    claimed_at: datetime | None = strawberry.field(
        description="Since when its assignee works on it."
    )
    ended_by: Actor | None = strawberry.field(
        description="Whose deed ended it; `system`: time, or the end of its execution."
    )
    ended_at: datetime | None = strawberry.field(description="When it was over.")
    step_key: str | None = strawberry.field(
        description="The step that has opened it; null for a task that stands on its own."
    )
    workflow_id: strawberry.ID | None = strawberry.field(description="The workflow of that step.")
    execution_id: strawberry.ID | None = strawberry.field(description="The execution of that step.")

    @strawberry.field(
        description="The execution of that step; for it and what it shows a caller needs `executions:read`.",
        directives=access("HumanTask.execution"),
    )
    async def execution(self, info: Info) -> Execution | None:
        """The execution."""
        if self.record.origin is None:
            return None
        found = await info.context.loaders.execution.load(self.record.origin.execution_id)
        return Execution.of(found) if found else None

    @strawberry.field(
        description="What happened to it, complete: who, when, before, after, why.",
        directives=access("HumanTask.history"),
    )
    async def history(
        self, info: Info, first: FIRST = 20, after: AFTER = None
    ) -> HumanTaskChangeConnection:
        """What happened to it."""
        page = await tasks_of.history(
            info.context, task=self.record.id, page=page_request(first, after)
        )
        return HumanTaskChangeConnection.of(page)

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The task that a gateway refers to."""
        found = await entities.human_task(info.context, id=id)
        return cls.of(found) if found else None

    @classmethod
    def of(cls, task: model.HumanTask) -> Self:
        """From its record."""
        origin = task.origin
        return cls(
            record=task,
            id=strawberry.ID(str(HumanTaskId(task.id))),
            title=task.title,
            description=task.description,
            form=_json(task.form),
            data=_json(task.data),
            outcomes=list(task.outcomes),
            status=task.status,
            priority=task.priority,
            assignee=task.assignee,
            candidate_users=list(task.candidate_users),
            candidate_groups=list(task.candidate_groups),
            quorum=task.quorum,
            short_by=rules.short_by(task),
            separation_of_duties=task.separation_of_duties,
            excluded=list(task.excluded),
            delegation=task.delegation,
            attachments=list(task.attachments),
            due_at=task.due_at,
            warn_at=task.warn_at,
            warned_at=task.warned_at,
            breached_at=task.breached_at,
            escalations=[HumanTaskEscalation.of(one) for one in task.escalations],
            escalation_level=task.escalation_level,
            notified=list(task.notified),
            expires_at=task.expires_at,
            expiry_outcome=task.expiry_outcome,
            answers=[HumanTaskAnswer.of(one) for one in task.answers],
            outcome=task.outcome,
            response=_json(task.response),
            created_by=Actor.of(task.created_by),
            created_at=task.created_at,
            claimed_at=task.claimed_at,
            ended_by=Actor.of(task.ended_by) if task.ended_by else None,
            ended_at=task.ended_at,
            step_key=origin.step_key if origin else None,
            workflow_id=strawberry.ID(str(WorkflowId(origin.workflow_id))) if origin else None,
            execution_id=strawberry.ID(str(origin.execution_id)) if origin else None,
        )


@strawberry.type(description="One human task in a page.")
class HumanTaskEdge:
    """One task in a page."""

    cursor: str = strawberry.field(description="The place of this task in the list.")
    node: HumanTask = strawberry.field(description="The task.")


@connection_face(model.HumanTask)
@strawberry.type(description="A page of human tasks.")
class HumanTaskConnection:
    """A page of tasks."""

    edges: list[HumanTaskEdge] = strawberry.field(description="The tasks with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @classmethod
    def of(cls, page: Page[model.HumanTask]) -> Self:
        """From a page of records."""
        edges = [
            HumanTaskEdge(cursor=cursor, node=HumanTask.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))


@strawberry.type(description="What became of a change of a human task.")
class HumanTaskPayload:
    """What became of a change of a task."""

    human_task: HumanTask | None = strawberry.field(
        description="The task after the change; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done. A response has an entry for each of its faults.",
        directives=access("HumanTaskPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.HumanTask]) -> Self:
        """Do the work and say what became of it."""
        task, error = await attempt(work)
        return cls.of(task or error, path=("input",))

    @classmethod
    def of(cls, outcome: model.HumanTask | MaestroError | None, *, path: Sequence[str]) -> Self:
        """From what became of it; `path` is where its task stands among the arguments."""
        if isinstance(outcome, model.HumanTask):
            return cls(human_task=HumanTask.of(outcome), errors=[])
        return cls(human_task=None, errors=refused(outcome, path=path) if outcome else [])


@strawberry.type(description="What became of several human tasks.")
class HumanTasksPayload:
    """What became of several tasks."""

    results: list[HumanTaskPayload] = strawberry.field(
        description="One per task, in their order; each is changed or refused by itself.",
        directives=access("HumanTasksPayload.results"),
    )
    errors: list[UserError] = strawberry.field(
        description="Why the whole request was refused; empty when it was looked at.",
        directives=access("HumanTasksPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[Sequence[model.HumanTask | MaestroError]]) -> Self:
        """Do the work and say what became of it."""
        found, error = await attempt(work)
        results = [
            HumanTaskPayload.of(one, path=("input", "humanTaskIds", str(index)))
            for index, one in enumerate(found or ())
        ]
        return cls(results=results, errors=refused(error) if error else [])


def _json(value: object) -> JSON | None:
    return None if value is None else JSON(value)
