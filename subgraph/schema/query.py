"""Root fields that read: signature and description, one line of body."""

from typing import Annotated, Any, cast

import strawberry
from strawberry.scalars import JSON

from resolvers import entities
from resolvers.context import Info
from resolvers.queries import breaker as breakers_of
from resolvers.queries import bulk as bulk_of
from resolvers.queries import dead_letter as dead_letters_of
from resolvers.queries import event_handler as handlers_of
from resolvers.queries import execution as executions_of
from resolvers.queries import execution_migration as migrations_of
from resolvers.queries import execution_stats as stats_of
from resolvers.queries import generation_preview as previews_of
from resolvers.queries import human_task as tasks_of
from resolvers.queries import replay as replays_of
from resolvers.queries import simulation as simulations_of
from resolvers.queries import tenant_settings as settings_of
from resolvers.queries import workflow as workflows_of
from runtime.model.errors import BadInput, MaestroError
from runtime.model.values import Json, SemVer
from subgraph.compiled.declare import later
from subgraph.directives import access
from subgraph.faces import show
from subgraph.types.bulk_operation import (
    BulkOperation,
    BulkOperationConnection,
    BulkOperationPreview,
)
from subgraph.types.circuit_breaker import CircuitBreaker
from subgraph.types.dead_letter import DeadLetterConnection
from subgraph.types.event_handler import EventHandler
from subgraph.types.execution import Execution, ExecutionConnection
from subgraph.types.execution_comparison import ExecutionComparison
from subgraph.types.execution_migration import MigrationPreviewConnection
from subgraph.types.execution_replay import ExecutionReplay
from subgraph.types.execution_stats import ExecutionStats
from subgraph.types.generation_preview import GenerationPreview
from subgraph.types.human_task import HumanTask, HumanTaskConnection
from subgraph.types.inputs.bulk import BulkActionInput
from subgraph.types.inputs.dead_letter import DeadLetterFilter
from subgraph.types.inputs.execution import ExecutionFilter, ExecutionOrder
from subgraph.types.inputs.execution_stats import DAY, WINDOW, ExecutionStatsFilter
from subgraph.types.inputs.human_task import HumanTaskFilter
from subgraph.types.inputs.simulation import SimulateWorkflowInput
from subgraph.types.inputs.workflow import WorkflowFilter, WorkflowOrder
from subgraph.types.node import Node
from subgraph.types.pagination import AFTER, BEFORE, FIRST, LAST, MOST, one_size, page_request
from subgraph.types.scalars import BigInt
from subgraph.types.status import DefinitionFormat
from subgraph.types.tenant_settings import TenantSettings
from subgraph.types.workflow import Workflow, WorkflowConnection
from subgraph.types.workflow_diff import WorkflowDiff
from subgraph.types.workflow_payload import WorkflowValidation
from subgraph.types.workflow_simulation import WorkflowSimulation


@strawberry.type(name="_Service", description="This subgraph, as gateways ask for it.")
class Service:
    """This subgraph, as gateways ask for it."""

    sdl: str = strawberry.field(description="The schema, as it is composed.")


@strawberry.type(description="Reads. Everything is narrowed to the tenant of the caller's token.")
class Query:
    """Reads."""

    @strawberry.field(name="_service", description="This subgraph, as gateways ask for it.")
    def service(self, info: Info) -> Service:
        """Give gateways the very text that is committed."""
        return Service(sdl=cast(Any, info.schema).sdl)

    @strawberry.field(
        description="Whatever an id names; null when there is nothing for this caller.",
        directives=access("Query.node"),
    )
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="An `id` of the graph.")],
    ) -> Node | None:
        """Whatever an id names."""
        node: Node | None = show(await entities.node(info.context, id=id))
        return node

    @strawberry.field(
        description="What several ids name, in their order; at most 100.",
        directives=access("Query.nodes"),
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description="Ids of the graph, at most 100.")
        ],
    ) -> list[Node | None]:
        """What several ids name."""
        if len(ids) > MOST:
            raise BadInput(f"`ids` holds at most {MOST} ids.", reason="PAGE_SIZE")
        found = await entities.nodes(info.context, ids=ids)
        # An error in a list is the error of its place.
        return [each if isinstance(each, MaestroError) else show(each) for each in found]  # type: ignore[misc]

    @strawberry.field(
        description="A workflow, by id or by name; null when there is none for this caller.",
        directives=access("Query.workflow"),
    )
    async def workflow(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="Its id.")] = None,
        name: Annotated[str | None, strawberry.argument(description="Or its name.")] = None,
        namespace: Annotated[
            str, strawberry.argument(description="Where the name is looked up.")
        ] = "default",
    ) -> Workflow | None:
        """A workflow, by id or by name."""
        found = await workflows_of.workflow(info.context, id=id, name=name, namespace=namespace)
        return Workflow.of(found) if found else None

    @strawberry.field(
        description="The tenant's workflows.",
        directives=access("Query.workflows"),
    )
    async def workflows(
        self,
        info: Info,
        filter: Annotated[
            WorkflowFilter | None, strawberry.argument(description="Which of them.")
        ] = None,
        order_by: Annotated[
            WorkflowOrder | None,
            strawberry.argument(description="In which order; the last changed first."),
        ] = None,
        first: FIRST = 20,
        after: AFTER = None,
        last: LAST = None,
        before: BEFORE = None,
    ) -> WorkflowConnection:
        """The tenant's workflows."""
        one_size(info)
        wanted = WorkflowFilter.record(filter)
        page = await workflows_of.workflows(
            info.context,
            filter=wanted,
            order=WorkflowOrder.record(order_by),
            page=page_request(first, after, last, before),
        )
        return WorkflowConnection.of(
            page, count=lambda: workflows_of.count_workflows(info.context, filter=wanted)
        )

    @strawberry.field(
        description="What changed from one version of a workflow to another.",
        directives=access("Query.workflowDiff"),
    )
    async def workflow_diff(
        self,
        info: Info,
        workflow_id: Annotated[strawberry.ID, strawberry.argument(description="Which workflow.")],
        from_: Annotated[
            SemVer, strawberry.argument(name="from", description="The version before.")
        ],
        to: Annotated[
            SemVer | None,
            strawberry.argument(description="The version after; the draft if absent."),
        ] = None,
    ) -> WorkflowDiff | None:
        """What changed from one version of a workflow to another."""
        found = await workflows_of.diff_by_id(info.context, id=workflow_id, before=from_, after=to)
        return WorkflowDiff.of(found)

    @strawberry.field(
        description="Validate a document without saving it: the findings that publishing would have.",
        directives=access("Query.validateWorkflow"),
    )
    async def validate_workflow(
        self,
        info: Info,
        source: Annotated[str, strawberry.argument(description="The definition document.")],
        format: Annotated[
            DefinitionFormat | None,
            strawberry.argument(description="Its spelling; seen from the document unless given."),
        ] = None,
    ) -> WorkflowValidation:
        """Validate a document without saving it."""
        return WorkflowValidation.of(
            await workflows_of.validate(info.context, source=source, format=format)
        )

    @strawberry.field(
        description="How an execution would go: the engine's own decisions on a virtual clock, nothing is called or "
        "written.",
        directives=access("Query.simulateWorkflow"),
    )
    async def simulate_workflow(
        self,
        info: Info,
        input: Annotated[SimulateWorkflowInput, strawberry.argument(description="What.")],
    ) -> WorkflowSimulation:
        """How an execution would go."""
        return await WorkflowSimulation.answer(
            simulations_of.simulate(info.context, request=input.request),
            is_source=input.source is not None,
        )

    @strawberry.field(
        description="An execution; null when there is none for this caller. With `at` as it was shown when the "
        "event of this `sequence` was its newest; an error when there is no such event, or nothing is kept any more.",
        directives=access("Query.execution"),
    )
    def execution(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")],
        at: Annotated[
            BigInt | None,
            strawberry.argument(
                description="The `sequence` of one of its events.",
                directives=access("Query.execution.at"),
            ),
        ] = None,
    ) -> Execution | None:
        """An execution."""
        found = executions_of.execution(info.context, id=id, at=at)
        return None if found is None else later(found, Execution.shown)

    @strawberry.field(
        description="The execution that was enqueued with this idempotency key.",
        directives=access("Query.executionByIdempotencyKey"),
    )
    async def execution_by_idempotency_key(
        self,
        info: Info,
        key: Annotated[str, strawberry.argument(description="The key.")],
    ) -> Execution | None:
        """The execution that was enqueued with this key."""
        found = await executions_of.execution_by_key(info.context, key=key)
        return Execution.of(found) if found else None

    @strawberry.field(
        description="Two executions beside each other: which steps ran, with what, what they gave, and where they "
        "first part. An error when one of them is not there for this caller.",
        directives=access("Query.compareExecutions"),
    )
    async def compare_executions(
        self,
        info: Info,
        a: Annotated[strawberry.ID, strawberry.argument(description="The first one's id.")],
        b: Annotated[strawberry.ID, strawberry.argument(description="The second one's id.")],
    ) -> ExecutionComparison:
        """Two executions beside each other."""
        return ExecutionComparison.of(await executions_of.comparison(info.context, a=a, b=b))

    @strawberry.field(
        description="An execution's decisions, made once more from its record by the engine itself: whether every "
        "event, every row and every digest of an input or output follows. An error when there is no such execution for "
        "this caller, or when it has more than 50,000 events.",
        directives=access("Query.replayExecution"),
    )
    async def replay_execution(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")],
        execute: Annotated[
            bool,
            strawberry.argument(
                description="Also run its pure steps again, and compare their outputs; needs `executions:debug`."
            ),
        ] = False,
    ) -> ExecutionReplay:
        """An execution's decisions, made once more."""
        return ExecutionReplay.of(await replays_of.replay(info.context, id=id, execute=execute))

    @strawberry.field(
        description="What `retryExecution` would do with an execution now, before anything happens: which steps run "
        "again, which are kept, and which calls would be made again. Null, with an error, where the retry would be "
        "refused.",
        directives=access("Query.retryPreview"),
    )
    async def retry_preview(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")],
        from_failed_step: Annotated[
            bool,
            strawberry.argument(
                description="Keep what completed and repeat the rest; false repeats everything."
            ),
        ] = True,
    ) -> GenerationPreview | None:
        """What a retry would do."""
        return GenerationPreview.of(
            await previews_of.retry_preview(info.context, id=id, from_failed_step=from_failed_step)
        )

    @strawberry.field(
        description="Whether the executions of a version that have not ended could go on with another version of the "
        "workflow, newest first: all that has begun must be the same there.",
        directives=access("Query.migrationPreview"),
    )
    async def migration_preview(
        self,
        info: Info,
        workflow_id: Annotated[strawberry.ID, strawberry.argument(description="Which workflow.")],
        from_: Annotated[
            SemVer, strawberry.argument(name="from", description="The version that they run.")
        ],
        to: Annotated[SemVer, strawberry.argument(description="The version to go on with.")],
        first: FIRST = 20,
        after: AFTER = None,
    ) -> MigrationPreviewConnection | None:
        """What a migration would come to."""
        page = await migrations_of.migration_preview(
            info.context,
            workflow_id=workflow_id,
            before=from_,
            after=to,
            page=page_request(first, after),
        )
        return MigrationPreviewConnection.of(page)

    @strawberry.field(
        description="What `rewindExecution` would do with an execution now, before anything happens: which steps run "
        "again, which are kept, and which calls would be made again. Null, with an error, where the rewind would be "
        "refused.",
        directives=access("Query.rewindPreview"),
    )
    async def rewind_preview(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")],
        step_key: Annotated[str, strawberry.argument(description="The step to go back to.")],
        input: Annotated[
            JSON | None,
            strawberry.argument(
                description="The other input, where it is to have one from then on."
            ),
        ] = None,
        keep: Annotated[
            list[str] | None, strawberry.argument(description="Steps behind it whose calls stand.")
        ] = None,
    ) -> GenerationPreview | None:
        """What a rewind would do."""
        return GenerationPreview.of(
            await previews_of.rewind_preview(
                info.context,
                id=id,
                step_key=step_key,
                input=cast("Json", input),
                keep=keep or (),
            )
        )

    @strawberry.field(
        description="The tenant's executions.",
        directives=access("Query.executions"),
    )
    async def executions(
        self,
        info: Info,
        filter: Annotated[
            ExecutionFilter | None, strawberry.argument(description="Which of them.")
        ] = None,
        order_by: Annotated[
            ExecutionOrder | None, strawberry.argument(description="In which order; newest first.")
        ] = None,
        first: FIRST = 20,
        after: AFTER = None,
        last: LAST = None,
        before: BEFORE = None,
    ) -> ExecutionConnection:
        """The tenant's executions."""
        one_size(info)
        wanted = ExecutionFilter.record(filter)
        page = await executions_of.executions(
            info.context,
            filter=wanted,
            page=page_request(first, after, last, before),
            order=ExecutionOrder.record(order_by),
        )
        return ExecutionConnection.of(
            page, count=lambda: executions_of.count_executions(info.context, filter=wanted)
        )

    @strawberry.field(
        description="Numbers of the tenant's executions: how many are where, how they end, how long they take, "
        "what they cost.",
        directives=access("Query.executionStats"),
    )
    async def execution_stats(
        self,
        info: Info,
        filter: Annotated[
            ExecutionStatsFilter | None, strawberry.argument(description="Which are counted.")
        ] = None,
        window: WINDOW = DAY,
    ) -> ExecutionStats:
        """Numbers of the tenant's executions."""
        wanted = ExecutionStatsFilter.record(filter)
        return ExecutionStats.of(
            await stats_of.execution_stats(info.context, filter=wanted, window=window)
        )

    @strawberry.field(
        description="Targets that the workers do not call as usual, because they keep failing.",
        directives=access("Query.circuitBreakers"),
    )
    async def circuit_breakers(self, info: Info) -> list[CircuitBreaker]:
        """Targets that are left alone."""
        return [CircuitBreaker.of(one) for one in await breakers_of.circuit_breakers(info.context)]

    @strawberry.field(
        description="Who is told of what happened, after its commit: how each of them does.",
        directives=access("Query.eventHandlers"),
    )
    async def event_handlers(self, info: Info) -> list[EventHandler]:
        """How each event handler does."""
        return [EventHandler.of(one) for one in await handlers_of.event_handlers(info.context)]

    @strawberry.field(
        description="What an operator has set for the tenant, or for one of its workflows; null, beside an error, for "
        "an unknown workflow.",
        directives=access("Query.tenantSettings"),
    )
    async def tenant_settings(
        self,
        info: Info,
        workflow_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Of this workflow; left out: of the tenant."),
        ] = None,
    ) -> TenantSettings | None:
        """What an operator has set."""
        return TenantSettings.of(
            await settings_of.tenant_settings(info.context, workflow_id=workflow_id)
        )

    @strawberry.field(
        description="Executions that cost three workers, the newest first.",
        directives=access("Query.deadLetters"),
    )
    async def dead_letters(
        self,
        info: Info,
        filter: Annotated[
            DeadLetterFilter | None, strawberry.argument(description="Which of them.")
        ] = None,
        first: FIRST = 20,
        after: AFTER = None,
    ) -> DeadLetterConnection:
        """Executions that cost three workers."""
        wanted = DeadLetterFilter.record(filter)
        page = await dead_letters_of.dead_letters(
            info.context, filter=wanted, page=page_request(first, after)
        )
        return DeadLetterConnection.of(
            page, count=lambda: dead_letters_of.count_dead_letters(info.context, filter=wanted)
        )

    @strawberry.field(
        description="Freeze the executions of a filter, at most 100,000, and say what an action would do to them. "
        "Nothing is done before it is started; a tenant's twenty newest previews are kept, for a quarter of an hour.",
        directives=access("Query.bulkOperationPreview"),
    )
    async def bulk_operation_preview(
        self,
        info: Info,
        filter: Annotated[ExecutionFilter, strawberry.argument(description="Which executions.")],
        action: Annotated[BulkActionInput, strawberry.argument(description="What is done.")],
    ) -> BulkOperationPreview | None:
        """What an action would do to the executions of a filter."""
        return BulkOperationPreview.of(
            await bulk_of.preview(
                info.context, filter=ExecutionFilter.record(filter), deed=action.deed()
            )
        )

    @strawberry.field(
        description="A bulk operation that was started; null when there is none for this caller.",
        directives=access("Query.bulkOperation"),
    )
    async def bulk_operation(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")],
    ) -> BulkOperation | None:
        """A bulk operation."""
        found = await bulk_of.bulk_operation(info.context, id=id)
        return BulkOperation.of(found) if found else None

    @strawberry.field(
        description="Bulk operations, the newest first.",
        directives=access("Query.bulkOperations"),
    )
    async def bulk_operations(
        self, info: Info, first: FIRST = 20, after: AFTER = None
    ) -> BulkOperationConnection:
        """Bulk operations."""
        page = await bulk_of.bulk_operations(info.context, page=page_request(first, after))
        return BulkOperationConnection.of(page)

    @strawberry.field(
        description="A human task; null when there is none for this caller.",
        directives=access("Query.humanTask"),
    )
    async def human_task(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")],
    ) -> HumanTask | None:
        """A human task."""
        found = await tasks_of.human_task(info.context, id=id)
        return HumanTask.of(found) if found else None

    @strawberry.field(
        description="Human tasks, the newest first; of those that are overdue, what has been due for the longest time.",
        directives=access("Query.humanTasks"),
    )
    async def human_tasks(
        self,
        info: Info,
        filter: Annotated[
            HumanTaskFilter | None, strawberry.argument(description="Which tasks.")
        ] = None,
        first: FIRST = 20,
        after: AFTER = None,
    ) -> HumanTaskConnection:
        """Human tasks."""
        wanted = filter or HumanTaskFilter()
        page = await tasks_of.human_tasks(
            info.context,
            filter=wanted.record(),
            workflow_id=wanted.workflow_id,
            execution_id=wanted.execution_id,
            page=page_request(first, after),
        )
        return HumanTaskConnection.of(page)
