"""ExecutionEvent: one row of an execution's append-only log, in pages and in subscriptions the same."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Self

import strawberry
from strawberry.scalars import JSON

from resolvers.context import Info
from runtime.model import event as model
from runtime.model.identity import Actor as ActorRecord
from runtime.model.identity import ActorKind
from runtime.model.ids import EventId
from runtime.model.page import Page
from subgraph.compiled.declare import later, record_field
from subgraph.directives import access
from subgraph.faces import show
from subgraph.types.actor import Actor
from subgraph.types.pagination import PageInfo
from subgraph.types.scalars import BigInt
from subgraph.types.status import ExecutionEventType, ExecutionStatus, StepStatus

if TYPE_CHECKING:
    from subgraph.types.execution import Execution


_EXECUTION: Final = {
    model.EventKind.EXECUTION_QUEUED: ExecutionStatus.QUEUED,
    model.EventKind.EXECUTION_STARTED: ExecutionStatus.RUNNING,
    model.EventKind.EXECUTION_RESUMED: ExecutionStatus.RUNNING,
    model.EventKind.EXECUTION_WAITING: ExecutionStatus.WAITING,
    model.EventKind.EXECUTION_COMPLETED: ExecutionStatus.COMPLETED,
    model.EventKind.EXECUTION_FAILED: ExecutionStatus.FAILED,
    model.EventKind.EXECUTION_CANCELLED: ExecutionStatus.CANCELLED,
    model.EventKind.EXECUTION_TIMED_OUT: ExecutionStatus.TIMED_OUT,
    model.EventKind.EXECUTION_REWOUND: ExecutionStatus.QUEUED,
    model.EventKind.EXECUTION_RETRIED: ExecutionStatus.QUEUED,
    model.EventKind.EXECUTION_CANCEL_REQUESTED: ExecutionStatus.CANCELLING,
    model.EventKind.EXECUTION_COMPENSATING: ExecutionStatus.COMPENSATING,
    model.EventKind.DEAD_LETTERED: ExecutionStatus.DEAD_LETTERED,
    model.EventKind.DEAD_LETTER_DISCARDED: ExecutionStatus.DEAD_LETTERED,
}
_STEP: Final = {
    model.EventKind.STEP_STARTED: StepStatus.RUNNING,
    model.EventKind.STEP_COMPLETED: StepStatus.COMPLETED,
    model.EventKind.STEP_FAILED: StepStatus.FAILED,
    model.EventKind.STEP_RETRYING: StepStatus.RETRYING,
    model.EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
    model.EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    model.EventKind.STEP_TIMED_OUT: StepStatus.TIMED_OUT,
    model.EventKind.STEP_IN_DOUBT: StepStatus.IN_DOUBT,
    model.EventKind.STEP_COMPENSATED: StepStatus.COMPENSATED,
    model.EventKind.STEP_CALL_ANNOUNCED: StepStatus.RUNNING,
    model.EventKind.STEP_CALL_WITHDRAWN: StepStatus.RUNNING,
    model.EventKind.TIMER_SET: StepStatus.WAITING,
    model.EventKind.SIGNAL_AWAITED: StepStatus.WAITING,
    model.EventKind.MAP_OPENED: StepStatus.RUNNING,
    model.EventKind.CHILD_STARTED: StepStatus.WAITING,
    model.EventKind.HUMAN_TASK_CREATED: StepStatus.WAITING,
}


def _if_it_is(kind: type, value: object) -> object:
    return value if isinstance(value, kind) else None


def _status(event: model.ExecutionEvent) -> ExecutionStatus | None:
    is_parking = event.kind is model.EventKind.EXECUTION_WAITING
    if is_parking and event.field("wait") == "paused":
        return ExecutionStatus.PAUSED
    return _EXECUTION.get(event.kind)


def _item(event: model.ExecutionEvent) -> int | None:
    item = event.field("item")
    return item if isinstance(item, int) and item >= 0 else None


def _actor(event: model.ExecutionEvent) -> Actor | None:
    found = event.field("actor")
    if not isinstance(found, dict) or not isinstance(found.get("subject"), str):
        return None
    name = found.get("display_name")
    return Actor.of(
        ActorRecord(
            str(found["subject"]),
            ActorKind(str(found.get("kind", "user"))),
            name if isinstance(name, str) else None,
        )
    )


@strawberry.federation.type(
    directives=access("ExecutionEvent"),
    description="One row of an execution's append-only log. Reading goes on after its `cursor` anywhere.",
)
class ExecutionEvent:
    """One row of an execution's append-only log."""

    record: strawberry.Private[model.ExecutionEvent]
    id: strawberry.ID = record_field(
        lambda event: str(EventId(event.execution_id, event.sequence)),
        description="The execution's id and the event's number.",
    )
    execution_id: strawberry.ID = record_field(
        lambda event: str(event.execution_id), description="The execution that it happened to."
    )
    sequence: BigInt = record_field(description="Its number in the log: from 1, without gaps.")
    cursor: str = record_field(
        lambda event: str(event.sequence),
        description="Its place in the log, for `after` of lists and subscriptions.",
    )
    type: ExecutionEventType = record_field("kind", description="What happened.")
    step_key: str | None = record_field(
        lambda event: _if_it_is(str, event.field("key")),
        description="The step that it happened to.",
    )
    map_index: int | None = record_field(
        _item, description="Of a map's item its place in the list; null of a step."
    )
    attempt: int | None = record_field(
        lambda event: _if_it_is(int, event.field("attempt")),
        description="The attempt that it happened in, from 1.",
    )
    execution_status: ExecutionStatus | None = record_field(
        _status,
        description="The execution's status after the event; null where the event does not set it.",
    )
    step_status: StepStatus | None = record_field(
        lambda event: _STEP.get(event.kind),
        description="The status of the step, or of the item of a map, after the event; null for events of the whole "
        "execution.",
    )
    at: datetime = record_field(description="When it was committed.")
    actor: Actor | None = record_field(_actor, description="Who caused it, when somebody did.")
    data: JSON | None = record_field(
        description="Facts of the event; outputs are not repeated.",
        directives=access("ExecutionEvent.data"),
    )

    @strawberry.field(description="The execution that it happened to, as it is now.")
    def execution(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")]:
        """The execution that it happened to."""
        execution: Execution = later(
            info.context.loaders.execution.load(self.record.execution_id), show
        )
        return execution

    @classmethod
    def of(cls, event: model.ExecutionEvent) -> Self:
        """From its record."""
        return cls(record=event)


@strawberry.type(description="One event in a page.")
class ExecutionEventEdge:
    """One event in a page."""

    cursor: str = strawberry.field(description="The place of this event in the log.")
    node: ExecutionEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of events, oldest first.")
class ExecutionEventConnection:
    """A page of events."""

    edges: list[ExecutionEventEdge] = strawberry.field(description="The events with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the log.")

    @classmethod
    def of(cls, page: Page[model.ExecutionEvent]) -> Self:
        """From a page of records."""
        edges = [
            ExecutionEventEdge(cursor=cursor, node=ExecutionEvent.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(edges=edges, page_info=PageInfo.of(page))
