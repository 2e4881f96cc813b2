"""The event bus in the database: cursors of handlers, leases on them, pages of what they have not had.

Called by the bus (leases, pages, cursors), the scheduler (trimming) and the health service (lags).
Each call names one shard; domain events have none and stand under shard -1 of the catalog's database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from runtime.model.event import EventKind
from runtime.model.values import Json
from runtime.store.pool import Database
from runtime.store.statements import statements

Stream = Literal["execution", "domain"]

NO_SHARD: Final = -1
MAX_SIZE: Final = 2_000
PAST_ROWS: Final = 2_000
_FIRST_LIMIT: Final = 64

_SQL: Final = statements("event_bus")
_FAILURES: Final = statements("event_failure")


class Subscription(NamedTuple):
    """What a handler wants of one stream of one shard; `kinds` are bits of EventKind."""

    handler: str
    stream: Stream
    shard: int
    kinds: int = 0


class Cursor(NamedTuple):
    """Where a handler stands, as who runs it finds it. `since`: whoever has a later number knew of it."""

    handler: str
    stream: Stream
    shard: int
    xact: int
    since: int
    backfill: UUID | None
    backfill_seq: int
    attempts: int
    missed_until: datetime | None

    @property
    def key(self) -> tuple[str, Stream, int]:
        """Which row it is."""
        return self.handler, self.stream, self.shard


class Happened(NamedTuple):
    """An event as it was stored, of either stream."""

    noun: str
    subject: UUID
    sequence: int
    kind: str
    tenant_id: UUID
    at: datetime
    data: Json
    actor: Json = None


class Place(NamedTuple):
    """How far a cursor gets with a page."""

    xact: int
    backfill: UUID | None = None
    backfill_seq: int = 0


class Page(NamedTuple):
    """What is next for a handler, and where it stands after it; no place: nothing can be read yet."""

    events: tuple[Happened, ...]
    place: Place | None


@dataclass(frozen=True, slots=True)
class HandlerLag:
    """How one handler does in one shard."""

    handler: str
    stream: Stream
    shard: int
    attempts: int
    error: str | None
    is_run: bool
    is_in_past: bool
    lag_seconds: float
    failed_at: datetime | None = None
    failed_tenant: UUID | None = None
    missed_until: datetime | None = None


class FailedEvent(NamedTuple):
    """An event that a handler could not take; it was passed by."""

    handler: str
    stream: str
    shard: int
    noun: str
    subject: UUID
    sequence: int
    kind: str
    attempts: int
    error: str
    at: datetime

    @property
    def event_id(self) -> str:
        """The id under which handlers are told of it."""
        return id_of(self.noun, self.subject, self.sequence)


def id_of(noun: str, subject: UUID, sequence: int) -> str:
    """The id of an event, the same each time it is told."""
    prefix = "" if noun == "execution" else f"{noun}_"
    return f"{prefix}{subject}.e.{sequence}"


class EventBusStore:
    """The bus of one database."""

    def __init__(self, database: Database, *, past_rows: int = PAST_ROWS) -> None:
        self._database = database
        self._past_rows = past_rows

    async def register(self, wanted: Subscription, *, from_beginning: bool) -> None:
        """Make a handler known; one that is known already keeps its place."""
        async with self._database.worker() as connection:
            await connection.execute(_SQL["register"], *wanted, from_beginning)

    async def hold(
        self, me: int, wanted: Sequence[Subscription], lease_seconds: float
    ) -> list[Cursor]:
        """Take what nobody runs, renew what is due; all that is ours now."""
        columns = tuple(zip(*wanted, strict=True))
        async with self._database.worker() as connection:
            rows = await connection.fetch(_SQL["hold"], me, *columns, lease_seconds)
        return [Cursor(*row) for row in rows]

    async def release(self, me: int) -> None:
        """Let others run what is ours."""
        async with self._database.worker() as connection:
            await connection.execute(_SQL["release"], me)

    async def next_page(self, at: Cursor, kinds: int) -> Page:
        """What comes after a place: a closed piece, within which the order of each subject is right."""
        if at.stream == "domain":
            return await self._domain(at.xact)
        if at.backfill is not None:
            return await self._past(at, kinds)
        return await self._live(at, kinds)

    async def move(self, me: int, cursor: Cursor, place: Place) -> bool:
        """Make it durable that a handler has had everything up to a place; not when it is another's now."""
        async with self._database.engine() as connection:
            moved = await connection.fetchval(_SQL["move"], *cursor.key, me, *place)
        return moved is not None

    async def note(
        self, me: int, cursor: Cursor, attempts: int, error: str | None, tenant: UUID | None = None
    ) -> bool:
        """Note how often a handler failed in a row, on whose events; not when it is another's now."""
        async with self._database.engine() as connection:
            noted = await connection.fetchval(
                _SQL["note"], *cursor.key, me, attempts, error, tenant
            )
        return noted is not None

    async def skip(self, cursor: Cursor, event: Happened, attempts: int, error: str) -> None:
        """Record an event that a handler can't take."""
        async with self._database.engine() as connection:
            await connection.execute(
                _SQL["skip"], *cursor.key, event.tenant_id, event.noun, event.subject,
                event.sequence, event.kind, attempts, error,
            )  # fmt: skip

    async def told(self, me: int, cursor: Cursor) -> None:
        """The handler knows what it missed."""
        async with self._database.engine() as connection:
            await connection.execute(_SQL["told"], *cursor.key, me, cursor.missed_until)

    async def lags(self) -> list[HandlerLag]:
        """How each handler does."""
        async with self._database.engine() as connection:
            rows = await connection.fetch(_SQL["lags"])
        return [HandlerLag(*row) for row in rows]

    async def passed_by(self, tenant: UUID, limit: int) -> list[FailedEvent]:
        """Events of a tenant that handlers could not take, the newest first."""
        async with self._database.tenant(tenant) as connection:
            rows = await connection.fetch(_FAILURES["passed_by"], tenant, limit)
        return [FailedEvent(*row) for row in rows]

    # --- duties of the scheduler -------------------------------------------------------------------

    async def trim(self, shard: int, *, keep_seconds: float, limit: int) -> int:
        """Delete what every handler has had, and what is too old; how many rows, at most `limit`."""
        async with self._database.engine() as connection:
            return int(await connection.fetchval(_SQL["trim"], shard, keep_seconds, limit))

    async def forget(self, *, failure_days: int, handler_days: int) -> list[str]:
        """Forget old failures, and handlers that nobody has run for long; the names of these."""
        async with self._database.engine() as connection:
            await connection.execute(_SQL["forget_failures"], failure_days)
            await connection.execute(_SQL["forget_readers"])
            rows = await connection.fetch(_SQL["forget_handlers"], handler_days)
        return sorted({row["handler"] for row in rows})

    # -----------------------------------------------------------------------------------------------

    async def _live(self, at: Cursor, kinds: int) -> Page:
        limit = _FIRST_LIMIT
        async with self._database.engine() as connection:
            while True:
                rows = await connection.fetch(_SQL["feed"], at.shard, at.xact, limit)
                found = [(r["xact"], r["after"], r["size"]) for r in rows if r["xact"] is not None]
                is_all = len(found) < limit
                bound = closed_bound(found, rows[0]["horizon"] if is_all else None)
                if bound is None and not is_all:
                    limit *= 4
                    continue
                if bound is None or not found:
                    return Page((), None)
                rows = await connection.fetch(_SQL["events"], at.shard, at.xact, bound, kinds)
                return Page(_by_subject([_happened(row) for row in rows]), Place(bound))

    async def _past(self, at: Cursor, kinds: int) -> Page:
        """The past begins when all have ended who did not know of the handler."""
        async with self._database.engine() as connection:
            if await connection.fetchval(_SQL["horizon"]) < at.since:
                return Page((), None)
            rows = await connection.fetch(
                _SQL["past"], at.shard, at.backfill, at.backfill_seq, kinds, self._past_rows
            )
        found = tuple(_happened(row) for row in rows if row["wanted"])
        if len(rows) < self._past_rows:
            return Page(found, Place(at.xact))
        return Page(found, Place(at.xact, rows[-1]["execution_id"], rows[-1]["seq"]))

    async def _domain(self, xact: int) -> Page:
        limit = _FIRST_LIMIT * 4
        async with self._database.engine() as connection:
            while True:
                rows = await connection.fetch(_SQL["domain"], xact, limit)
                found = [r for r in rows if r["xact"] is not None]
                is_all = len(found) < limit
                bound = closed_bound(
                    [(r["xact"], r["after"], 1) for r in found],
                    rows[0]["horizon"] if is_all else None,
                )
                if bound is not None or is_all:
                    break
                limit *= 4
        if bound is None or not found:
            return Page((), None)
        page = [_domain_happened(row) for row in found if row["xact"] < bound]
        return Page(_by_subject(page), Place(bound))


def closed_bound(
    rows: Sequence[tuple[int, int | None, int]], horizon: int | None, *, max_size: int = MAX_SIZE
) -> int | None:
    """Up to where (exclusive) a page of rows (xact, after, size) may go, or None.

    A transaction is not torn apart, and everything that one of its rows may follow (`after`) is in
    the page. Rows are in order; with a `horizon` they are all there are, and it is a bound as well.
    Of the bounds that are possible: the last one within `max_size`, else the first one.
    """
    best: int | None = None
    reach = size = 0
    for number, (xact, after, weight) in enumerate(rows):
        is_new = number > 0 and xact > rows[number - 1][0]
        if is_new and reach <= xact:
            if best is not None and size > max_size:
                return best
            best = xact
        reach, size = max(reach, after or 0), size + weight
    if horizon is not None and reach <= horizon and (best is None or size <= max_size):
        return horizon
    return best


def _by_subject(events: Sequence[Happened]) -> tuple[Happened, ...]:
    """Subjects in the order in which they came, the events of each by sequence."""
    first: dict[tuple[str, UUID], int] = {}
    for event in events:
        first.setdefault((event.noun, event.subject), len(first))
    return tuple(sorted(events, key=lambda e: (first[e.noun, e.subject], e.sequence)))


def _happened(row: Any) -> Happened:
    kind = row["kind"]
    word = EventKind(kind).word if kind in _KNOWN else f"kind_{kind}"
    return Happened(
        "execution", row["execution_id"], row["seq"], word, row["tenant_id"], row["ts"], row["data"]
    )


def _domain_happened(row: Any) -> Happened:
    return Happened(
        row["noun"], row["id"], row["seq"], f"{row['noun']}_{row['kind']}", row["tenant_id"],
        row["ts"], row["data"], row["actor"],
    )  # fmt: skip


_KNOWN: Final = frozenset(int(kind) for kind in EventKind)
