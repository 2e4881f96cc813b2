"""Reads of dead letters."""

from __future__ import annotations

from resolvers.context import Context
from runtime.model.dead_letter import DeadLetter, DeadLetterFilter
from runtime.model.page import Page, PageRequest


async def dead_letters(
    context: Context, *, filter: DeadLetterFilter, page: PageRequest
) -> Page[DeadLetter]:
    """A page of the tenant's dead letters, the newest first."""
    return await context.dead_letters.list(context.who, filter, page)


async def count_dead_letters(context: Context, *, filter: DeadLetterFilter) -> tuple[int, bool]:
    """How many a filter lets through, and whether counting stopped at its cap."""
    return await context.dead_letters.count(context.who, filter)
