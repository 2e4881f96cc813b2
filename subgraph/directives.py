"""What the graph says to gateways: who may use a field, whose work it is, what it costs, how long its list is.

`ACCESS` is the one table of it: a field names its row, `access("Execution.steps")`, and has no such directive of its
own. What the SDL prints, what documents are counted by, and what a gateway reads come from here; tests hold the table
against the SDL, row by row, and its scopes against what the services really refuse, so the SDL can't promise what
nobody checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strawberry.federation.schema_directives import (
    Authenticated,
    Cost,
    ListSize,
    RequiresScopes,
    Tag,
)
from strawberry.types.unset import UNSET

ROOTS: Final = ("Query", "Mutation", "Subscription")
_FIRST: Final = ("first",)
_BOTH: Final = ("first", "last")
# A list that reads through a range of creation instead of a page of an index, by what one of 5,000 executions takes:
# ten pages of fifty for a search, which looks into texts, three for another order (`make bench BENCH=listing`).
_SEARCH: Final = 1_000
_OTHER_ORDER: Final = 300
# A whole history that is read and folded, of up to some ten thousand events.
_HISTORY: Final = 50
# A value of up to a megabyte, and one that is derived from others when it is asked for.
_VALUE: Final = 2
_DERIVED: Final = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: of a type (`Execution`), of a field or of an input's field (`Execution.steps`), of an argument.

    `scope` is what a caller needs for a root field; without one any verified caller may ask, and the service asks
    for the scope of reading that noun. A type asks for a verified caller. `sees` is the scope without which a
    field is null, and no error: the services leave it out, and no gateway is told.

    `cost` is the weight of `@cost`. `length` is how many items a plain list is taken to have; a connection is as
    long as the largest of the arguments that `slices` names.
    """

    scope: str | None = None
    sees: str | None = None
    cost: int | None = None
    length: int | None = None
    slices: tuple[str, ...] = ()


ACCESS: Final[dict[str, Rule]] = {
    "BulkOperation": Rule(),
    "DeadLetter": Rule(),
    "Execution": Rule(),
    "HumanTask": Rule(),
    "ExecutionEvent": Rule(),
    "StepExecution": Rule(),
    "Workflow": Rule(),
    "WorkflowVersion": Rule(),
    "Query.node": Rule(),
    "Query.nodes": Rule(length=20),
    "Query.workflow": Rule(),
    "Query.workflows": Rule(slices=_BOTH),
    "Query.workflowDiff": Rule(cost=10),
    "Query.validateWorkflow": Rule(cost=10),
    "Query.simulateWorkflow": Rule(cost=20),
    "Query.execution": Rule(),
    "Query.execution.at": Rule(cost=_HISTORY),
    "Query.executionByIdempotencyKey": Rule(),
    "Query.compareExecutions": Rule(cost=20),
    "Query.replayExecution": Rule(cost=50),
    "Query.retryPreview": Rule(cost=20),
    "Query.migrationPreview": Rule(cost=20, slices=_FIRST),
    "Query.rewindPreview": Rule(cost=20),
    "Query.executions": Rule(slices=_BOTH),
    "Query.executionStats": Rule(cost=5),
    "Query.circuitBreakers": Rule(length=10),
    "Query.bulkOperation": Rule(),
    "Query.bulkOperationPreview": Rule("executions:write", cost=100),
    "Query.bulkOperations": Rule(slices=_FIRST),
    "Query.deadLetters": Rule("executions:admin", slices=_FIRST),
    "Query.humanTask": Rule(),
    "Query.humanTasks": Rule(slices=_FIRST),
    "Query.tenantSettings": Rule(),
    "Query.eventHandlers": Rule("executions:admin", length=10),
    "Mutation.createWorkflow": Rule("workflows:write", cost=10),
    "Mutation.updateWorkflow": Rule("workflows:write", cost=10),
    "Mutation.publishWorkflow": Rule("workflows:publish", cost=10),
    "Mutation.deprecateWorkflowVersion": Rule("workflows:publish", cost=10),
    "Mutation.archiveWorkflowVersion": Rule("workflows:publish", cost=10),
    "Mutation.archiveWorkflow": Rule("workflows:write", cost=10),
    "Mutation.deleteWorkflow": Rule("workflows:write", cost=10),
    "Mutation.enqueueExecution": Rule("executions:write", cost=10),
    "Mutation.enqueueExecutions": Rule("executions:write", cost=50),
    "Mutation.cancelExecution": Rule("executions:write", cost=10),
    "Mutation.pauseExecution": Rule("executions:write", cost=10),
    "Mutation.resumeExecution": Rule("executions:write", cost=10),
    "Mutation.signalExecution": Rule("executions:write", cost=10),
    "Mutation.retryExecution": Rule("executions:write", cost=10),
    "Mutation.rewindExecution": Rule("executions:write", cost=10),
    "Mutation.resolveInDoubt": Rule("executions:write", cost=10),
    "Mutation.startBulkOperation": Rule("executions:write", cost=20),
    "Mutation.stopBulkOperation": Rule("executions:write", cost=10),
    "Mutation.redriveDeadLetters": Rule("executions:admin", cost=20),
    "Mutation.createHumanTask": Rule("tasks:write", cost=10),
    "Mutation.updateHumanTask": Rule("tasks:write", cost=10),
    "Mutation.assignHumanTask": Rule("tasks:write", cost=10),
    "Mutation.assignHumanTasks": Rule("tasks:write", cost=50),
    "Mutation.completeHumanTasks": Rule("tasks:write", cost=50),
    "Mutation.claimHumanTask": Rule("tasks:write", cost=10),
    "Mutation.releaseHumanTask": Rule("tasks:write", cost=10),
    "Mutation.delegateHumanTask": Rule("tasks:write", cost=10),
    "Mutation.escalateHumanTask": Rule("tasks:write", cost=10),
    "Mutation.completeHumanTask": Rule("tasks:write", cost=10),
    "Mutation.cancelHumanTask": Rule("tasks:write", cost=10),
    "Mutation.updateTenantSettings": Rule("settings:write", cost=10),
    "TenantSettingsPayload.errors": Rule(length=5),
    "Mutation.discardDeadLetters": Rule("executions:admin", cost=20),
    "Subscription.executionEvents": Rule(),
    "Subscription.executionLogs": Rule(),
    "Subscription.executions": Rule(cost=20),
    "Blocker.assignees": Rule(length=3),
    "Blocker.candidateGroups": Rule(length=2),
    "Blocker.holders": Rule(length=3),
    "Blocker.steps": Rule(length=3),
    "Blocker.tags": Rule(length=2),
    "BulkOperation.results": Rule(slices=_FIRST),
    "BulkOperationPayload.errors": Rule(length=5),
    "BulkOperationPreview.sample": Rule(cost=2, length=10),
    "BulkOperationPreview.shares": Rule(length=5),
    "BulkResult.execution": Rule(cost=2),
    "DeadLetter.lostWorkers": Rule(length=3),
    "DeadLetterConnection.totalCount": Rule(cost=5),
    "DeadLettersPayload.deadLetters": Rule(length=100),
    "DeadLettersPayload.errors": Rule(length=5),
    "EnqueueExecutionPayload.errors": Rule(length=5),
    "EnqueueExecutionsPayload.errors": Rule(length=5),
    "EnqueueExecutionsPayload.results": Rule(length=100),
    "EventHandler.passedBy": Rule(length=10),
    "Execution.blockedBy": Rule(cost=5),
    "Execution.children": Rule(cost=2, slices=_FIRST),
    "Execution.cost": Rule(length=1),
    "Execution.events": Rule(slices=_FIRST),
    "Execution.humanTasks": Rule(cost=2, slices=_FIRST),
    "Execution.input": Rule(cost=_VALUE),
    "Execution.labels": Rule(length=5),
    "Execution.logs": Rule(slices=_FIRST),
    "Execution.output": Rule(cost=_VALUE),
    "Execution.parent": Rule(cost=2),
    "Execution.steps": Rule(length=50),
    "Execution.stepsConnection": Rule(slices=_FIRST),
    "ExecutionComparison.differences": Rule(length=3),
    "ExecutionComparison.pathA": Rule(length=50),
    "ExecutionComparison.pathB": Rule(length=50),
    "ExecutionComparison.steps": Rule(length=50),
    "ExecutionConnection.totalCount": Rule(cost=5),
    "ExecutionConnection.totalCountIsCapped": Rule(cost=5),
    "ExecutionEvent.data": Rule(cost=1),
    "ExecutionError.stack": Rule(sees="executions:debug", cost=1),
    "ExecutionFilter.search": Rule(cost=_SEARCH),
    "ExecutionOrder.field": Rule(cost=_OTHER_ORDER),
    "ExecutionPayload.errors": Rule(length=5),
    "ExecutionStats.cost": Rule(length=1),
    "GenerationPreview.steps": Rule(length=50),
    "HumanTask.answers": Rule(length=2),
    "HumanTask.attachments": Rule(length=3),
    "HumanTask.candidateGroups": Rule(length=3),
    "HumanTask.candidateUsers": Rule(length=3),
    "HumanTask.escalations": Rule(length=3),
    "HumanTask.excluded": Rule(length=2),
    "HumanTask.execution": Rule(cost=2),
    "HumanTask.history": Rule(slices=_FIRST),
    "HumanTask.notified": Rule(length=2),
    "HumanTask.outcomes": Rule(length=3),
    "HumanTaskEscalation.candidateGroups": Rule(length=2),
    "HumanTaskEscalation.notify": Rule(length=2),
    "HumanTaskPayload.errors": Rule(length=5),
    "HumanTasksPayload.errors": Rule(length=5),
    "HumanTasksPayload.results": Rule(length=20),
    "PublishWorkflowPayload.errors": Rule(length=5),
    "PublishWorkflowPayload.findings": Rule(length=20),
    "RepeatedCalls.childExecution": Rule(cost=2),
    "SimulatedStep.reads": Rule(length=5),
    "LogLine.fields": Rule(cost=1),
    "LogLine.stack": Rule(sees="executions:debug"),
    "MigrationPreview.execution": Rule(cost=2),
    "MigrationPreview.findings": Rule(length=3),
    "StepDiff.changes": Rule(length=10),
    "StepComparison.differences": Rule(length=3),
    "StepExecution.attempts": Rule(length=3),
    "StepExecution.blockedBy": Rule(cost=2),
    "StepExecution.childExecution": Rule(cost=2),
    "StepExecution.compensation": Rule(cost=1),
    "StepExecution.cost": Rule(length=1),
    "StepExecution.input": Rule(cost=_DERIVED),
    "StepExecution.items": Rule(cost=10, slices=_FIRST),
    "StepExecution.logs": Rule(slices=_FIRST),
    "StepExecution.output": Rule(cost=_VALUE),
    "StepExecution.progress": Rule(cost=10),
    "Workflow.diff": Rule(cost=10),
    "Workflow.executions": Rule(slices=_FIRST),
    "Workflow.labels": Rule(length=5),
    "Workflow.stats": Rule(cost=5),
    "Workflow.versions": Rule(slices=_FIRST),
    "WorkflowConnection.totalCount": Rule(cost=5),
    "WorkflowDiff.added": Rule(length=20),
    "WorkflowDiff.changed": Rule(length=20),
    "WorkflowDiff.effects": Rule(length=10),
    "WorkflowDiff.hashes": Rule(length=50),
    "WorkflowDiff.metadata": Rule(length=20),
    "WorkflowDiff.moved": Rule(length=20),
    "WorkflowDiff.removed": Rule(length=20),
    "WorkflowPayload.errors": Rule(length=5),
    "WorkflowPayload.findings": Rule(length=20),
    "WorkflowSimulation.cost": Rule(length=2),
    "WorkflowSimulation.errors": Rule(length=5),
    "WorkflowSimulation.events": Rule(length=100),
    "WorkflowSimulation.findings": Rule(length=20),
    "WorkflowSimulation.humanTasks": Rule(length=10),
    "WorkflowSimulation.plan": Rule(length=50),
    "WorkflowSimulation.timers": Rule(length=10),
    "WorkflowSimulation.unknownDurations": Rule(length=20),
    "WorkflowValidation.findings": Rule(length=20),
    "WorkflowVersion.definition": Rule(cost=_VALUE),
    "WorkflowVersion.inputSchema": Rule(cost=_VALUE),
    "WorkflowVersion.source": Rule(cost=_VALUE),
    "WorkflowVersion.steps": Rule(length=50),
}

# Whose work a scope is, where it is not everybody's: `@tag`s by which a contract leaves their fields out of a graph.
AUDIENCE: Final = {
    "executions:admin": "operator",
    "settings:write": "operator",
    "workflows:write": "author",
    "workflows:publish": "author",
}


def access(place: str) -> list[object]:
    """The directives of a type or a field, from its row; raises KeyError when it has none."""
    rule = ACCESS[place]
    return [*_who(place, rule.scope), *_cost(rule), *_size(rule)]


def _who(place: str, scope: str | None) -> list[object]:
    if scope is not None:
        tags = [Tag(name=AUDIENCE[scope])] if scope in AUDIENCE else []
        return [RequiresScopes(scopes=[[scope]]), *tags]
    # An entity too: a gateway asks for a verified caller before it comes here.
    kind, *field = place.split(".")
    is_door = not field or (kind in ROOTS and len(field) == 1)
    return [Authenticated()] if is_door else []


def _cost(rule: Rule) -> list[object]:
    return [] if rule.cost is None else [Cost(weight=rule.cost)]


def _size(rule: Rule) -> list[object]:
    if rule.slices:
        return [
            ListSize(
                assumed_size=UNSET,
                slicing_arguments=list(rule.slices),
                sized_fields=["edges"],
                require_one_slicing_argument=False,
            )
        ]
    if rule.length is None:
        return []
    return [
        ListSize(
            assumed_size=rule.length,
            slicing_arguments=UNSET,
            sized_fields=UNSET,
            require_one_slicing_argument=UNSET,
        )
    ]
