"""DeadLetter: an execution that cost three workers, or a message that nobody can decode; with what judging it needs."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Self

import strawberry
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from runtime.model import dead_letter as model
from runtime.model.page import Page
from subgraph.directives import access
from subgraph.faces import face
from subgraph.types.actor import Actor
from subgraph.types.execution import Execution
from subgraph.types.execution_error import ExecutionError
from subgraph.types.node import Node
from subgraph.types.pagination import PageInfo
from subgraph.types.status import DeadLetterStatus, ExecutionEventType


@strawberry.type(description="A worker that was lost while it ran an execution.")
class LostWorker:
    """A worker that was lost."""

    name: str = strawberry.field(
        description="Its host and process; `:alone` when the execution was all that it ran."
    )
    started_at: datetime = strawberry.field(description="When it began.")
    lost_at: datetime = strawberry.field(description="When its loss was noticed.")

    @classmethod
    def of(cls, lost: model.LostWorker) -> Self:
        """From its record."""
        return cls(name=lost.name, started_at=lost.started_at, lost_at=lost.lost_at)


@face(model.DeadLetter)
@strawberry.federation.type(
    keys=["id"],
    directives=access("DeadLetter"),
    description="An execution that lost three workers without a checkpoint, the last one while it "
    "ran alone, or of which the database refused every checkpoint; it is not run again unless it is redriven. "
    "Or a message to an execution that its worker could not decode.",
)
class DeadLetter(Node):
    """An execution that cost three workers, or a message that nobody can decode."""

    record: strawberry.Private[model.DeadLetter]
    queue: str = strawberry.field(description="Where it came from: `executions`, `messages`.")
    reason: str = strawberry.field(
        description="Why it is here: `owner_lost`, `checkpoint_refused`, `undecodable`."
    )
    error: ExecutionError | None = strawberry.field(description="The same, for people.")
    step_key: str | None = strawberry.field(
        description="The step that ran when it died, when exactly one is known to."
    )
    payload: JSON | None = strawberry.field(
        description="Of an execution its last `events`, oldest first; of a message `message`, whole."
    )
    deliveries: int = strawberry.field(description="How many workers it cost.")
    status: DeadLetterStatus = strawberry.field(description="What was decided about it.")
    created_at: datetime = strawberry.field(description="When it died.")
    redriven_at: datetime | None = strawberry.field(description="When it was redriven.")
    discarded_at: datetime | None = strawberry.field(description="When it was discarded.")
    decided_by: Actor | None = strawberry.field(description="Who redrove or discarded it.")
    decision_reason: str | None = strawberry.field(description="Why they did, in their words.")

    @strawberry.field(
        description="The workers, the first lost first.",
        directives=access("DeadLetter.lostWorkers"),
    )
    def lost_workers(self) -> list[LostWorker]:
        """The workers that it cost."""
        return [LostWorker.of(lost) for lost in self.record.lost]

    @strawberry.field(description="The execution, as it is now; null when retention has taken it.")
    async def execution(self, info: Info) -> Execution | None:
        """The execution."""
        found = await info.context.loaders.execution.load(self.record.execution_id)
        return Execution.of(found) if found else None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The dead letter that a gateway refers to."""
        found = await entities.dead_letter(info.context, id=id)
        return cls.of(found) if found else None

    @classmethod
    def of(cls, letter: model.DeadLetter) -> Self:
        """From its record."""
        status = letter.status
        return cls(
            record=letter,
            id=strawberry.ID(str(letter.id)),
            queue=letter.queue,
            reason=letter.reason,
            error=ExecutionError.of(letter.error),
            step_key=letter.step_key,
            payload=JSON(_payload(letter)),
            deliveries=letter.losses,
            status=status,
            created_at=letter.created_at,
            redriven_at=letter.decided_at if status is DeadLetterStatus.REDRIVEN else None,
            discarded_at=letter.decided_at if status is DeadLetterStatus.DISCARDED else None,
            decided_by=Actor.of(letter.decided_by) if letter.decided_by else None,
            decision_reason=letter.decision_reason,
        )


def _payload(letter: model.DeadLetter) -> dict[str, object]:
    if letter.message:
        return {"message": letter.said}
    return {"events": [_event(each) for each in letter.events]}


def _event(event: object) -> object:
    """An event with the graph's word for what happened."""
    if not isinstance(event, dict):
        return event
    shown = {name: value for name, value in event.items() if name != "kind"}
    return {**shown, "type": ExecutionEventType(event["kind"]).name}


@strawberry.type(description="One dead letter in a page.")
class DeadLetterEdge:
    """One dead letter in a page."""

    cursor: str = strawberry.field(description="The place of this dead letter in the list.")
    node: DeadLetter = strawberry.field(description="The dead letter.")


@strawberry.type(description="A page of dead letters, the newest first.")
class DeadLetterConnection:
    """A page of dead letters."""

    count: strawberry.Private[Callable[[], Awaitable[tuple[int, bool]]]]
    edges: list[DeadLetterEdge] = strawberry.field(
        description="The dead letters with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    is_partial: bool = strawberry.field(
        description="Whether one of several databases did not answer: dead letters that lie there are missing from "
        "this page. Ask again later."
    )

    @strawberry.field(
        description="How many there are in all pages; counting stops at a cap.",
        directives=access("DeadLetterConnection.totalCount"),
    )
    async def total_count(self) -> int | None:
        """How many there are in all pages."""
        return (await self.count())[0]

    @classmethod
    def of(
        cls, page: Page[model.DeadLetter], *, count: Callable[[], Awaitable[tuple[int, bool]]]
    ) -> Self:
        """From a page of records."""
        edges = [
            DeadLetterEdge(cursor=cursor, node=DeadLetter.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(
            edges=edges,
            page_info=PageInfo.of(page),
            count=count,
            is_partial=bool(page.silent),
        )
