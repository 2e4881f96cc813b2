"""Decisions about dead letters: redrive, discard."""

from __future__ import annotations

from collections.abc import Sequence

from resolvers.context import Context
from resolvers.ids import dead_letter_id
from resolvers.words import reason_of
from runtime.model.dead_letter import DeadLetter, DeadLetterFilter, DeadLetterId
from runtime.model.errors import NotFound


async def redrive(
    context: Context,
    *,
    ids: Sequence[str],
    filter: DeadLetterFilter | None,
    reason: str | None,
    limit: int,
) -> tuple[list[DeadLetter], int]:
    """Run their executions again; the letters, and how many changed."""
    return await context.dead_letters.redrive(
        context.who,
        ids=_keys(ids),
        filter=filter,
        reason=reason_of(reason),
        limit=limit,
    )


async def discard(
    context: Context,
    *,
    ids: Sequence[str],
    filter: DeadLetterFilter | None,
    reason: str | None,
    limit: int,
) -> tuple[list[DeadLetter], int]:
    """Leave them dead; the letters, and how many changed."""
    return await context.dead_letters.discard(
        context.who,
        ids=_keys(ids),
        filter=filter,
        reason=reason_of(reason),
        limit=limit,
    )


def _keys(ids: Sequence[str]) -> list[DeadLetterId]:
    return [_key(each) for each in ids]


def _key(id: str) -> DeadLetterId:
    key = dead_letter_id(id)
    if key is None:
        raise NotFound(
            f"There is no dead letter {id[:64]!r}.", reason="DEAD_LETTER_NOT_FOUND", path=("ids",)
        )
    return key
