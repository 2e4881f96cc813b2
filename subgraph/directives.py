"""What the graph says to gateways: who may use a field (the one access table), and what a field costs.

`ACCESS` is the only place where a root field meets a scope. The directives printed into the SDL come from it; a test
holds it against what the services really refuse, so the SDL can't promise what nobody checks.
"""

from __future__ import annotations

from typing import Final

from strawberry.federation.schema_directives import (
    Authenticated,
    Cost,
    ListSize,
    RequiresScopes,
    Tag,
)
from strawberry.types.unset import UNSET

# Field to scope. None: any verified caller; the service asks for the scope of reading that noun.
ACCESS: Final[dict[str, str | None]] = {
    "Query.node": None,
    "Query.nodes": None,
    "Query.workflow": None,
    "Query.workflows": None,
    "Query.workflowDiff": None,
    "Query.validateWorkflow": None,
    "Query.simulateWorkflow": None,
    "Query.execution": None,
    "Query.executionByIdempotencyKey": None,
    "Query.executions": None,
    "Query.executionStats": None,
    "Query.circuitBreakers": None,
    "Query.deadLetters": "executions:admin",
    "Query.eventHandlers": "executions:admin",
    "Mutation.createWorkflow": "workflows:write",
    "Mutation.updateWorkflow": "workflows:write",
    "Mutation.publishWorkflow": "workflows:publish",
    "Mutation.deprecateWorkflowVersion": "workflows:publish",
    "Mutation.archiveWorkflowVersion": "workflows:publish",
    "Mutation.archiveWorkflow": "workflows:write",
    "Mutation.deleteWorkflow": "workflows:write",
    "Mutation.enqueueExecution": "executions:write",
    "Mutation.enqueueExecutions": "executions:write",
    "Mutation.cancelExecution": "executions:write",
    "Mutation.pauseExecution": "executions:write",
    "Mutation.resumeExecution": "executions:write",
    "Mutation.signalExecution": "executions:write",
    "Mutation.retryExecution": "executions:write",
    "Mutation.resolveInDoubt": "executions:write",
    "Mutation.redriveDeadLetters": "executions:admin",
    "Mutation.discardDeadLetters": "executions:admin",
    "Subscription.executionEvents": None,
    "Subscription.executionLogs": None,
    "Subscription.executions": None,
}

# Whose work a scope is, where it is not everybody's: `@tag`s by which a contract leaves their fields out of a graph.
AUDIENCE: Final = {
    "executions:admin": "operator",
    "workflows:write": "author",
    "workflows:publish": "author",
}


def access(field: str) -> list[object]:
    """The directives that say who may use a root field, and for whom it is."""
    scope = ACCESS[field]
    if scope is None:
        return [Authenticated()]
    tags = [Tag(name=AUDIENCE[scope])] if scope in AUDIENCE else []
    return [RequiresScopes(scopes=[[scope]]), *tags]


def access_of_type() -> list[object]:
    """The directive of entity types: a gateway asks for a verified caller before it comes here."""
    return [Authenticated()]


def weight(cost: int) -> object:
    """What a field costs, where it is more than its default of one."""
    return Cost(weight=cost)


def paged(*, backward: bool = False) -> object:
    """A connection's size for gateways that count cost: its `first` (or `last`)."""
    return ListSize(
        assumed_size=UNSET,
        slicing_arguments=["first", "last"] if backward else ["first"],
        sized_fields=["edges"],
        require_one_slicing_argument=False,
    )


def sized(items: int) -> object:
    """The size that gateways assume for a plain list."""
    return ListSize(
        assumed_size=items,
        slicing_arguments=UNSET,
        sized_fields=UNSET,
        require_one_slicing_argument=UNSET,
    )
