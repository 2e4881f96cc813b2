"""Root fields that change something: verb and noun, one input, and the object they changed."""

from typing import Annotated, cast

import strawberry

from resolvers.context import Info
from resolvers.mutations import bulk as bulk_of
from resolvers.mutations import dead_letter as dead_letters_of
from resolvers.mutations import execution as executions_of
from resolvers.mutations import tenant_settings as settings_of
from resolvers.mutations import workflow as workflows_of
from runtime.model.errors import BadInput, MaestroError
from runtime.model.execution import Enqueued, EnqueueRequest
from runtime.model.values import Json
from subgraph.directives import access
from subgraph.schema import human_task
from subgraph.types.bulk_operation import BulkOperationPayload
from subgraph.types.dead_letter_payload import DeadLettersPayload
from subgraph.types.execution_payload import (
    EnqueueExecutionPayload,
    EnqueueExecutionsPayload,
    ExecutionPayload,
)
from subgraph.types.inputs.bulk import StartBulkOperationInput, StopBulkOperationInput
from subgraph.types.inputs.dead_letter import DeadLetterActionInput, DeadLetterFilter
from subgraph.types.inputs.execution import (
    CancelExecutionInput,
    EnqueueExecutionInput,
    ExecutionActionInput,
    ExecutionFilter,
    ResolveInDoubtInput,
    RetryExecutionInput,
    RewindExecutionInput,
    SignalExecutionInput,
)
from subgraph.types.inputs.filters import label_dict
from subgraph.types.inputs.tenant_settings import UpdateTenantSettingsInput
from subgraph.types.inputs.workflow import (
    CreateWorkflowInput,
    PublishWorkflowInput,
    UpdateWorkflowInput,
    WorkflowRefInput,
    WorkflowVersionRefInput,
)
from subgraph.types.tenant_settings import TenantSettingsPayload
from subgraph.types.workflow_payload import PublishWorkflowPayload, WorkflowPayload

_MOST_ENQUEUED = 1000


@strawberry.type(
    description="Changes. What was understood and not done comes back as data in `errors`; only "
    "authentication, malformed requests and faults are errors of the response."
)
class Mutation(human_task.Mutation):
    """Changes."""

    @strawberry.mutation(
        description="Create a workflow with a draft.",
        directives=access("Mutation.createWorkflow"),
    )
    async def create_workflow(
        self,
        info: Info,
        input: Annotated[CreateWorkflowInput, strawberry.argument(description="The new workflow.")],
    ) -> WorkflowPayload:
        """Create a workflow with a draft."""
        return await WorkflowPayload.answer(
            workflows_of.create_workflow(
                info.context,
                name=input.name,
                source=input.source,
                format=input.format,
                display_name=input.display_name,
                description=input.description,
                labels=label_dict(input.labels) or {},
                namespace=input.namespace,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Change a workflow's draft, names or labels; what is left out stays.",
        directives=access("Mutation.updateWorkflow"),
    )
    async def update_workflow(
        self,
        info: Info,
        input: Annotated[UpdateWorkflowInput, strawberry.argument(description="What changes.")],
    ) -> WorkflowPayload:
        """Change a workflow's draft, names or labels."""
        return await WorkflowPayload.answer(
            workflows_of.update_workflow(
                info.context,
                id=input.workflow_id,
                source=input.source,
                format=input.format,
                display_name=input.display_name,
                description=input.description,
                labels=label_dict(input.labels),
                expected_digest=input.expected_digest,
            )
        )

    @strawberry.mutation(
        description="Make the draft an immutable version. Publishing the same definition again gives "
        "the version that exists; a number that tells of less than has changed is refused.",
        directives=access("Mutation.publishWorkflow"),
    )
    async def publish_workflow(
        self,
        info: Info,
        input: Annotated[
            PublishWorkflowInput, strawberry.argument(description="What is published, and as what.")
        ],
    ) -> PublishWorkflowPayload:
        """Make the draft an immutable version."""
        return await PublishWorkflowPayload.answer(
            workflows_of.publish_workflow(
                info.context,
                id=input.workflow_id,
                version=input.version,
                bump=input.bump,
                allow_smaller=input.allow_smaller,
                expected_digest=input.expected_digest,
                changelog=input.changelog,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Deprecate a version: new executions take it only when they name it. One that is "
        "deprecated already stays so.",
        directives=access("Mutation.deprecateWorkflowVersion"),
    )
    async def deprecate_workflow_version(
        self,
        info: Info,
        input: Annotated[WorkflowVersionRefInput, strawberry.argument(description="Which one.")],
    ) -> PublishWorkflowPayload:
        """Deprecate a version."""
        return await PublishWorkflowPayload.answer(
            workflows_of.deprecate_version(
                info.context, id=input.workflow_id, version=input.version, reason=input.reason
            )
        )

    @strawberry.mutation(
        description="Archive a deprecated version: it starts no executions any more; those that run it "
        "go on.",
        directives=access("Mutation.archiveWorkflowVersion"),
    )
    async def archive_workflow_version(
        self,
        info: Info,
        input: Annotated[WorkflowVersionRefInput, strawberry.argument(description="Which one.")],
    ) -> PublishWorkflowPayload:
        """Archive a deprecated version."""
        return await PublishWorkflowPayload.answer(
            workflows_of.archive_version(
                info.context, id=input.workflow_id, version=input.version, reason=input.reason
            )
        )

    @strawberry.mutation(
        description="Archive a workflow for good: it is changed, published and started no more; "
        "executions that run go on.",
        directives=access("Mutation.archiveWorkflow"),
    )
    async def archive_workflow(
        self,
        info: Info,
        input: Annotated[WorkflowRefInput, strawberry.argument(description="Which one.")],
    ) -> WorkflowPayload:
        """Archive a workflow for good."""
        return await WorkflowPayload.answer(
            workflows_of.archive_workflow(info.context, id=input.workflow_id, reason=input.reason)
        )

    @strawberry.mutation(
        description="Delete a draft of which no version was ever published; anything else is archived.",
        directives=access("Mutation.deleteWorkflow"),
    )
    async def delete_workflow(
        self,
        info: Info,
        input: Annotated[WorkflowRefInput, strawberry.argument(description="Which one.")],
    ) -> WorkflowPayload:
        """Delete a draft that was never published."""
        return await WorkflowPayload.deleted(
            workflows_of.delete_workflow(info.context, id=input.workflow_id, reason=input.reason)
        )

    @strawberry.mutation(
        description="Start an execution. It is durable when this answers. The same idempotency key "
        "and body give the first answer again.",
        directives=access("Mutation.enqueueExecution"),
    )
    async def enqueue_execution(
        self,
        info: Info,
        input: Annotated[EnqueueExecutionInput, strawberry.argument(description="What to start.")],
    ) -> EnqueueExecutionPayload:
        """Start an execution."""

        async def work() -> Enqueued:
            return await executions_of.enqueue_execution(info.context, input.request())

        return await EnqueueExecutionPayload.answer(work())

    @strawberry.mutation(
        description="Start up to 1,000 executions in one commit; each is accepted or refused by itself.",
        directives=access("Mutation.enqueueExecutions"),
    )
    async def enqueue_executions(
        self,
        info: Info,
        input: Annotated[
            list[EnqueueExecutionInput], strawberry.argument(description="What to start.")
        ],
    ) -> EnqueueExecutionsPayload:
        """Start several executions."""

        async def work() -> list[Enqueued | MaestroError]:
            if len(input) > _MOST_ENQUEUED:
                raise BadInput(f"At most {_MOST_ENQUEUED} at once.", reason="TOO_MANY")
            return await executions_of.enqueue_executions(
                info.context, [_request(item) for item in input]
            )

        return await EnqueueExecutionsPayload.answer(work())

    @strawberry.mutation(
        description="Ask an execution to stop. It shows CANCELLING until its owner has let go, then COMPENSATING while "
        "its steps are undone, if that is asked for. Cancelling what is cancelled changes nothing.",
        directives=access("Mutation.cancelExecution"),
    )
    async def cancel_execution(
        self,
        info: Info,
        input: Annotated[CancelExecutionInput, strawberry.argument(description="Which one.")],
    ) -> ExecutionPayload:
        """Ask an execution to stop."""
        return await ExecutionPayload.answer(
            executions_of.cancel_execution(
                info.context,
                id=input.execution_id,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
                compensate=input.compensate,
            )
        )

    @strawberry.mutation(
        description="Ask an execution to start nothing more. It shows PAUSED when its running steps have "
        "ended; messages and timers wait until it is resumed. Pausing what is paused changes nothing.",
        directives=access("Mutation.pauseExecution"),
    )
    async def pause_execution(
        self,
        info: Info,
        input: Annotated[ExecutionActionInput, strawberry.argument(description="Which one.")],
    ) -> ExecutionPayload:
        """Ask an execution to start nothing more."""
        return await ExecutionPayload.answer(
            executions_of.pause_execution(
                info.context,
                id=input.execution_id,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Ask a paused execution to go on. Resuming what is not paused changes nothing.",
        directives=access("Mutation.resumeExecution"),
    )
    async def resume_execution(
        self,
        info: Info,
        input: Annotated[ExecutionActionInput, strawberry.argument(description="Which one.")],
    ) -> ExecutionPayload:
        """Ask a paused execution to go on."""
        return await ExecutionPayload.answer(
            executions_of.resume_execution(
                info.context,
                id=input.execution_id,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Send a signal. The `wait` step that listens for its name ends with the payload; one "
        "that comes early is kept, and each is taken once, first in, first out.",
        directives=access("Mutation.signalExecution"),
    )
    async def signal_execution(
        self,
        info: Info,
        input: Annotated[SignalExecutionInput, strawberry.argument(description="The signal.")],
    ) -> ExecutionPayload:
        """Send a signal."""
        return await ExecutionPayload.answer(
            executions_of.signal_execution(
                info.context,
                id=input.execution_id,
                name=input.name,
                payload=cast("Json", input.payload),
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Run an ended execution again: the same execution, next generation.",
        directives=access("Mutation.retryExecution"),
    )
    async def retry_execution(
        self,
        info: Info,
        input: Annotated[RetryExecutionInput, strawberry.argument(description="Which one.")],
    ) -> ExecutionPayload:
        """Run an ended execution again."""
        return await ExecutionPayload.answer(
            executions_of.retry_execution(
                info.context,
                id=input.execution_id,
                reason=input.reason,
                from_failed_step=input.from_failed_step,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Go back to a step of an ended execution: it runs again with all that rests on it, in the same "
        "execution, next generation. `rewindPreview` says beforehand what that repeats.",
        directives=access("Mutation.rewindExecution"),
    )
    async def rewind_execution(
        self,
        info: Info,
        input: Annotated[
            RewindExecutionInput, strawberry.argument(description="Which one, and to where.")
        ],
    ) -> ExecutionPayload:
        """Go back to a step of an ended execution."""
        return await ExecutionPayload.answer(
            executions_of.rewind_execution(
                info.context,
                id=input.execution_id,
                step_key=input.step_key,
                input=cast("Json", input.input),
                keep=input.keep,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Say of a step that is IN_DOUBT whether its call was made. Its execution goes on by that.",
        directives=access("Mutation.resolveInDoubt"),
    )
    async def resolve_in_doubt(
        self,
        info: Info,
        input: Annotated[ResolveInDoubtInput, strawberry.argument(description="What is known.")],
    ) -> ExecutionPayload:
        """Say of a step in doubt whether its call was made."""
        return await ExecutionPayload.answer(
            executions_of.resolve_in_doubt(info.context, id=input.execution_id, said=input.said())
        )

    @strawberry.mutation(
        description="Start what was previewed: the action is done to the executions that the preview has frozen. "
        "Filter and action must be those of the token. Started twice it is the same operation.",
        directives=access("Mutation.startBulkOperation"),
    )
    async def start_bulk_operation(
        self,
        info: Info,
        input: Annotated[
            StartBulkOperationInput, strawberry.argument(description="What was previewed.")
        ],
    ) -> BulkOperationPayload:
        """Start what was previewed."""
        return await BulkOperationPayload.answer(
            bulk_of.start(
                info.context,
                token=input.token,
                filter=ExecutionFilter.record(input.filter),
                deed=input.action.deed(),
                reason=input.reason,
            )
        )

    @strawberry.mutation(
        description="Let a bulk operation end before its next executions; what was done stays done.",
        directives=access("Mutation.stopBulkOperation"),
    )
    async def stop_bulk_operation(
        self,
        info: Info,
        input: Annotated[StopBulkOperationInput, strawberry.argument(description="Which one.")],
    ) -> BulkOperationPayload:
        """Let a bulk operation end."""
        return await BulkOperationPayload.answer(
            bulk_of.stop(info.context, id=input.bulk_operation_id, reason=input.reason)
        )

    @strawberry.mutation(
        description="Run dead executions again, each as its next generation, and deliver messages again: of those "
        "named by `ids` all or none; of a `filter` those that can be.",
        directives=access("Mutation.redriveDeadLetters"),
    )
    async def redrive_dead_letters(
        self,
        info: Info,
        input: Annotated[DeadLetterActionInput, strawberry.argument(description="Which ones.")],
    ) -> DeadLettersPayload:
        """Run dead executions again, deliver messages again."""
        wanted = None if input.filter is None else DeadLetterFilter.record(input.filter)
        return await DeadLettersPayload.answer(
            dead_letters_of.redrive(
                info.context,
                ids=input.ids or (),
                filter=wanted,
                reason=input.reason,
                limit=input.limit,
            )
        )

    @strawberry.mutation(
        description="Leave executions and messages dead for good: of those named by `ids` all or none; of a `filter` "
        "those that can be.",
        directives=access("Mutation.discardDeadLetters"),
    )
    async def discard_dead_letters(
        self,
        info: Info,
        input: Annotated[DeadLetterActionInput, strawberry.argument(description="Which ones.")],
    ) -> DeadLettersPayload:
        """Leave executions and messages dead."""
        wanted = None if input.filter is None else DeadLetterFilter.record(input.filter)
        return await DeadLettersPayload.answer(
            dead_letters_of.discard(
                info.context,
                ids=input.ids or (),
                filter=wanted,
                reason=input.reason,
                limit=input.limit,
            )
        )

    @strawberry.mutation(
        description="Set limits, weight and retention of the tenant, or limits and retention of one of its workflows. "
        "What is left out stays; what is changed is told by an event with actor and reason.",
        directives=access("Mutation.updateTenantSettings"),
    )
    async def update_tenant_settings(
        self,
        info: Info,
        input: Annotated[
            UpdateTenantSettingsInput, strawberry.argument(description="What is set.")
        ],
    ) -> TenantSettingsPayload:
        """Set limits, weight and retention."""
        return await TenantSettingsPayload.answer(
            settings_of.update(
                info.context,
                workflow_id=input.workflow_id,
                values=input.values(),
                unset=input.unset or (),
                reason=input.reason,
            )
        )


def _request(item: EnqueueExecutionInput) -> EnqueueRequest | MaestroError:
    try:
        return item.request()
    except MaestroError as error:
        return error
