"""Inputs about executions: the filter and order of lists, and one input per mutation."""

from datetime import datetime
from typing import cast
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers.ids import workflow_uuid
from resolvers.words import storable
from runtime.model import execution as model
from runtime.model.errors import BadInput, NotFound
from runtime.model.values import Duration, Json, SemVer
from subgraph.directives import access
from subgraph.types.inputs.built import built_from_what_was_sent
from subgraph.types.inputs.filters import (
    Label,
    SortDirection,
    TimeRange,
    label_dict,
    label_pairs,
    listed,
    word,
    words,
)
from subgraph.types.status import (
    DoubtDecision,
    ExecutionOrderField,
    ExecutionStatus,
    StepStatus,
    TriggerKind,
)


@strawberry.input(description="Which executions a list shows; what is left out does not restrict.")
class ExecutionFilter:
    """Which executions a list shows."""

    status: list[ExecutionStatus] | None = strawberry.field(
        default=None, description="In one of these statuses."
    )
    workflow_id: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these workflows."
    )
    workflow_name: list[str] | None = strawberry.field(
        default=None, description="Of a workflow with one of these names."
    )
    version: SemVer | None = strawberry.field(default=None, description="Of this version.")
    trigger: list[TriggerKind] | None = strawberry.field(
        default=None, description="Started in one of these ways."
    )
    labels: list[Label] | None = strawberry.field(
        default=None, description="With all of these labels."
    )
    namespace: list[str] | None = strawberry.field(
        default=None, description="In one of these namespaces."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Enqueued with this key."
    )
    created: TimeRange | None = strawberry.field(default=None, description="Created in this range.")
    finished: TimeRange | None = strawberry.field(default=None, description="Ended in this range.")
    search: str | None = strawberry.field(
        default=None,
        description='With all of these words in its input, output, error, labels or key: `"in a row"`, `this or that`, '
        "`-without`. Only within a `created` range of at most 7 days that holds at most 10,000 executions.",
        directives=access("ExecutionFilter.search"),
    )

    @staticmethod
    def record(
        given: "ExecutionFilter | None", *, workflow_id: UUID | None = None
    ) -> model.ExecutionFilter:
        """As services take it; `workflow_id` narrows it to the workflow that it was asked on."""
        if given is None:
            return model.ExecutionFilter(workflow_id=(workflow_id,) if workflow_id else ())
        created, finished = given.created or TimeRange(), given.finished or TimeRange()
        wanted = tuple(known_workflow(each) for each in listed("workflowId", given.workflow_id))
        return model.ExecutionFilter(
            state=listed("status", given.status),
            workflow_id=_narrow(wanted, workflow_id),
            workflow_name=words("workflowName", given.workflow_name),
            version=str(given.version) if given.version else None,
            trigger=listed("trigger", given.trigger),
            labels=label_pairs(given.labels),
            namespace=words("namespace", given.namespace),
            idempotency_key=word("idempotencyKey", given.idempotency_key),
            created_from=created.from_,
            created_to=created.to,
            finished_from=finished.from_,
            finished_to=finished.to,
            search=word("search", given.search),
        )


def known_workflow(id: str) -> UUID:
    """The workflow that an id names in a filter."""
    # The nil UUID is nobody's: an id that can't exist matches nothing instead of restricting nothing.
    return workflow_uuid(id) or UUID(int=0)


def _narrow(wanted: tuple[UUID, ...], one: UUID | None) -> tuple[UUID, ...]:
    if one is None:
        return wanted
    return (one,) if not wanted or one in wanted else (UUID(int=0),)


@strawberry.input(description="Order of a list of executions.")
class ExecutionOrder:
    """Order of a list of executions."""

    field: ExecutionOrderField = strawberry.field(
        default=ExecutionOrderField.CREATED_AT,
        directives=access("ExecutionOrder.field"),
        description="What is compared. All but CREATED_AT only within a `created` range of at most 7 days that holds "
        "at most 50,000 executions; what has no such time yet stands where the latest would.",
    )
    direction: SortDirection = strawberry.field(
        default=SortDirection.DESC, description="Which end comes first."
    )

    @staticmethod
    def record(given: "ExecutionOrder | None") -> model.ExecutionOrder:
        """As services take it; the newest come first unless asked otherwise."""
        if given is None:
            return model.ExecutionOrder()
        return model.ExecutionOrder(given.field, descending=given.direction is SortDirection.DESC)


@strawberry.input(
    description="Which steps of an execution are shown; what is left out does not restrict."
)
class StepExecutionFilter:
    """Which steps of an execution are shown."""

    status: list[StepStatus] | None = strawberry.field(
        default=None, description="In one of these statuses."
    )
    type: list[str] | None = strawberry.field(default=None, description="Of one of these types.")
    keys: list[str] | None = strawberry.field(default=None, description="With one of these keys.")

    def admits(self, step: model.StepExecution) -> bool:
        """Whether a step is among those asked for."""
        return (
            (self.status is None or step.status in self.status)
            and (self.type is None or step.type in self.type)
            and (self.keys is None or step.key in self.keys)
        )


@built_from_what_was_sent
@strawberry.input(description="One execution to start. Name the workflow by id or by name.")
class EnqueueExecutionInput:
    """One execution to start."""

    workflow_id: strawberry.ID | None = strawberry.field(
        default=None, description="The workflow, by id."
    )
    workflow_name: str | None = strawberry.field(
        default=None, description="The workflow, by name within the namespace."
    )
    namespace: str = strawberry.field(
        default="default",
        description="Where the workflow's name is looked up and the execution lives.",
    )
    version: SemVer | None = strawberry.field(
        default=None, description="The version to run; the current one unless named."
    )
    input: JSON | None = strawberry.field(
        default=None, description="The parameters; checked against the version's schema."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="The same key and body give the first answer again (`created` is false); "
        "the same key with another body is refused.",
    )
    priority: int | None = strawberry.field(
        default=None, description="Higher goes first; 0 is normal. The definition's unless given."
    )
    run_at: datetime | None = strawberry.field(default=None, description="Not before this instant.")
    timeout: Duration | None = strawberry.field(
        default=None, description="The longest it may take; the definition's unless given."
    )
    labels: list[Label] | None = strawberry.field(
        default=None, description="Labels, added to those of the definition."
    )
    region: str | None = strawberry.field(default=None, description="Where it must run.")

    def request(self) -> model.EnqueueRequest:
        """As services take it; raises BadInput or NotFound for a workflow that can't be meant."""
        if (self.workflow_id is None) == (self.workflow_name is None):
            raise BadInput(
                "Name the workflow by `workflowId` or by `workflowName`.",
                reason="WORKFLOW_REFERENCE",
            )
        workflow_id = workflow_uuid(self.workflow_id) if self.workflow_id is not None else None
        if self.workflow_id is not None and workflow_id is None:
            raise NotFound(
                "There is no such workflow.", reason="WORKFLOW_NOT_FOUND", path=("workflowId",)
            )
        return model.EnqueueRequest(
            workflow_id=workflow_id,
            workflow_name=storable("workflowName", self.workflow_name),
            version=str(self.version) if self.version else None,
            input=cast("Json", self.input),
            idempotency_key=self.idempotency_key,
            priority=self.priority,
            run_at=self.run_at,
            timeout_ms=self.timeout.milliseconds if self.timeout else None,
            labels=label_dict(self.labels) or {},
            region=storable("region", self.region),
            namespace=storable("namespace", self.namespace),
        )


@strawberry.input(description="One execution to cancel.")
class CancelExecutionInput:
    """One execution to cancel."""

    execution_id: strawberry.ID = strawberry.field(description="Which one.")
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gives the first answer again."
    )
    compensate: bool = strawberry.field(
        default=False,
        description="Whether what its steps have done is undone, as far as they say how (`compensate`). What failed or "
        "timed out is undone unasked.",
    )


@strawberry.input(description="One execution to pause or to resume.")
class ExecutionActionInput:
    """One execution to pause or to resume."""

    execution_id: strawberry.ID = strawberry.field(description="Which one.")
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gives the first answer again."
    )


@strawberry.input(description="A signal for one execution.")
class SignalExecutionInput:
    """A signal for one execution."""

    execution_id: strawberry.ID = strawberry.field(description="Which one.")
    name: str = strawberry.field(description="The name that a `wait` step listens for.")
    payload: JSON | None = strawberry.field(
        default=None, description="Becomes the output of the step; at most 32 KiB of JSON."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="The same key and body send one signal, however often they are sent.",
    )


@strawberry.input(description="One ended execution to run again, as its next generation.")
class RetryExecutionInput:
    """One ended execution to run again."""

    execution_id: strawberry.ID = strawberry.field(description="Which one.")
    from_failed_step: bool = strawberry.field(
        default=True,
        description="Keep what completed and repeat the rest; false repeats everything.",
    )
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gives the first answer again."
    )


@strawberry.input(
    description="One ended execution to run again from a step, as its next generation."
)
class RewindExecutionInput:
    """One ended execution to run again from a step."""

    execution_id: strawberry.ID = strawberry.field(description="Which one.")
    step_key: str = strawberry.field(
        description="The step to go back to. It runs again with all that rests on it, and with what did not complete; "
        "every other step keeps its end."
    )
    input: JSON | None = strawberry.field(
        default=None,
        description="Another input for it from then on, as a whole; checked against the schema of the version that it "
        "runs. Left out or null: it keeps the one that it has.",
    )
    keep: list[str] = strawberry.field(
        default_factory=list,
        description="Steps behind that one whose calls stand: when their turn comes they end with what they gave, "
        "and call nobody.",
    )
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gives the first answer again."
    )


@strawberry.input(description="A word about a step that is in doubt: what became of its call.")
class ResolveInDoubtInput:
    """A word about a step that is in doubt."""

    execution_id: strawberry.ID = strawberry.field(description="The execution.")
    step_key: str = strawberry.field(description="Its step that is IN_DOUBT.")
    map_index: int | None = strawberry.field(
        default=None, description="Of a map: its item that is IN_DOUBT, from 0."
    )
    decision: DoubtDecision = strawberry.field(
        description="MADE: it counts as completed, with `output`. NOT_MADE: the call is made. FAIL: the "
        "step is given up."
    )
    output: JSON | None = strawberry.field(
        default=None,
        description="What the call gave; must fit the connector's output. Only with MADE.",
    )
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gives the first answer again."
    )

    def said(self) -> model.Resolution:
        """As services take it."""
        return model.Resolution(
            step_key=self.step_key,
            decision=self.decision,
            output=cast("Json", self.output),
            reason=self.reason,
            key=self.idempotency_key,
            item=self.map_index,
        )
