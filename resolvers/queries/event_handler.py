"""Reads of event handlers."""

from __future__ import annotations

from resolvers.context import Context
from runtime.model.event_handler import HandlerStatus


async def event_handlers(context: Context) -> list[HandlerStatus]:
    """How each of them does."""
    return await context.handlers.list(context.who)
