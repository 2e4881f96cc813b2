"""Statistics of executions: sums of counters that triggers keep in the transaction of each change.

No row of an execution is read but the oldest of what is queued. Each database counts its own; they are added up here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from runtime.model.execution import ExecutionState, ExecutionStatus
from runtime.model.execution_stats import ExecutionStats, StatsFilter
from runtime.model.values import Money, total
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("execution_stats")
_CATALOG: Final = statements("workflow")
_EVERYWHERE: Final = ("",)
_FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_HALF: Final = timedelta(hours=12)
# As `mc_state` numbers them: the stored statuses, then what is refined from them.
_STATES: Final[Mapping[int, ExecutionState]] = {
    **{int(status): ExecutionState(status.name.lower()) for status in ExecutionStatus},
    8: ExecutionState.PAUSED,
    9: ExecutionState.CANCELLING,
    10: ExecutionState.COMPENSATING,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A filter in ids: None does not restrict."""

    workflows: Sequence[UUID] | None
    versions: Sequence[UUID] | None
    namespaces: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class _Edge:
    """Hours at an end of a range that its full days lack (sign 1) or have too many (-1)."""

    begin: datetime
    end: datetime
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A range of full hours as it is read: days (UTC) that are added up already, and hours at both ends.

    A day of which more than half is in the range is read whole, and the hours outside are taken away
    again: an end never reads more than twelve hours.
    """

    begin: datetime
    end: datetime
    days: tuple[date, date]
    first: _Edge
    last: _Edge

    @classmethod
    def of(cls, begin: datetime, end: datetime | None) -> Span:
        """How the hours from `begin` up to `end`, or all after it, are read."""
        until = end or _FOREVER
        first, last = _nearest_day(begin), _nearest_day(until)
        if first >= last:
            return cls(
                begin, until, (begin.date(), begin.date()), _Edge(begin, until), _Edge(until, until)
            )
        return cls(
            begin,
            until,
            (first.date(), last.date()),
            _Edge(begin, first) if begin <= first else _Edge(first, begin, -1),
            _Edge(last, until) if last <= until else _Edge(until, last, -1),
        )

    def arguments(self) -> list[object]:
        """As the statements take them, in their order."""
        return [
            *self.days,
            self.first.begin, self.first.end, self.first.sign,
            self.last.begin, self.last.end, self.last.sign,
            self.begin, self.end,
        ]  # fmt: skip


def _nearest_day(at: datetime) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + _DAY if at - day > _HALF else day


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one database says."""

    rows: Sequence[Any]
    oldest: datetime | None
    now: datetime


class ExecutionCounters:
    """Reads of the counters, over the databases that may hold executions of a tenant."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def stats(
        self,
        tenant: UUID,
        wanted: StatsFilter,
        begin: datetime,
        end: datetime | None,
        homes: Iterable[Database],
    ) -> ExecutionStats:
        """The numbers of a range of full hours; a database that is away makes them partial."""
        asked = await self._asked(tenant, wanted)
        span = Span.of(begin, end).arguments()
        if asked.workflows is None:
            name = "counts"
            arguments: list[object] = [
                tenant,
                asked.namespaces,
                asked.namespaces or _EVERYWHERE,
                *span,
            ]
        else:
            name = "counts_of"
            arguments = [
                tenant, asked.workflows, asked.versions, asked.namespaces, *span,
            ]  # fmt: skip

        async def ask(database: Database) -> _Answer:
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_SQL[name], *arguments)
                queued = any(row["state"] == ExecutionStatus.QUEUED and row["n"] for row in rows)
                oldest = await _oldest(connection, tenant, asked) if queued else None
                return _Answer(rows, oldest, await connection.fetchval(_SQL["now"]))

        found = await self._shards.gather(homes, ask)
        return _summed(begin, end, found.answers, found.silent)

    async def stats_of_each(
        self,
        tenant: UUID,
        workflows: Sequence[UUID],
        begin: datetime,
        end: datetime | None,
        homes: Iterable[Database],
    ) -> dict[UUID, ExecutionStats]:
        """The same of several workflows, of each by itself, by two statements for all of them."""
        wanted = list(workflows)
        span = Span.of(begin, end).arguments()

        async def ask(database: Database) -> dict[UUID, _Answer]:
            async with database.tenant(tenant) as connection:
                rows: dict[UUID, list[Any]] = {one: [] for one in wanted}
                for row in await connection.fetch(_SQL["counts_of_each"], tenant, wanted, *span):
                    rows[row["workflow_id"]].append(row)
                found = await connection.fetch(_SQL["oldest_queued_of_each"], tenant, wanted)
                oldest = {row["workflow_id"]: row["created_at"] for row in found}
                now = await connection.fetchval(_SQL["now"])
                return {one: _Answer(rows[one], oldest.get(one), now) for one in wanted}

        found = await self._shards.gather(homes, ask)
        return {
            one: _summed(begin, end, [answer[one] for answer in found.answers], found.silent)
            for one in wanted
        }

    async def _asked(self, tenant: UUID, wanted: StatsFilter) -> _Asked:
        """Names and numbers of versions as ids: the catalog is the only one that knows them."""
        workflows = list(wanted.workflow_id) or None
        versions: list[UUID] | None = None
        if wanted.workflow_name or wanted.version is not None:
            async with self._shards.catalog.tenant(tenant) as connection:
                if wanted.workflow_name:
                    names = list(wanted.workflow_name)
                    rows = await connection.fetch(_CATALOG["ids_by_name"], tenant, names)
                    named = [row["id"] for row in rows]
                    workflows = [one for one in named if workflows is None or one in workflows]
                if wanted.version is not None:
                    rows = await connection.fetch(
                        _CATALOG["ids_by_version"], tenant, wanted.version
                    )
                    versions = [row["id"] for row in rows]
        return _Asked(workflows, versions, list(wanted.namespace) or None)


class CounterFolds:
    """The counters' upkeep in one database, for the scheduler."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fold(self, limit: int) -> int:
        """Add up some of what was appended; how many rows that were."""
        async with self._database.engine() as connection:
            folded: int = await connection.fetchval(_SQL["fold"], limit)
            return folded


async def _oldest(connection: Any, tenant: UUID, asked: _Asked) -> datetime | None:
    name, more = "oldest_queued", list[object]()
    if asked.workflows is not None:
        name, more = "oldest_queued_of", [asked.workflows, asked.versions, asked.namespaces]
    elif asked.namespaces is not None:
        name, more = "oldest_queued_in", [asked.namespaces]
    found: datetime | None = await connection.fetchval(_SQL[name], tenant, *more)
    return found


def _summed(
    begin: datetime, end: datetime | None, answers: Sequence[_Answer], silent: tuple[str, ...]
) -> ExecutionStats:
    counts: Counter[ExecutionState] = Counter()
    durations: Counter[int] = Counter()
    cost: list[Money] = []
    for row in (row for answer in answers for row in answer.rows):
        if row["currency"]:
            cost += _money(row["amount"], row["currency"])
            continue
        state = _STATES[row["state"]]
        counts[state] += row["n"]
        if state is ExecutionState.COMPLETED and row["slot"] >= 0 and row["n"]:
            durations[row["slot"]] += row["n"]
    waiting = [answer.oldest for answer in answers if answer.oldest is not None]
    return ExecutionStats(
        begin=begin,
        end=end,
        counts=counts,
        durations=durations,
        cost=total(cost),
        asked_at=max(answer.now for answer in answers),
        oldest_queued_at=min(waiting, default=None),
        silent=silent,
    )


def _money(amount: Decimal, currency: str) -> list[Money]:
    return [Money(amount, currency)] if amount else []
