"""Bulk operations in the database of the catalog: previewed, started, worked on under a lease, read by people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.bulk import BulkDeed, BulkOperation, BulkOutcome, BulkResult, BulkState
from runtime.model.errors import BadInput, InvalidState, NotFound
from runtime.model.identity import Actor
from runtime.model.page import Page, PageRequest
from runtime.model.values import Json
from runtime.store import cursor
from runtime.store.execution_row import actor_of
from runtime.store.idempotency import body_digest
from runtime.store.pool import Database
from runtime.store.statements import statements
from runtime.store.workflow import actor_json

PREVIEW_SECONDS: Final = 900.0
KEPT_SECONDS: Final = 30 * 86_400.0
# Whoever works on an operation commits its progress every second or so; so long after its last word it is lost.
LEASE_SECONDS: Final = 30.0
MOST_PREVIEWS: Final = 20
MOST_RUNNING: Final = 10
_SWEPT: Final = 20
_PREVIEWED: Final = 0

_SQL: Final = statements("bulk")
_LISTING: Final = "bulk_operations"
_RESULTS: Final = "bulk_results"


class Part(NamedTuple):
    """The next executions of an operation, and on whose word they are acted on."""

    operation_id: UUID
    tenant_id: UUID
    deed: BulkDeed
    actor: Actor
    reason: str | None
    position: int
    is_stopped: bool
    ids: tuple[UUID, ...]


class Verdict(NamedTuple):
    """What became of one execution."""

    execution_id: UUID
    outcome: BulkOutcome
    code: str | None = None
    message: str | None = None


class BulkStore:
    """All of a tenant's lie in one database, whichever its executions lie in."""

    def __init__(self, catalog: Database) -> None:
        self._catalog = catalog

    # --- people ------------------------------------------------------------------------------------

    async def preview(
        self,
        id: UUID,
        tenant: UUID,
        deed: BulkDeed,
        filter: Json,
        digest: bytes,
        selected: Sequence[UUID],
        actor: Actor,
    ) -> datetime:
        """Keep a selection for somebody to start; until when. The oldest beyond twenty of the tenant go."""
        async with self._catalog.engine() as connection, connection.transaction():
            until: datetime = await connection.fetchval(
                _SQL["preview"],
                id,
                tenant,
                deed.as_json(),
                filter,
                digest,
                list(selected),
                actor_json(actor),
                PREVIEW_SECONDS,
            )
            await connection.execute(_SQL["forget"], tenant, MOST_PREVIEWS)
        return until

    async def start(
        self,
        id: UUID,
        tenant: UUID,
        digest: bytes,
        *,
        actor: Actor,
        reason: str | None,
        runner: UUID,
    ) -> bool:
        """Start what was previewed, held by `runner`; False when it has been started before.

        Raises NotFound for a preview that is not there (any more), BadInput when it was made for something else.
        """
        async with self._catalog.engine() as connection, connection.transaction():
            await connection.execute(_SQL["alone"], str(tenant))
            row = await connection.fetchrow(_SQL["lock"], tenant, id)
            if row is None or (row["state"] == _PREVIEWED and not row["is_valid"]):
                raise _no_preview()
            if bytes(row["digest"]) != digest:
                raise BadInput(
                    "The token was given for another filter or another action; preview what you mean, and start that.",
                    reason="BULK_TOKEN",
                    path=("token",),
                )
            if row["state"] != _PREVIEWED:
                return False
            if await connection.fetchval(_SQL["running"], tenant) >= MOST_RUNNING:
                raise InvalidState(
                    f"{MOST_RUNNING} bulk operations run already; wait for one of them, or stop it.",
                    reason="TOO_MANY_BULK_OPERATIONS",
                )
            await connection.execute(
                _SQL["start"],
                tenant,
                id,
                reason,
                actor_json(actor),
                runner,
                LEASE_SECONDS,
                KEPT_SECONDS,
            )
        return True

    async def stop(self, id: UUID, tenant: UUID, *, actor: Actor, reason: str | None) -> None:
        """Ask a running one to end before its next part; nothing to one that has ended or is asked already."""
        async with self._catalog.engine() as connection:
            await connection.execute(_SQL["stop"], tenant, id, actor_json(actor), reason)

    async def get_many(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, BulkOperation]:
        """Those that were started, by id."""
        async with self._catalog.tenant(tenant) as connection:
            rows = await connection.fetch(_SQL["get_many"], tenant, list(ids))
        return {row["id"]: _operation(row) for row in rows}

    async def page(self, tenant: UUID, request: PageRequest) -> Page[BulkOperation]:
        """Those that were started, the newest first."""
        size = cursor.check_size(request)
        after = _uuid_mark(request.cursor)
        async with self._catalog.tenant(tenant) as connection:
            rows = await connection.fetch(_SQL["page"], tenant, after, size + 1)
        marks = [cursor.encode(_LISTING, str(row["id"])) for row in rows]
        return cursor.page_of(request, [_operation(row) for row in rows], marks)

    async def results(
        self, tenant: UUID, id: UUID, request: PageRequest, *, only_refused: bool = False
    ) -> Page[BulkResult]:
        """What became of its executions so far, in the order in which they had their turn."""
        size = cursor.check_size(request)
        after = _number_mark(request.cursor)
        name = "refusals" if only_refused else "results"
        async with self._catalog.tenant(tenant) as connection:
            rows = await connection.fetch(_SQL[name], tenant, id, after, size + 1)
        marks = [cursor.encode(_RESULTS, row["position"]) for row in rows]
        return cursor.page_of(request, [_result(row) for row in rows], marks)

    # --- whoever works on them ---------------------------------------------------------------------

    async def claim(self, runner: UUID) -> UUID | None:
        """Take one that nobody works on any more."""
        async with self._catalog.engine() as connection:
            found: UUID | None = await connection.fetchval(_SQL["claim"], runner, LEASE_SECONDS)
        return found

    async def part(self, id: UUID, runner: UUID, size: int) -> Part | None:
        """What comes next, the lease renewed; None when it is not (or no longer) this runner's."""
        async with self._catalog.engine() as connection:
            row = await connection.fetchrow(_SQL["part"], id, runner, LEASE_SECONDS, size)
        if row is None:
            return None
        return Part(
            id,
            row["tenant_id"],
            BulkDeed.of(row["deed"]),
            actor_of(row["actor"]),
            row["reason"],
            row["position"],
            row["is_stopped"],
            tuple(row["ids"]),
        )

    async def renew(self, id: UUID, runner: UUID) -> None:
        """Say that a part is still worked on; nothing when the operation is another's by now."""
        async with self._catalog.engine() as connection:
            await connection.execute(_SQL["renew"], id, runner, LEASE_SECONDS)

    async def record(self, part: Part, runner: UUID, verdicts: Sequence[Verdict]) -> bool:
        """Commit what became of a part, once; False when somebody else has gone on from there."""
        columns: list[Any] = [list(column) for column in zip(*verdicts, strict=True)]
        columns[1] = [int(outcome) for outcome in columns[1]]
        async with self._catalog.engine() as connection:
            written: int = await connection.fetchval(
                _SQL["record"], part.operation_id, runner, part.position, *columns
            )
        return written == len(verdicts)

    async def finish(self, id: UUID, runner: UUID, state: BulkState) -> None:
        """End it; what it selected is no longer kept, its results are for thirty days."""
        async with self._catalog.engine() as connection:
            await connection.execute(_SQL["finish"], id, runner, int(state), KEPT_SECONDS)

    async def leave(self, id: UUID, runner: UUID) -> None:
        """Give it back for others to go on with at once."""
        async with self._catalog.engine() as connection:
            await connection.execute(_SQL["leave"], id, runner)

    async def sweep(self) -> int:
        """Delete previews and ended operations that have expired; how many there were, at most twenty.

        Each in a statement of its own: one may have 100,000 results, and what takes too long would never be done.
        """
        for count in range(_SWEPT):
            async with self._catalog.engine() as connection:
                if await connection.fetchval(_SQL["sweep"]) is None:
                    return count
        return _SWEPT


def digest_of(filter: Json, deed: BulkDeed) -> bytes:
    """What a start must have in common with its preview: SHA-256 over the canonical JSON of both."""
    return body_digest([filter, deed.as_json()])


def _no_preview() -> NotFound:
    return NotFound(
        "There is no such preview (any more): preview again, and start within a quarter of an hour.",
        reason="BULK_PREVIEW_GONE",
        path=("token",),
    )


def _uuid_mark(text: str | None) -> UUID | None:
    if text is None:
        return None
    (mark,) = cursor.decode(_LISTING, text, 1)
    try:
        return UUID(mark)
    except (AttributeError, TypeError, ValueError):
        raise cursor.refused() from None


def _number_mark(text: str | None) -> int | None:
    if text is None:
        return None
    (mark,) = cursor.decode(_RESULTS, text, 1)
    if type(mark) is not int or not 0 <= mark < 2**31:
        raise cursor.refused()
    return mark


def _operation(row: Any) -> BulkOperation:
    return BulkOperation(
        id=row["id"],
        tenant_id=row["tenant_id"],
        state=BulkState(row["state"]),
        deed=BulkDeed.of(row["deed"]),
        filter=row["filter"],
        total=row["total"],
        done=row["done"],
        refused=row["refused"],
        actor=actor_of(row["actor"]),
        reason=row["reason"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        stopped_by=None if row["stopped_by"] is None else actor_of(row["stopped_by"]),
        stop_reason=row["stop_reason"],
    )


def _result(row: Any) -> BulkResult:
    return BulkResult(
        position=row["position"],
        execution_id=row["execution_id"],
        outcome=BulkOutcome(row["outcome"]),
        at=row["at"],
        code=row["code"],
        message=row["message"],
    )
