"""StepExecution: one step of one execution in its newest generation, with its attempts."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar, cast
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from resolvers.queries import execution as resolve
from runtime.model import execution as model
from runtime.model.blocker import Standing
from runtime.model.ids import StepExecutionId
from runtime.model.page import Page
from runtime.model.step_table import StepTable
from runtime.model.values import Digest, Duration
from runtime.services.derived_input import fitting
from subgraph.compiled.declare import Columns, later, nodes_of, record_field
from subgraph.directives import ACCESS, access
from subgraph.document.limits import Limits
from subgraph.faces import face, show
from subgraph.types import step_columns
from subgraph.types.artifact_ref import ArtifactRef, step_path
from subgraph.types.blocker import Blocker
from subgraph.types.execution_error import ExecutionError
from subgraph.types.json import as_json, shown
from subgraph.types.log_line import LogConnection
from subgraph.types.money import Money
from subgraph.types.node import ID_DESCRIPTION, Node
from subgraph.types.pagination import AFTER, FIRST_ROWS, MOST_ROWS, PageInfo, position, size_of
from subgraph.types.status import StepStatus

if TYPE_CHECKING:
    from subgraph.types.execution import Execution

_TOO_MANY: Final = (
    "The operation costs more than {} with all the steps that are there: choose some by `steps(filter:)`, or ask for "
    "pages of them by `stepsConnection`."
)
S = TypeVar("S", bound=StepTable | tuple[model.StepExecution, ...] | None)


def elapsed(start: datetime | None, end: datetime | None) -> Duration | None:
    """The time between two instants, when both are known."""
    if start is None or end is None:
        return None
    return Duration(max(0, round((end - start).total_seconds() * 1000)))


def counted(info: Info, steps: S) -> S:
    """The same steps, with those counted that are more than a list of them is taken to have: each by what it shows.

    Raises the refusal of what costs too much.
    """
    listed = steps.names.keys if isinstance(steps, StepTable) else steps
    count = 0 if listed is None else len(listed)
    room, beyond = info.context.cost_room, count - (ACCESS["Execution.steps"].length or 0)
    if beyond > 0 and not room.takes(beyond * info.context.item_cost(nodes_of(info))):
        refusal = Limits(cost=room.most).refusal("cost", room.taken)
        refusal.message = _TOO_MANY.format(room.most)
        raise refusal
    return steps


def family_member(info: Info, execution_id: UUID | None) -> Any:
    """An execution that has started another one, or was started by it; None when it is kept no longer."""
    if execution_id is None:
        return None
    return later(
        info.context.loaders.execution.load(execution_id),
        lambda found: None if found is None else show(found),
    )


def _digest(text: str | None) -> Digest | None:
    return Digest(text) if text else None


def _blocker_of(step: model.StepExecution, standing: Standing | None) -> Blocker | None:
    found = None if standing is None else step.blocked(standing)
    return None if found is None else Blocker.of(found)


@strawberry.type(description="One attempt of a step, as it ended.")
class StepAttempt:
    """One attempt of a step."""

    attempt: int = strawberry.field(description="Its number, from 1.")
    status: StepStatus = strawberry.field(description="How it ended.")
    started_at: datetime | None = strawberry.field(description="When it started.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
    error: ExecutionError | None = strawberry.field(description="Why it failed, when it did.")
    worker_id: str | None = strawberry.field(description="The worker that made it.")
    code: str | None = strawberry.field(description="The connector that it ran, with its version.")
    code_hash: Digest | None = strawberry.field(
        description="Digest of the files that this connector's package was imported from."
    )
    cost: Money | None = strawberry.field(description="What it cost, when its connector said so.")

    @classmethod
    def of(cls, attempt: model.StepAttempt) -> Self:
        """From its record."""
        return cls(
            attempt=attempt.attempt,
            status=attempt.status,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            error=ExecutionError.of(attempt.error),
            worker_id=attempt.worker_id,
            code=attempt.code,
            code_hash=Digest(attempt.code_hash) if attempt.code_hash else None,
            cost=Money.of(attempt.cost) if attempt.cost else None,
        )


@strawberry.type(description="How far a map is, in items of its list.")
class MapProgress:
    """How far a map is."""

    total: int = strawberry.field(description="How many items its list has.")
    completed: int = strawberry.field(description="How many have completed.")
    failed: int = strawberry.field(description="How many have failed for good.")
    running: int = strawberry.field(description="How many are running now.")

    @classmethod
    def of(cls, progress: model.MapProgress) -> Self:
        """From its record."""
        return cls(
            total=progress.total,
            completed=progress.completed,
            failed=progress.failed,
            running=progress.running,
        )


@strawberry.type(description="The attempt whose recorded output was given again, without a call.")
class CachedFrom:
    """Where an output was recorded."""

    execution_id: strawberry.ID = strawberry.field(
        description="The execution; it may be gone by now."
    )
    step_key: str = strawberry.field(description="The step's id within its definition.")
    item: int | None = strawberry.field(description="Which item of a map, from 0; null of a step.")

    @classmethod
    def of(cls, source: model.CachedFrom | None) -> Self | None:
        """From its record."""
        if source is None:
            return None
        return cls(
            execution_id=strawberry.ID(str(source.execution_id)),
            step_key=source.step,
            item=source.item,
        )


@face(model.StepExecution)
@strawberry.federation.type(
    keys=["id"],
    directives=access("StepExecution"),
    description="One step of one execution, in the execution's newest generation.",
)
class StepExecution(Node):
    """One step of one execution."""

    record: strawberry.Private[model.StepExecution]
    id: strawberry.ID = record_field(
        lambda step: str(StepExecutionId(step.execution_id, step.index, step.item)),
        description=ID_DESCRIPTION,
        column=step_columns.ID,
    )
    step_key: str = record_field(
        "key", description="The step's id within the definition.", column=step_columns.STEP_KEY
    )
    map_index: int | None = record_field(
        lambda step: step.item if step.item >= 0 else None,
        description="Of an item of a map its place in the list, from 0; null of a step.",
        column=step_columns.MAP_INDEX,
    )
    type: str = record_field(
        description="The connector with its version, or the kind of step.", column=step_columns.TYPE
    )
    status: StepStatus = record_field(description="Where it is.", column=step_columns.STATUS)
    attempt: int = record_field(
        description="The newest attempt; 0 before the first.", column=step_columns.ATTEMPT
    )
    max_attempts: int = record_field(
        description="Attempts in all, by its retry policy.", column=step_columns.MAX_ATTEMPTS
    )
    error: ExecutionError | None = record_field(
        lambda step: ExecutionError.of(step.error), description="Why it failed, when it did."
    )
    skip_reason: str | None = record_field(
        description="Why it was skipped: its condition, or that no way led to it; null when it was not.",
        column=step_columns.SKIP_REASON,
    )
    worker_id: str | None = record_field(
        description="The worker of the newest attempt.", column=step_columns.WORKER_ID
    )
    input_hash: Digest | None = record_field(
        lambda step: _digest(step.input_hash),
        description="Digest of its rendered input.",
        column=step_columns.INPUT_HASH,
    )
    output_hash: Digest | None = record_field(
        lambda step: _digest(step.output_hash),
        description="Digest of its output.",
        column=step_columns.OUTPUT_HASH,
    )
    code: str | None = record_field(
        description="The connector that its newest attempt ran, with its version.",
        column=step_columns.CODE,
    )
    code_hash: Digest | None = record_field(
        lambda step: _digest(step.code_hash),
        description="Digest of the files that this connector's package was imported from.",
        column=step_columns.CODE_HASH,
    )
    cached_from: CachedFrom | None = record_field(
        lambda step: CachedFrom.of(step.cached_from),
        description="Where its output was recorded, when no call was made because an earlier one had the same input "
        "(`cache`); null when it called.",
    )
    started_at: datetime | None = record_field(
        description="When the first of its attempts started.", column=step_columns.STARTED_AT
    )
    finished_at: datetime | None = record_field(
        description="When it ended.", column=step_columns.FINISHED_AT
    )
    duration: Duration | None = record_field(
        lambda step: elapsed(step.started_at, step.finished_at),
        description="From the start of its first attempt to its end, with what it waited between attempts.",
        column=step_columns.DURATION,
    )

    @strawberry.field(description="The execution that it is a step of.")
    def execution(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")]:
        """The execution that it is a step of."""
        execution: Execution = later(
            info.context.loaders.execution_at(self.record.execution_id, self.record.at), show
        )
        return execution

    @strawberry.field(
        description="The execution that its newest attempt has started; null of what starts none, and when that is "
        "kept no longer.",
        directives=access("StepExecution.childExecution"),
    )
    def child_execution(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy("subgraph.types.execution")] | None:
        """The execution that its newest attempt has started."""
        child: Execution | None = family_member(info, self.record.child_id)
        return child

    @strawberry.field(
        description="What undoes it, with attempts, input, output and error of its own; null until that is decided, "
        "and of a step that does not say how it is undone. Its key is that of the step with `:compensate` behind it.",
        directives=access("StepExecution.compensation"),
    )
    def compensation(self) -> Self | None:
        """What undoes it."""
        undoes = self.record.compensation
        return None if undoes is None else show(undoes)

    @strawberry.field(
        description="What it was called with, derived exactly from the plan and what came before, secrets "
        "masked: `inputHash` proves it. Null before it was ready, and over 1 MiB.",
        directives=access("StepExecution.input"),
    )
    def input(self, info: Info) -> JSON | None:
        """What it was called with."""
        if self.record.input_missing is None:
            return as_json(fitting(self.record.input))
        return later(resolve.step_input(info.context, step=self.record), as_json)

    @strawberry.field(
        description="What it gave, or what `on_error` gave it when it had failed; null before that, and over 1 MiB: "
        "then `outputRef` says where it is.",
        directives=access("StepExecution.output"),
    )
    def output(self, info: Info) -> JSON | None:
        """What it gave."""
        return shown(info, self.record.execution_id, self.record.output)

    @strawberry.field(description="Where its output is, when it is too large for its row.")
    def output_ref(self) -> ArtifactRef | None:
        """Where its output is."""
        step = self.record
        path = step_path(step.execution_id, step.key, step.at, item=step.item)
        return ArtifactRef.of(step.output, path)

    @strawberry.field(
        description="What its attempts cost in all generations, those of a map's items too: an amount for each "
        "currency.",
        directives=access("StepExecution.cost"),
    )
    def cost(self, info: Info) -> list[Money]:
        """What its attempts cost."""
        step = self.record
        if step.items is None:
            return [Money.of(one) for one in step.costs]
        return later(
            resolve.step_cost(info.context, step=step),
            lambda found: [Money.of(one) for one in found],
        )

    @strawberry.field(
        description="How far a map is; null of what is no map, and before it begins.",
        directives=access("StepExecution.progress"),
    )
    async def progress(self, info: Info) -> MapProgress | None:
        """How far a map is."""
        found = await resolve.progress(info.context, step=self.record)
        return None if found is None else MapProgress.of(found)

    @strawberry.field(
        description="The items of a map in the order of its list, each with status, attempts, output and logs of its "
        "own; null of what is no map, and before it begins.",
        directives=access("StepExecution.items"),
    )
    async def items(
        self,
        info: Info,
        first: FIRST_ROWS = 100,
        after: AFTER = None,
        status: Annotated[
            list[StepStatus] | None, strawberry.argument(description="Only those in one of these.")
        ] = None,
    ) -> (
        Annotated["StepExecutionConnection", strawberry.lazy("subgraph.types.step_execution")]
        | None
    ):
        """The items of a map."""
        found = await resolve.items(
            info.context,
            step=self.record,
            after=position(after),
            limit=size_of("first", first, default=100, most=MOST_ROWS),
            statuses=tuple(status or ()),
        )
        return None if found is None else StepExecutionConnection.of(found[0], total=found[1])

    @strawberry.field(
        description="Why it is not running, since when, and what would free it; null when it runs or waits "
        "for nothing any more.",
        directives=access("StepExecution.blockedBy"),
    )
    def blocked_by(self, info: Info) -> Blocker | None:
        """Why it is not running."""
        step = self.record
        return later(
            info.context.loaders.standing.load(step.execution_id),
            lambda standing: _blocker_of(step, standing),
        )

    @strawberry.field(
        description="Its attempts, oldest first.", directives=access("StepExecution.attempts")
    )
    def attempts(self) -> list[StepAttempt]:
        """Its attempts, oldest first."""
        return [StepAttempt.of(attempt) for attempt in self.record.attempts]

    @strawberry.field(
        description="What it logged, oldest first.", directives=access("StepExecution.logs")
    )
    async def logs(self, info: Info, first: FIRST_ROWS = 200, after: AFTER = None) -> LogConnection:
        """What it logged, oldest first."""
        page = await resolve.logs(
            info.context,
            execution_id=self.record.execution_id,
            step_key=self.record.key,
            item=self.record.item if self.record.item >= 0 else None,
            after=position(after),
            limit=size_of("first", first, default=200, most=MOST_ROWS),
            at=self.record.at,
        )
        return LogConnection.of(page)

    @classmethod
    def of(cls, step: model.StepExecution) -> Self:
        """From its record."""
        return cls(record=step)

    @classmethod
    def in_columns_or_each(
        cls, found: StepTable | tuple[model.StepExecution, ...] | None
    ) -> list[Self]:
        """A list of them for a plan that reads columns alone, from a table of them or from records."""
        if isinstance(found, StepTable):
            return cast("list[Self]", Columns(found))
        return [cls.of(step) for step in found or ()]

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The entity of a gateway's reference."""
        found = await entities.step_execution(info.context, id=id)
        return cls.of(found) if found else None


@strawberry.type(description="One step, or one item of a map, in a page.")
class StepExecutionEdge:
    """One step in a page."""

    cursor: str = strawberry.field(
        description="The place of this step in the plan, of an item in its list."
    )
    node: StepExecution = strawberry.field(description="The step.")


@strawberry.type(
    description="A page of an execution's steps in order of the plan, or of a map's items in order of its list."
)
class StepExecutionConnection:
    """A page of steps."""

    total: strawberry.Private[int | None]
    edges: list[StepExecutionEdge] = strawberry.field(description="The steps with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")

    @strawberry.field(
        description="How many there are in all pages; null of items that are asked for by status."
    )
    def total_count(self) -> int | None:
        """How many there are in all pages."""
        return self.total

    @classmethod
    def of(cls, page: Page[model.StepExecution], *, total: int | None) -> Self:
        """From a page of records."""
        edges = [
            StepExecutionEdge(cursor=cursor, node=StepExecution.of(item))
            for item, cursor in zip(page.items, page.cursors, strict=True)
        ]
        return cls(total=total, edges=edges, page_info=PageInfo.of(page))
