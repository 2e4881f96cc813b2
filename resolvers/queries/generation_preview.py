"""Previews of the next generation of an execution."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import execution_uuid
from runtime.model.errors import NotFound
from runtime.model.generation_preview import GenerationPreview
from runtime.model.values import Json


async def retry_preview(context: Context, *, id: str, from_failed_step: bool) -> GenerationPreview:
    """What a retry of an execution would do now."""
    return await context.previews.retry(context.who, _key(id), from_failed_step=from_failed_step)


async def rewind_preview(
    context: Context, *, id: str, step_key: str, input: Json, keep: Sequence[str]
) -> GenerationPreview:
    """What a rewind of an execution, with this input if it is not None, would do now."""
    return await context.previews.rewind(context.who, _key(id), step_key, input=input, keep=keep)


def _key(id: str) -> UUID:
    key = execution_uuid(id)
    if key is None:
        raise NotFound("There is no such execution.", reason="EXECUTION_NOT_FOUND")
    return key
