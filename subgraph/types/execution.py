"""Execution: one run of a workflow's version, with its steps, events and logs."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from resolvers.ids import execution_uuid
from resolvers.queries import execution as resolve
from resolvers.queries import human_task as tasks_of
from runtime.model import execution as model
from runtime.model.event import EventKind
from runtime.model.human_task import HumanTask, HumanTaskFilter
from runtime.model.page import Page
from runtime.model.step_table import StepColumn, StepTable
from runtime.model.values import Duration
from subgraph.compiled.declare import batched, columns_of, later, record_field
from subgraph.directives import access
from subgraph.faces import connection_face, face, show_page
from subgraph.types import step_columns
from subgraph.types.actor import Actor
from subgraph.types.artifact_ref import ArtifactRef, input_path, output_path
from subgraph.types.blocker import Blocker
from subgraph.types.child import ChildConnection
from subgraph.types.execution_error import ExecutionError
from subgraph.types.execution_event import ExecutionEventConnection
from subgraph.types.inputs.execution import StepExecutionFilter
from subgraph.types.json import shown
from subgraph.types.label import LabelEntry, label_entries
from subgraph.types.log_line import LogConnection
from subgraph.types.money import Money
from subgraph.types.node import ID_DESCRIPTION, Node
from subgraph.types.pagination import (
    AFTER,
    FIRST,
    FIRST_ROWS,
    MOST_ROWS,
    PageInfo,
    page_request,
    position,
    size_of,
)
from subgraph.types.scalars import BigInt
from subgraph.types.status import ExecutionEventType, ExecutionStatus, TriggerKind, WaitKind
from subgraph.types.step_execution import (
    StepExecution,
    StepExecutionConnection,
    counted,
    elapsed,
    family_member,
)
from subgraph.types.workflow import Workflow
from subgraph.types.workflow_version import WorkflowVersion

if TYPE_CHECKING:
    from subgraph.types.human_task import HumanTaskConnection

StepFilter = Annotated[
    StepExecutionFilter | None, strawberry.argument(description="Which of the steps.")
]


@strawberry.type(description="What a waiting execution waits for.")
class WaitReason:
    """What a waiting execution waits for."""

    kind: WaitKind = strawberry.field(description="What kind of thing.")
    until: datetime | None = strawberry.field(description="When it goes on by itself, if it does.")


@strawberry.type(description="What started an execution.")
class Trigger:
    """What started an execution."""

    kind: TriggerKind = strawberry.field(description="What kind of thing.")


def _steps_of_many(
    executions: "list[Execution]", info: Info, filter: StepExecutionFilter | None = None
) -> Awaitable[list[list[StepExecution]]] | None:
    """The steps of all of them, where they are all over and read in columns."""
    columns = columns_of(info)
    if columns is None or filter is not None:
        return None
    if not all(each.record.ended_at_the_first_go for each in executions):
        return None
    return _tables(info, [each.record.id for each in executions], step_columns.of(columns))


async def _tables(
    info: Info, ids: list[UUID], columns: frozenset[StepColumn]
) -> list[list[StepExecution]]:
    found = await resolve.step_tables(info.context, execution_ids=ids, columns=columns)
    return [_shown(info, each) for each in found]


def _shown(info: Info, found: StepTable | tuple[model.StepExecution, ...] | None) -> Any:
    """The steps of one of them, or the refusal that stands in its place."""
    try:
        return StepExecution.in_columns_or_each(counted(info, found))
    except GraphQLError as refusal:
        return refusal


def _chosen(
    steps: tuple[model.StepExecution, ...], filter: StepExecutionFilter | None
) -> tuple[model.StepExecution, ...]:
    """The steps that a filter lets through."""
    return steps if filter is None else tuple(step for step in steps if filter.admits(step))


@face(model.Execution)
@strawberry.federation.type(
    keys=["id"],
    directives=access("Execution"),
    description="One run of a workflow's version.",
)
class Execution(Node):
    """One run of a workflow's version."""

    record: strawberry.Private[model.Execution]
    id: strawberry.ID = record_field(
        lambda execution: str(execution.id), description=ID_DESCRIPTION
    )
    status: ExecutionStatus = record_field("state", description="Where it is.")
    priority: int = record_field(description="Higher goes first; 0 is normal.")
    idempotency_key: str | None = record_field(description="The key that it was enqueued with.")
    error: ExecutionError | None = record_field(
        lambda execution: ExecutionError.of(
            execution.error, execution_id=execution.id, at=execution.at
        ),
        description="Why it failed, when it did.",
    )
    region: str | None = record_field(description="Where it must run, when that matters.")
    generation: int = record_field(
        description="Rises by one with each retry and rewind of the same execution; from 0."
    )
    namespace: str = record_field(description="The division of the tenant that it lives in.")
    purpose: str | None = record_field(description="The purpose of access that its caller named.")
    at: BigInt | None = record_field(
        description="The event as of which it is shown; null when it is shown as it is."
    )
    trace_id: str | None = record_field(description="The OpenTelemetry trace that it belongs to.")
    created_at: datetime = record_field(description="When it was accepted.")
    scheduled_for: datetime | None = record_field(
        description="The instant that it was asked for, when one was."
    )
    started_at: datetime | None = record_field(description="When a worker first took it.")
    finished_at: datetime | None = record_field(description="When it ended.")
    duration: Duration | None = record_field(
        lambda execution: elapsed(execution.started_at, execution.finished_at),
        description="From its start to its end.",
    )

    @strawberry.field(
        description="The parameters, defaults filled in; null over 1 MiB: then `inputRef` says where they are.",
        directives=access("Execution.input"),
    )
    def input(self, info: Info) -> JSON | None:
        """The parameters, defaults filled in."""
        return shown(info, self.record.id, self.record.input)

    @strawberry.field(description="Where its input is, when it is too large for its row.")
    def input_ref(self) -> ArtifactRef | None:
        """Where its input is."""
        return ArtifactRef.of(self.record.input, input_path(self.record.id, self.record.at))

    @strawberry.field(
        description="What it gave; null before it completed, and over 1 MiB: then `outputRef` says where it is.",
        directives=access("Execution.output"),
    )
    def output(self, info: Info) -> JSON | None:
        """What it gave."""
        return shown(info, self.record.id, self.record.output)

    @strawberry.field(description="Where its output is, when it is too large for its row.")
    def output_ref(self) -> ArtifactRef | None:
        """Where its output is."""
        return ArtifactRef.of(self.record.output, output_path(self.record.id))

    @strawberry.field(
        description="What its steps cost in all generations, so far: an amount for each currency.",
        directives=access("Execution.cost"),
    )
    async def cost(self, info: Info) -> list[Money]:
        """What its steps cost."""
        found = await resolve.cost(info.context, execution_id=self.record.id, at=self.record.at)
        return [Money.of(one) for one in found]

    @strawberry.field(description="The workflow that it is a run of.")
    def workflow(self, info: Info) -> Workflow:
        """The workflow that it is a run of."""
        key = self.record.workflow_id
        return later(
            info.context.loaders.workflow.load(key),
            lambda found: Workflow.of(entities.still_there(found, "workflow", key)),
        )

    @strawberry.field(
        description="The execution of which a step has started it; null when people or triggers did, and when that is "
        "kept no longer.",
        directives=access("Execution.parent"),
    )
    def parent(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")] | None:
        """The execution of which a step has started it."""
        parent: Execution | None = family_member(info, self.record.parent_id)
        return parent

    @strawberry.field(
        description="The executions that its steps have started, of all attempts and generations, in the order of "
        "their starts; `after` is the cursor of one of them.",
        directives=access("Execution.children"),
    )
    async def children(self, info: Info, first: FIRST = 20, after: AFTER = None) -> ChildConnection:
        """The executions that its steps have started."""
        page = await resolve.events(
            info.context,
            execution_id=self.record.id,
            after=position(after),
            limit=size_of("first", first),
            kinds=(EventKind.CHILD_STARTED,),
            at=self.record.at,
        )
        return ChildConnection.of(page)

    @strawberry.field(
        description="The tasks with which its steps ask people, the newest first, as they are now; for them a caller "
        "needs `tasks:read`.",
        directives=access("Execution.humanTasks"),
    )
    async def human_tasks(
        self, info: Info, first: FIRST = 20, after: AFTER = None
    ) -> Annotated["HumanTaskConnection", strawberry.lazy("subgraph.types.human_task")] | None:
        """The tasks with which its steps ask people."""
        page = await tasks_of.human_tasks(
            info.context,
            filter=HumanTaskFilter(execution_id=self.record.id),
            page=page_request(first, after),
        )
        shown: HumanTaskConnection = show_page(HumanTask, page)
        return shown

    @strawberry.field(description="The version that runs.")
    def workflow_version(self, info: Info) -> WorkflowVersion:
        """The version that runs."""
        key = self.record.version_id
        return later(
            info.context.loaders.version.load(key),
            lambda found: WorkflowVersion.of(entities.still_there(found, "version", key)),
        )

    @strawberry.field(description="What it waits for; null unless it waits.")
    def waiting_for(self) -> WaitReason | None:
        """What it waits for."""
        if self.record.status is not model.ExecutionStatus.WAITING or self.record.wait is None:
            return None
        return WaitReason(kind=self.record.wait, until=self.record.wake_at)

    @strawberry.field(
        description="Why nothing of it runs: of the causes of its steps the one that ends first. Null while a step "
        "runs and when it has ended; each step has a `blockedBy` of its own.",
        directives=access("Execution.blockedBy"),
    )
    async def blocked_by(self, info: Info) -> Blocker | None:
        """Why nothing of it runs."""
        found = await resolve.blocker(info.context, execution_id=self.record.id, at=self.record.at)
        return None if found is None else Blocker.of(found)

    @strawberry.field(description="What started it.")
    def trigger(self) -> Trigger:
        """What started it."""
        return Trigger(kind=self.record.trigger)

    @strawberry.field(
        description="Labels, in order of their keys.", directives=access("Execution.labels")
    )
    def labels(self) -> list[LabelEntry]:
        """Labels, in order of their keys."""
        return label_entries(self.record.labels)

    @strawberry.field(description="Who asked for it.")
    def created_by(self) -> Actor:
        """Who asked for it."""
        return Actor.of(self.record.created_by)

    @strawberry.field(
        description="All its steps in order of the plan; `stepsConnection` gives them in pages. Each beyond the "
        "fiftieth costs as much more as one of the fifty.",
        directives=access("Execution.steps"),
    )
    @batched(_steps_of_many)
    def steps(self, info: Info, filter: StepFilter = None) -> list[StepExecution]:
        """All its steps in order of the plan."""
        columns = columns_of(info)
        if columns is not None and filter is None and self.record.ended_at_the_first_go:
            wanted = info.context.loaders.step_tables.load(
                ((self.record.id,), step_columns.of(columns))
            )
            return later(
                wanted, lambda found: StepExecution.in_columns_or_each(counted(info, found[0]))
            )
        return later(
            info.context.loaders.steps_at(self.record.id, self.record.at),
            lambda found: list(map(StepExecution.of, counted(info, _chosen(found, filter)))),
        )

    @strawberry.field(
        description="Its steps in order of the plan.",
        directives=access("Execution.stepsConnection"),
    )
    async def steps_connection(
        self,
        info: Info,
        filter: StepFilter = None,
        first: FIRST_ROWS = 100,
        after: AFTER = None,
    ) -> StepExecutionConnection:
        """Its steps in order of the plan, in pages."""
        start, size = position(after), size_of("first", first, default=100, most=MOST_ROWS)
        found = await resolve.steps(info.context, execution_id=self.record.id, at=self.record.at)
        wanted = _chosen(found, filter)
        # The cursor of a step is its number in the plan, from 1: it stays true while filters change.
        rest = [step for step in wanted if step.index + 1 > start]
        shown = tuple(rest[:size])
        cursors = tuple(str(step.index + 1) for step in shown)
        page = Page(shown, cursors, len(rest) > size, len(rest) < len(wanted))
        return StepExecutionConnection.of(page, total=len(wanted))

    @strawberry.field(description="One of its steps.")
    async def step(
        self,
        info: Info,
        key: Annotated[str, strawberry.argument(description="The step's id in the definition.")],
    ) -> StepExecution | None:
        """One of its steps."""
        found = await resolve.steps(info.context, execution_id=self.record.id, at=self.record.at)
        return next((StepExecution.of(step) for step in found if step.key == key), None)

    @strawberry.field(
        description="What happened, in order; `after` is an event's cursor, the same that the "
        "subscription takes.",
        directives=access("Execution.events"),
    )
    async def events(
        self,
        info: Info,
        first: FIRST_ROWS = 100,
        after: AFTER = None,
        types: Annotated[
            list[ExecutionEventType] | None, strawberry.argument(description="Only these kinds.")
        ] = None,
    ) -> ExecutionEventConnection:
        """What happened, in order."""
        page = await resolve.events(
            info.context,
            execution_id=self.record.id,
            after=position(after),
            limit=size_of("first", first, default=100, most=MOST_ROWS),
            kinds=tuple(types or ()),
            at=self.record.at,
        )
        return ExecutionEventConnection.of(page)

    @strawberry.field(
        description="What its steps logged, oldest first.", directives=access("Execution.logs")
    )
    async def logs(
        self,
        info: Info,
        first: FIRST_ROWS = 200,
        after: AFTER = None,
        step_key: Annotated[
            str | None, strawberry.argument(description="Only what this step logged.")
        ] = None,
    ) -> LogConnection:
        """What its steps logged, oldest first."""
        page = await resolve.logs(
            info.context,
            execution_id=self.record.id,
            step_key=step_key,
            after=position(after),
            limit=size_of("first", first, default=200, most=MOST_ROWS),
            at=self.record.at,
        )
        return LogConnection.of(page)

    @classmethod
    def of(cls, execution: model.Execution) -> Self:
        """From its record."""
        return cls(record=execution)

    @classmethod
    def shown(cls, execution: model.Execution | None) -> Self | None:
        """From its record, where there is one."""
        return None if execution is None else cls(record=execution)

    @classmethod
    def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The entity of a gateway's reference."""
        key = execution_uuid(id)
        return None if key is None else later(info.context.loaders.execution.load(key), cls.shown)


@strawberry.type(description="One execution in a page.")
class ExecutionEdge:
    """One execution in a page."""

    place: strawberry.Private[tuple[Sequence[str], int]]
    cursor: str = record_field(
        lambda place: place[0][place[1]],
        behind="place",
        description="The place of this execution in the list.",
    )
    node: Execution = strawberry.field(description="The execution.")


@connection_face(model.Execution)
@strawberry.type(description="A page of executions.")
class ExecutionConnection:
    """A page of executions."""

    count: strawberry.Private[Callable[[], Awaitable[tuple[int, bool]]]]
    edges: list[ExecutionEdge] = strawberry.field(description="The executions with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    is_partial: bool = strawberry.field(
        description="Whether one of several databases did not answer: executions that lie there are missing from "
        "this page. Ask again later."
    )

    @strawberry.field(
        description="How many there are in all pages; counting stops at a cap.",
        directives=access("ExecutionConnection.totalCount"),
    )
    async def total_count(self) -> int | None:
        """How many there are in all pages."""
        return (await self.count())[0]

    @strawberry.field(
        description="Whether counting stopped at its cap, or one of several databases was not counted: there are, or "
        "may be, more than `totalCount`.",
        directives=access("ExecutionConnection.totalCountIsCapped"),
    )
    async def total_count_is_capped(self) -> bool | None:
        """Whether counting stopped at its cap."""
        return (await self.count())[1]

    @classmethod
    def of(
        cls, page: Page[model.Execution], *, count: Callable[[], Awaitable[tuple[int, bool]]]
    ) -> Self:
        """From a page of records."""
        edges = [
            ExecutionEdge(place=(page.cursors, index), node=Execution.of(item))
            for index, item in enumerate(page.items)
        ]
        return cls(
            count=count,
            edges=edges,
            page_info=PageInfo.of(page),
            is_partial=bool(page.silent),
        )
