"""Reference to record, one function per federated key. A batch of references is one service call, by the loaders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import (
    AnyId,
    BulkOperationId,
    ExecutionId,
    HumanTaskId,
    VersionId,
    WorkflowId,
    bulk_operation_uuid,
    dead_letter_id,
    human_task_uuid,
    parse_id,
    version_uuid,
    workflow_uuid,
)
from resolvers.words import is_storable
from runtime.model.bulk import BulkOperation
from runtime.model.dead_letter import DeadLetter, DeadLetterId
from runtime.model.errors import MaestroError, NotFound
from runtime.model.execution import Execution, StepExecution, step_at
from runtime.model.human_task import HumanTask
from runtime.model.ids import StepExecutionId
from runtime.model.workflow import Workflow, WorkflowVersion

T = TypeVar("T", Workflow, WorkflowVersion)
Record = (
    Workflow | WorkflowVersion | Execution | StepExecution | DeadLetter | BulkOperation | HumanTask
)


async def workflow(context: Context, *, id: str | None, name: str | None) -> Workflow | None:
    """The workflow behind a reference by id, or by name in the namespace `default`."""
    if id is not None:
        key = workflow_uuid(id)
        return await context.loaders.workflow.load(key) if key else None
    if name is None or not is_storable(name):
        return None
    return await context.loaders.workflow_by_name.load(name)


async def version(context: Context, *, id: str) -> WorkflowVersion | None:
    """The version behind a reference."""
    key = version_uuid(id)
    return await context.loaders.version.load(key) if key else None


async def step_execution(context: Context, *, id: str) -> StepExecution | None:
    """The step behind a reference."""
    found = parse_id(id)
    return await _step(context, found) if isinstance(found, StepExecutionId) else None


async def dead_letter(context: Context, *, id: str) -> DeadLetter | None:
    """The dead letter behind a reference."""
    key = dead_letter_id(id)
    return await context.loaders.dead_letter.load(key) if key else None


async def bulk_operation(context: Context, *, id: str) -> BulkOperation | None:
    """The bulk operation behind a reference."""
    key = bulk_operation_uuid(id)
    return await context.loaders.bulk_operation.load(key) if key else None


async def human_task(context: Context, *, id: str) -> HumanTask | None:
    """The human task behind a reference."""
    key = human_task_uuid(id)
    return await context.loaders.human_task.load(key) if key else None


async def node(context: Context, *, id: str) -> Record | None:
    """Whatever an id names, or None when there is nothing for this caller."""
    return await _record(context, parse_id(id))


async def nodes(context: Context, *, ids: Sequence[str]) -> list[Record | MaestroError | None]:
    """What several ids name, in their order, in one call per kind; in the place of each that is refused, why."""
    return await asyncio.gather(*(_node_or_refusal(context, each) for each in ids))


async def _node_or_refusal(context: Context, id: str) -> Record | MaestroError | None:
    try:
        return await node(context, id=id)
    except MaestroError as refusal:
        return refusal


def still_there(record: T | None, noun: str, key: UUID) -> T:
    """The workflow or version that an execution names; raises NotFound when there is none any more."""
    if record is None:
        raise NotFound(f"The {noun} {key} of this execution is gone.")
    return record


async def _record(context: Context, id: AnyId | None) -> Record | None:
    match id:
        case WorkflowId(key):
            return await context.loaders.workflow.load(key)
        case VersionId(key):
            return await context.loaders.version.load(key)
        case ExecutionId(key):
            return await context.loaders.execution.load(key)
        case StepExecutionId():
            return await _step(context, id)
        case DeadLetterId():
            return await context.loaders.dead_letter.load(id)
        case BulkOperationId(key):
            return await context.loaders.bulk_operation.load(key)
        case HumanTaskId(key):
            return await context.loaders.human_task.load(key)
        case None:
            return None


async def _step(context: Context, id: StepExecutionId) -> StepExecution | None:
    if id.item >= 0:
        return await context.loaders.item.load((id.execution_id, id.step, id.item))
    steps = await context.loaders.steps.load(id.execution_id) or ()
    return step_at(steps, id.step)
