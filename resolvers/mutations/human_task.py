"""Changes of human tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import human_task_uuid
from resolvers.words import reason_of, storable
from runtime.model.errors import MaestroError
from runtime.model.human_task import HumanTask, NewHumanTask
from runtime.model.values import Json

# Nobody's: an id that can't exist is looked for like any other, and not found.
_NOBODYS = UUID(int=0)


async def create(context: Context, *, new: NewHumanTask, idempotency_key: str | None) -> HumanTask:
    """Begin a task that stands on its own."""
    return await context.human_tasks.create(context.who, new, key=idempotency_key)


async def update(
    context: Context, *, id: str, said: Mapping[str, Any], comment: str | None
) -> HumanTask:
    """Change what its owner may change; a comment alone is one."""
    return await context.human_tasks.update(context.who, _key(id), said, reason=reason_of(comment))


async def claim(context: Context, *, id: str, comment: str | None) -> HumanTask:
    """Take it."""
    return await context.human_tasks.claim(context.who, _key(id), reason=reason_of(comment))


async def release(context: Context, *, id: str, comment: str | None) -> HumanTask:
    """Give it back."""
    return await context.human_tasks.release(context.who, _key(id), reason=reason_of(comment))


async def assign(context: Context, *, id: str, assignee: str, comment: str | None) -> HumanTask:
    """Give it to somebody."""
    return await context.human_tasks.assign(
        context.who, _key(id), storable("assignee", assignee), reason=reason_of(comment)
    )


async def delegate(context: Context, *, id: str, assignee: str, comment: str | None) -> HumanTask:
    """Hand it on."""
    return await context.human_tasks.delegate(
        context.who, _key(id), storable("assignee", assignee), reason=reason_of(comment)
    )


async def escalate(context: Context, *, id: str, to: str | None, comment: str | None) -> HumanTask:
    """Do the next step of its escalation, or give it to somebody who is named."""
    return await context.human_tasks.escalate(
        context.who, _key(id), storable("to", to), reason=reason_of(comment)
    )


async def complete(
    context: Context,
    *,
    id: str,
    outcome: str,
    response: Json,
    comment: str | None,
    idempotency_key: str | None,
) -> HumanTask:
    """Answer it."""
    return await context.human_tasks.complete(
        context.who,
        _key(id),
        storable("outcome", outcome),
        response,
        reason=reason_of(comment),
        key=idempotency_key,
    )


async def assign_many(
    context: Context, *, ids: Sequence[str], assignee: str, comment: str | None
) -> list[HumanTask | MaestroError]:
    """Give several to somebody."""
    return await context.human_tasks.assign_many(
        context.who,
        [_key(one) for one in ids],
        storable("assignee", assignee),
        reason=reason_of(comment),
    )


async def complete_many(
    context: Context,
    *,
    ids: Sequence[str],
    outcome: str,
    response: Json,
    comment: str | None,
    idempotency_key: str | None,
) -> list[HumanTask | MaestroError]:
    """Give several the same answer."""
    return await context.human_tasks.complete_many(
        context.who,
        [_key(one) for one in ids],
        storable("outcome", outcome),
        response,
        reason=reason_of(comment),
        key=idempotency_key,
    )


async def cancel(context: Context, *, id: str, comment: str | None) -> HumanTask:
    """End it without an answer."""
    return await context.human_tasks.cancel(context.who, _key(id), reason=reason_of(comment))


def _key(id: str) -> UUID:
    return human_task_uuid(id) or _NOBODYS
