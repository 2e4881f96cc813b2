"""Reads of workflows and their versions."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from resolvers.ids import workflow_uuid
from resolvers.words import is_storable
from runtime.definition import Validation
from runtime.model.errors import BadInput, NotFound
from runtime.model.page import Page, PageRequest
from runtime.model.values import SemVer
from runtime.model.workflow import (
    DefinitionFormat,
    Workflow,
    WorkflowDiff,
    WorkflowFilter,
    WorkflowOrder,
    WorkflowVersion,
)


async def workflow(
    context: Context, *, id: str | None, name: str | None, namespace: str
) -> Workflow | None:
    """The workflow of this id or name; raises BadInput when neither or both are given."""
    if (id is None) == (name is None):
        raise BadInput("Name the workflow by `id` or by `name`.", reason="WORKFLOW_REFERENCE")
    if not is_storable(name, namespace):
        return None
    if name is not None:
        return await context.workflows.find(context.who, name=name, namespace=namespace)
    key = workflow_uuid(id or "")
    return await context.loaders.workflow.load(key) if key else None


async def workflows(
    context: Context, *, filter: WorkflowFilter, order: WorkflowOrder, page: PageRequest
) -> Page[Workflow]:
    """A page of the tenant's workflows."""
    return await context.workflows.list(context.who, filter, order, page)


async def count_workflows(context: Context, *, filter: WorkflowFilter) -> int:
    """How many workflows a filter lets through."""
    return await context.workflows.count(context.who, filter)


async def versions(
    context: Context, *, workflow_id: UUID, page: PageRequest
) -> Page[WorkflowVersion]:
    """A page of a workflow's published versions, highest first."""
    return await context.workflows.versions(context.who, workflow_id, page)


async def version(
    context: Context, *, workflow_id: UUID, version: SemVer
) -> WorkflowVersion | None:
    """One published version of a workflow."""
    return await context.workflows.version(context.who, workflow_id, version)


async def diff(
    context: Context, *, workflow_id: UUID, before: SemVer, after: SemVer | None
) -> WorkflowDiff:
    """What differs between two versions of a workflow; without a second one, what its draft changes."""
    return await context.loaders.diff.load((workflow_id, before, after))


async def diff_by_id(
    context: Context, *, id: str, before: SemVer, after: SemVer | None
) -> WorkflowDiff:
    """The same for a workflow that is named by its id; raises NotFound when there is none."""
    key = workflow_uuid(id)
    if key is None:
        raise NotFound(f"There is no workflow {id[:64]!r}.", reason="WORKFLOW_NOT_FOUND")
    return await diff(context, workflow_id=key, before=before, after=after)


async def validate(context: Context, *, source: str, format: DefinitionFormat | None) -> Validation:
    """The findings that publishing would have."""
    return await context.loaders.validation.load((source, format))
