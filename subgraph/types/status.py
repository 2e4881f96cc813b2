"""The closed lists of the graph: statuses, what an execution waits for, what starts one. Words of the model itself."""

import strawberry

from runtime.model import execution as model
from runtime.model import workflow

ExecutionStatus = strawberry.enum(
    model.ExecutionState, name="ExecutionStatus", description="Where an execution is."
)
StepExecutionStatus = strawberry.enum(
    model.StepStatus, name="StepStatus", description="Where a step of an execution is."
)
WaitKind = strawberry.enum(model.WaitKind, description="What an execution can wait for.")
TriggerKind = strawberry.enum(model.TriggerKind, description="What can start an execution.")
WorkflowStatus = strawberry.enum(
    workflow.WorkflowStatus, description="Where a workflow is in its life."
)
