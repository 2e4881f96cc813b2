"""The closed lists of the graph: the model's own enums, under the names that the graph has for them.

Fields carry the model's values as they are; this says how they are written. One table of words for all faces.
"""

from typing import TypeAlias

import strawberry

from runtime.model import (
    blocker,
    breaker,
    bulk,
    change,
    dead_letter,
    errors,
    event,
    event_handler,
    execution,
    execution_comparison,
    execution_migration,
    execution_replay,
    generation_preview,
    human_task,
    identity,
    plan,
    tenant_settings,
    workflow,
    workflow_diff,
)

ActorKind: TypeAlias = identity.ActorKind
BlockCause: TypeAlias = blocker.BlockCause
BreakerState: TypeAlias = breaker.BreakerState
Backoff: TypeAlias = plan.Backoff
BulkAction: TypeAlias = bulk.BulkAction
BulkEffect: TypeAlias = bulk.BulkEffect
BulkOperationStatus: TypeAlias = bulk.BulkState
BulkOutcome: TypeAlias = bulk.BulkOutcome
ChangeKind: TypeAlias = workflow_diff.ChangeKind
Compatibility: TypeAlias = workflow_diff.Compatibility
DeadLetterStatus: TypeAlias = dead_letter.DeadLetterStatus
DivergenceKind: TypeAlias = execution_replay.DivergenceKind
DoubtDecision: TypeAlias = execution.DoubtDecision
DefinitionFormat: TypeAlias = workflow.DefinitionFormat
Effect: TypeAlias = plan.Effect
EventHandlerState: TypeAlias = event_handler.HandlerState
ExecutionDifference: TypeAlias = execution_comparison.ExecutionDifference
ExecutionEventType: TypeAlias = event.EventKind
ExecutionOrderField: TypeAlias = execution.ExecutionOrderField
ExecutionStatus: TypeAlias = execution.ExecutionState
HumanTaskChangeKind: TypeAlias = human_task.HumanTaskChangeKind
HumanTaskStatus: TypeAlias = human_task.HumanTaskStatus
MigrationObstacle: TypeAlias = execution_migration.MigrationObstacle
MigrationVerdict: TypeAlias = execution_migration.MigrationVerdict
PreviewAction: TypeAlias = generation_preview.PreviewAction
Severity: TypeAlias = errors.Severity
SettingName: TypeAlias = tenant_settings.SettingName
StepDifference: TypeAlias = execution_comparison.StepDifference
StepStatus: TypeAlias = execution.StepStatus
TriggerKind: TypeAlias = execution.TriggerKind
UpdateKind: TypeAlias = change.UpdateKind
VersionBump: TypeAlias = workflow_diff.VersionBump
WaitKind: TypeAlias = execution.WaitKind
WorkflowOrderField: TypeAlias = workflow.WorkflowOrderField
WorkflowStatus: TypeAlias = workflow.WorkflowStatus
WorkflowVersionState: TypeAlias = workflow.VersionState

strawberry.enum(ActorKind, description="What kind of being acted.")
strawberry.enum(
    BlockCause,
    description="Why a step is not running. They are asked for in this order: the first that holds is the cause.",
)
strawberry.enum(BreakerState, description="Where a circuit breaker stands.")
strawberry.enum(Backoff, description="How the delay between attempts grows.")
strawberry.enum(ChangeKind, description="What became of a field.")
strawberry.enum(
    Compatibility,
    description="Whether those who start the workflow, send it signals or read its outputs notice.",
)
strawberry.enum(SettingName, description="What can be set for a tenant or a workflow.")
strawberry.enum(BulkAction, description="What can be done to many executions.")
strawberry.enum(BulkEffect, description="What an action does to an execution in a status.")
strawberry.enum(
    BulkOperationStatus,
    name="BulkOperationStatus",
    description="Whether a bulk operation runs, and how it ended.",
)
strawberry.enum(BulkOutcome, description="What became of one execution of a bulk operation.")
strawberry.enum(DeadLetterStatus, description="What was decided about a dead letter.")
strawberry.enum(
    DivergenceKind,
    description="In what a replay and the record of an execution do not agree. EVENT, ROW: another one follows. INPUT: "
    "an input, rendered again, has another digest. OUTPUT: a stored output is not what its digest says. RESULT: the "
    "execution's end. DEFINITION: the version. EXECUTED: a pure step, run again, gives something else.",
)
strawberry.enum(
    DoubtDecision, description="What a person says of a call that may or may not have been made."
)
strawberry.enum(DefinitionFormat, description="The spelling that a document is written in.")
strawberry.enum(Effect, description="What a second call of the same step would do outside.")
strawberry.enum(
    EventHandlerState, name="EventHandlerState", description="How an event handler does."
)
strawberry.enum(
    ExecutionEventType, name="ExecutionEventType", description="What can happen to an execution."
)
strawberry.enum(ExecutionOrderField, description="What a list of executions can be sorted by.")
strawberry.enum(ExecutionStatus, name="ExecutionStatus", description="Where an execution is.")
strawberry.enum(HumanTaskChangeKind, description="What can happen to a human task.")
strawberry.enum(
    HumanTaskStatus,
    description="Where a human task stands. OPEN: nobody has it. ASSIGNED: it was given to somebody. CLAIMED: its "
    "assignee works on it. ESCALATED: it went on to others, because it was late or somebody asked for that. COMPLETED, "
    "EXPIRED, CANCELLED: it is over.",
)
strawberry.enum(
    PreviewAction,
    description="What becomes of a step in the next generation. RUN: it runs again when its turn comes, unless a "
    "condition, a gateway or a failure of that generation leaves it out. REUSE: how it ended, and its output, is kept.",
)
strawberry.enum(
    MigrationVerdict,
    description="Whether an execution could go on with another version. SAFE: all that has begun is the same there. "
    "NEEDS_MAPPING: a step that has begun has no namesake there. IMPOSSIBLE: its record would mean something else.",
)
strawberry.enum(
    MigrationObstacle,
    description="Why an execution can't go on with another version: STEP_*: a step that has begun, ended or was "
    "skipped is another one there; CONCURRENCY: it holds a place by another key; INPUT: its input is not taken as it "
    "is; ENDING: it ends; CHILD: its parent has chosen the version; STATE: by its rows it would stand otherwise.",
)
strawberry.enum(Severity, description="How bad a finding is: an error refuses, a warning does not.")
strawberry.enum(
    ExecutionDifference,
    description="In what two executions differ as a whole; PATH: in which steps ran.",
)
strawberry.enum(
    StepDifference,
    description="In what a step of two executions differs; PRESENCE: only one of them has it.",
)
strawberry.enum(StepStatus, description="Where a step of an execution is.")
strawberry.enum(TriggerKind, description="What can start an execution.")
strawberry.enum(
    UpdateKind,
    description="What an object is to those who watch a list: new in it, still in it, or no longer.",
)
strawberry.enum(VersionBump, description="Which part of a version's number rises.")
strawberry.enum(WaitKind, description="What an execution can wait for.")
strawberry.enum(WorkflowOrderField, description="What a list of workflows can be sorted by.")
strawberry.enum(WorkflowStatus, description="Where a workflow is in its life.")
strawberry.enum(
    WorkflowVersionState, name="WorkflowVersionState", description="Where a version is in its life."
)
