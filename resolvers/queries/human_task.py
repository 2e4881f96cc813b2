"""Reads of human tasks."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import execution_uuid, human_task_uuid, workflow_uuid
from resolvers.words import is_storable
from runtime.model.human_task import HumanTask, HumanTaskChange, HumanTaskFilter
from runtime.model.page import Page, PageRequest

# Nobody's: an id that can't exist is looked for like any other, and not found.
_NOBODYS = UUID(int=0)


async def human_task(context: Context, *, id: str) -> HumanTask | None:
    """A task of the caller's tenant."""
    key = human_task_uuid(id)
    return await context.loaders.human_task.load(key) if key else None


async def human_tasks(
    context: Context,
    *,
    filter: HumanTaskFilter,
    page: PageRequest,
    workflow_id: str | None = None,
    execution_id: str | None = None,
) -> Page[HumanTask]:
    """A page of tasks; ids as callers write them go before those of the filter."""
    wanted = filter
    if workflow_id is not None:
        wanted = replace(wanted, workflow_id=workflow_uuid(workflow_id) or _NOBODYS)
    if execution_id is not None:
        wanted = replace(wanted, execution_id=execution_uuid(execution_id) or _NOBODYS)
    if not is_storable(wanted.group, wanted.assignee):
        return Page((), ())
    return await context.human_tasks.list(context.who, wanted, page)


async def history(context: Context, *, task: UUID, page: PageRequest) -> Page[HumanTaskChange]:
    """What happened to a task."""
    return await context.human_tasks.history(context.who, task, page)
