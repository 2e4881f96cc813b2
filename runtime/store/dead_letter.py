"""Dead letters in the database: read under row security, redriven and discarded by functions of the engine.

Those of executions are written by the takeover itself (`mc_takeover_3`), in the transaction that ends the execution;
those of messages by the worker that can't decode them (`mc_set_aside`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from runtime.model.dead_letter import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterId,
    DeadLetterStatus,
    LostWorker,
)
from runtime.model.errors import BadInput
from runtime.model.execution import ExecutionError
from runtime.model.identity import Actor
from runtime.model.page import Page, PageRequest
from runtime.model.values import Json
from runtime.store import cursor
from runtime.store.execution_row import actor_of
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements
from runtime.store.workflow import actor_json

_SQL: Final = statements("dead_letter")
_LISTING: Final = "dead_letters"

Decision = Literal["redrive", "discard"]


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a decision: the letter's status (None: there is no such letter)."""

    status: DeadLetterStatus | None
    changed: bool


class DeadLetterStore:
    """The dead letters, each beside its execution."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def get_many(
        self, tenant: UUID, ids: Sequence[DeadLetterId]
    ) -> dict[DeadLetterId, DeadLetter]:
        """Those that exist, by id."""
        letters: dict[DeadLetterId, DeadLetter] = {}
        for database, some in _grouped(self._shards, ids).items():
            keys = zip(*((i.execution_id, i.generation, i.message) for i in some), strict=True)
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_SQL["get_many"], tenant, *keys)
            letters |= {found.id: found for found in map(_letter_of, rows)}
        return letters

    async def page(
        self,
        tenant: UUID,
        wanted: DeadLetterFilter,
        request: PageRequest,
        homes: Sequence[Database],
    ) -> Page[DeadLetter]:
        """A page, the newest first, merged; a database that is away makes it partial."""
        size = cursor.check_size(request)
        after = _position(request.cursor)

        async def ask(database: Database) -> list[DeadLetter]:
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(
                    _SQL["page"], tenant, *_arguments(wanted), *after, size + 1
                )
            return [_letter_of(row) for row in rows]

        found = await self._shards.gather(homes, ask)
        merged = merge(*found.answers, key=_order, reverse=True)
        items = list(islice(merged, size + 1))
        page = cursor.page_of(request, items, [_cursor(item) for item in items])
        return replace(page, silent=found.silent) if found.silent else page

    async def redrivable(
        self, tenant: UUID, wanted: DeadLetterFilter, limit: int, homes: Sequence[Database]
    ) -> list[DeadLetterId]:
        """The newest that can be redriven as things are; a database that is away has none."""

        async def ask(database: Database) -> list[Any]:
            async with database.tenant(tenant) as connection:
                rows: list[Any] = await connection.fetch(
                    _SQL["redrivable"], tenant, *_arguments(wanted), limit
                )
                return rows

        found = await self._shards.gather(homes, ask)
        rows = islice(merge(*found.answers, key=itemgetter("created_at"), reverse=True), limit)
        return [
            DeadLetterId(row["execution_id"], row["generation"], row["message"]) for row in rows
        ]

    async def count(
        self, tenant: UUID, wanted: DeadLetterFilter, cap: int, homes: Sequence[Database]
    ) -> tuple[int, bool]:
        """How many there are, counted up to a cap, and whether there are more, or may be."""

        async def ask(database: Database) -> int:
            async with database.tenant(tenant) as connection:
                found: int = await connection.fetchval(
                    _SQL["count"], tenant, *_arguments(wanted), cap + 1
                )
                return found

        found = await self._shards.gather(homes, ask)
        total = sum(found.answers)
        return min(total, cap), total > cap or bool(found.silent)

    @staticmethod
    async def decide(
        connection: Any,
        decision: Decision,
        shard: int,
        tenant: UUID,
        id: DeadLetterId,
        *,
        actor: Actor,
        reason: str | None,
        event: Json,
    ) -> Decided:
        """Redrive or discard an open letter, within the caller's transaction."""
        row = await connection.fetchrow(
            _SQL[decision],
            shard,
            tenant,
            id.execution_id,
            id.generation,
            id.message,
            orjson.dumps(actor_json(actor)).decode(),
            reason,
            orjson.dumps(event).decode(),
        )
        status = DeadLetterStatus(row["status"]) if row["known"] else None
        return Decided(status, row["changed"])


def _grouped(shards: Shards, ids: Sequence[DeadLetterId]) -> dict[Database, list[DeadLetterId]]:
    """Letters by the database that holds them."""
    found: defaultdict[Database, list[DeadLetterId]] = defaultdict(list)
    for one in ids:
        found[shards.holding(one.execution_id)].append(one)
    return found


def _order(letter: DeadLetter) -> tuple[datetime, UUID, int, int]:
    return letter.created_at, letter.execution_id, letter.generation, letter.message


def _arguments(wanted: DeadLetterFilter) -> tuple[object, ...]:
    status = [int(each) for each in wanted.status] or None
    return status, wanted.execution_id, wanted.queue, wanted.created_from, wanted.created_to


def _cursor(letter: DeadLetter) -> str:
    at = letter.created_at.isoformat()
    return cursor.encode(_LISTING, at, str(letter.execution_id), letter.generation, letter.message)


def _position(text: str | None) -> tuple[datetime | None, UUID | None, int | None, int | None]:
    if text is None:
        return None, None, None, None
    at, execution, generation, message = cursor.decode(_LISTING, text, 4)
    try:
        return datetime.fromisoformat(at), UUID(execution), int(generation), int(message)
    except (TypeError, ValueError):
        raise BadInput("This is not a cursor of this list.", reason="BAD_CURSOR") from None


def _letter_of(row: Any) -> DeadLetter:
    error, evidence, by = row["error"], row["evidence"], row["decided_by"]
    return DeadLetter(
        execution_id=row["execution_id"],
        generation=row["generation"],
        tenant_id=row["tenant_id"],
        queue=row["queue"],
        status=DeadLetterStatus(row["status"]),
        reason=row["reason"],
        error=ExecutionError(error["type"], error["message"], retryable=error["retryable"]),
        losses=row["losses"],
        lost=tuple(
            LostWorker(
                each["worker"],
                datetime.fromisoformat(each["started_at"]),
                datetime.fromisoformat(each["lost_at"]),
            )
            for each in evidence.get("lost") or ()
        ),
        events=tuple(evidence.get("events") or ()),
        created_at=row["created_at"],
        decided_at=row["decided_at"],
        decided_by=None if by is None else actor_of(by),
        decision_reason=row["decision_reason"],
        message=row["message"],
        said=evidence.get("message"),
    )
