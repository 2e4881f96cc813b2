"""Executions as people read them: one, many by id, by key; their rows, events and status.

Every read runs under mc_api with the caller's tenant, and names the tenant again. Lists with filters
are in `execution_list.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.blocker import MOST_BEFORE, Lane, RunningLimit, Standing
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import (
    Execution,
    ExecutionStatus,
    StepStatus,
)
from runtime.model.values import Json
from runtime.store.execution_row import ExecutionRow
from runtime.store.idempotency import find_key
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("execution_record")
_GET_MANY: Final = _SQL["get_many"]
ENQUEUE: Final = "enqueue_execution"


class AttemptRow(NamedTuple):
    """A row of `step_executions`: one attempt, ended or open."""

    step: int
    item: int
    generation: int
    attempt: int
    status: StepStatus
    started_at: datetime
    finished_at: datetime | None
    result: dict[str, Json]

    @property
    def is_open(self) -> bool:
        """Whether a call was about to be made and its outcome was never written."""
        return self.finished_at is None

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was taken back before it was made: the attempt never happened."""
        return self.is_open and self.status is StepStatus.CANCELLED


class ExecutionRecords:
    """Reads of executions, each from the database that holds it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def find(self, tenant: UUID, execution: UUID) -> Execution | None:
        """One execution."""
        return (await self.get_many(tenant, [execution])).get(execution)

    async def get_many(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, Execution]:
        """Those that exist, by id."""
        found: dict[UUID, Execution] = {}
        for database, some in self._shards.grouped(ids).items() if ids else ():
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_GET_MANY, tenant, some, min(some), max(some))
            for row in rows:
                found[row["id"]] = ExecutionRow(row)
        return found

    async def find_by_key(
        self, tenant: UUID, key: str, *, spread: bool = False
    ) -> tuple[UUID, bytes] | None:
        """The execution that a key was used for, and the digest of that request."""
        async with self._shards.of_key(tenant, key, spread=spread).tenant(tenant) as connection:
            return await find_key(connection, tenant, ENQUEUE, key)

    async def attempts(
        self, tenant: UUID, ids: Sequence[UUID]
    ) -> tuple[dict[UUID, list[AttemptRow]], dict[UUID, list[ExecutionEvent]]]:
        """All attempts and all events (without the payloads of signals), per execution; none of items of maps."""
        rows: defaultdict[UUID, list[AttemptRow]] = defaultdict(list)
        events: defaultdict[UUID, list[ExecutionEvent]] = defaultdict(list)
        for database, some in self._shards.grouped(ids).items() if ids else ():
            arguments = (tenant, some, min(some), max(some))
            async with database.tenant(tenant) as connection:
                # Events first: a step that ends in between then has its row, not a start without an end.
                for row in await connection.fetch(_SQL["all_events"], *arguments):
                    events[row["execution_id"]].append(event_of(row))
                for row in await connection.fetch(_SQL["steps"], *arguments):
                    rows[row["execution_id"]].append(attempt_of(row))
        return rows, events

    async def rows(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, list[AttemptRow]]:
        """All attempts, per execution; none of items of maps."""
        rows: defaultdict[UUID, list[AttemptRow]] = defaultdict(list)
        for database, some in self._shards.grouped(ids).items() if ids else ():
            async with database.tenant(tenant) as connection:
                for row in await connection.fetch(
                    _SQL["steps"], tenant, some, min(some), max(some)
                ):
                    rows[row["execution_id"]].append(attempt_of(row))
        return rows

    async def standings(
        self, tenant: UUID, ids: Sequence[UUID]
    ) -> tuple[dict[UUID, Standing], list[UUID]]:
        """Where executions stand among others at this moment, by id; and which of them nobody has, and have maps."""
        found: dict[UUID, Standing] = {}
        mapped: list[UUID] = []
        for database, some in self._shards.grouped(ids).items() if ids else ():
            arguments = (tenant, some, min(some), max(some), MOST_BEFORE)
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_SQL["standings"], *arguments)
            found |= {row["id"]: _standing_of(row) for row in rows}
            mapped += [row["id"] for row in rows if row["has_map"]]
        return found, mapped

    async def queued(self, tenant: UUID, most: int, *, spread: bool) -> int:
        """How many executions of a tenant are queued or wait in lanes, counted up to a number in each database."""
        found = 0
        for database in self._shards.of_tenant(tenant, spread=spread):
            async with database.tenant(tenant) as connection:
                found += await connection.fetchval(_SQL["queued"], tenant, most)
        return found

    async def events(
        self,
        tenant: UUID,
        execution: UUID,
        *,
        after: int,
        limit: int,
        kinds: Sequence[EventKind] = (),
    ) -> list[ExecutionEvent]:
        """Events after a sequence, in order; only of some kinds if any are named."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            return await self._events(connection, tenant, execution, after, limit, kinds)

    async def status_and_events(
        self, tenant: UUID, execution: UUID, *, after: int, limit: int
    ) -> tuple[ExecutionStatus | None, list[ExecutionEvent]]:
        """The status, and then the events: when the status is final, its event is among them."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            status = await connection.fetchval(_SQL["status"], tenant, execution)
            if status is None:
                return None, []
            found = await self._events(connection, tenant, execution, after, limit, ())
        return ExecutionStatus(status), found

    async def last_sequence(self, tenant: UUID, execution: UUID) -> int:
        """The number of its newest event; 0 when there is none."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            return int(await connection.fetchval(_SQL["last_sequence"], tenant, execution))

    async def status(self, tenant: UUID, execution: UUID) -> ExecutionStatus | None:
        """The stored status."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            status = await connection.fetchval(_SQL["status"], tenant, execution)
        return None if status is None else ExecutionStatus(status)

    @staticmethod
    async def _events(
        connection: Any,
        tenant: UUID,
        execution: UUID,
        after: int,
        limit: int,
        kinds: Sequence[EventKind],
    ) -> list[ExecutionEvent]:
        numbers = [int(kind) for kind in kinds] or None
        rows = await connection.fetch(_SQL["events"], tenant, execution, after, numbers, limit)
        return [event_of(row) for row in rows]


def event_of(row: Any) -> ExecutionEvent:
    """A record from a row of `execution_events`."""
    return ExecutionEvent(
        row["execution_id"],
        row["tenant_id"],
        row["seq"],
        EventKind(row["kind"]),
        row["ts"],
        row["data"],
    )


def _standing_of(row: Any) -> Standing:
    before, lane_before = row["before"], row["lane_before"]
    lane = None
    if row["lane"] is not None:
        position = lane_before + 1 if lane_before < MOST_BEFORE else None
        lane = Lane(row["lane"], row["lane_limit"], tuple(row["lane_holders"] or ()), position)
    reached = row["running_limit"]
    return Standing(
        lane=lane,
        limit=RunningLimit(reached[0], reached[1], bool(reached[2])) if reached else None,
        now=row["now"],
        workers=row["workers"],
        worker=row["worker"],
        is_lost=row["is_lost"],
        lost_at=row["left_at"] or row["lease_until"],
        losses=row["takeovers"],
        position=before + 1 if before is not None and before < MOST_BEFORE else None,
        told_at=row["told_at"],
        tags=None if row["tags"] is None else frozenset(row["tags"]),
        fleet=tuple(frozenset(one.split(",")) for one in row["fleet"] or ()),
    )


def attempt_of(row: Any) -> AttemptRow:
    """A record from a row of `step_executions`."""
    return AttemptRow(
        row["step"],
        row["item"],
        row["generation"],
        row["attempt"],
        StepStatus(row["status"]),
        row["started_at"],
        None if row["is_open"] else row["finished_at"],
        row["result"] if isinstance(row["result"], dict) else {},
    )
