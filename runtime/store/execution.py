"""Executions as an engine handles them: claimed, taken over, loaded, told something, retried.

Called by the worker (fenced functions, with its id and epoch), by the scheduler (duties), and by the
services for messages and retries. Each call names one shard. Reads for people are in
`execution_reader.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.checkpoint import (
    BeatAnswer,
    ExecutionHistory,
    InboxKind,
    InboxMessage,
    ItemResult,
    Mark,
    OwnedExecution,
    QueuedExecution,
    StepRecord,
    Taken,
)
from runtime.model.errors import Unavailable
from runtime.model.event import MARKS
from runtime.model.execution import ExecutionStatus
from runtime.model.values import Json
from runtime.store.faults import translated, was_not_done
from runtime.store.pool import Database
from runtime.store.statements import statements

_SQL: Final = statements("execution")

DAYS_AHEAD: Final = 8
HISTORY_BYTES: Final = 16_777_216
_TRIES: Final = 3

RETRYABLE: Final = (
    ExecutionStatus.FAILED,
    ExecutionStatus.CANCELLED,
    ExecutionStatus.TIMED_OUT,
)
# What completed has steps that can be gone back to.
REWINDABLE: Final = (ExecutionStatus.COMPLETED, *RETRYABLE)


class Outdated(Exception):
    """It is not as it was when it was looked at."""


class Sent(NamedTuple):
    """What became of a message: the execution's status afterwards, and the message's number.

    A final status means that it was not left, None that there is no such execution.
    """

    status: ExecutionStatus | None
    n: int


class ExecutionStore:
    """The engine's side of the executions of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- workers ---------------------------------------------------------------------------------

    async def register(
        self,
        shard: int,
        me: int,
        host: str,
        lease_seconds: float,
        tags: Collection[str] = (),
    ) -> int:
        """Begin as a worker of a shard, with these tags; the epoch that its statements must carry."""
        arguments = (shard, me, host, lease_seconds, sorted(tags))
        async with self._database.worker() as connection:
            epoch: int = await connection.fetchval(_SQL["register"], *arguments)
            return epoch

    async def appear(self, connection: Any, me: int) -> None:
        """Be seen to live for as long as the heartbeat's own connection (`Database.dedicated`) does."""
        with translated():
            await connection.execute(_SQL["appear"], me)

    async def beat(
        self,
        connection: Any,
        shard: int,
        me: int,
        epoch: int,
        *,
        lease_seconds: float,
        late_seconds: float,
    ) -> BeatAnswer:
        """Renew the lease over the connection on which this worker has appeared; when the next one is late."""
        with translated():
            row = await connection.fetchrow(
                _SQL["beat"], shard, me, epoch, lease_seconds, late_seconds
            )
        live, dead, due, queued, inbox, lent, next_due = row
        return BeatAnswer(bool(live), dead, due, queued, tuple(inbox), lent, next_due)

    async def next_due(self, shard: int) -> float | None:
        """Seconds until the next parked execution is due; None when none is parked for a time that is to come."""
        seconds: float | None = await self._own_value("next_due", shard)
        return seconds

    async def leave(self, shard: int, me: int, epoch: int) -> int:
        """End in good order; how many executions are left for others to take over."""
        return await self._own_value("leave", shard, me, epoch)

    async def bury(self, shard: int, me: int) -> int:
        """Mark the workers whose lease has run out, or who are late and have no session; how many."""
        return await self._own_value("bury", shard, me)

    async def serving(self, shards: Sequence[int]) -> list[str]:
        """The names of the processes that serve some of these shards now."""
        async with self._database.worker() as connection:
            rows = await connection.fetch(_SQL["serving"], shards)
        return [row["host"] for row in rows]

    async def sweep_workers(self, shard: int) -> int:
        """Forget dead workers to whom nothing refers; how many."""
        return await self._value("sweep_workers", shard)

    # --- ownership -------------------------------------------------------------------------------

    async def claim(
        self, shard: int, me: int, epoch: int, ids: Sequence[UUID]
    ) -> list[OwnedExecution]:
        """Take those of the queued executions that nobody has taken; raises Fenced."""
        return await self._owned("claim", shard, me, epoch, ids)

    async def due(self, shard: int, me: int, epoch: int, limit: int) -> list[OwnedExecution]:
        """Take parked executions whose time has come; raises Fenced."""
        return await self._owned("due", shard, me, epoch, limit)

    async def takeover(self, shard: int, me: int, epoch: int, limit: int) -> Taken:
        """Take executions of dead workers, to be repeated until it took none; raises Fenced.

        From the second owner lost without a checkpoint they become suspects, with the third dead.
        """
        rows = await self._taken("takeover", shard, me, epoch, limit)
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for row in rows:
            found[row["status"]].append(row)
        return Taken(
            tuple(OwnedExecution(*tuple(row)[:-1]) for row in found[ExecutionStatus.RUNNING]),
            tuple(row["id"] for row in found[ExecutionStatus.QUEUED]),
            tuple(row["id"] for row in found[ExecutionStatus.DEAD_LETTERED]),
        )

    async def claim_alone(self, shard: int, me: int, epoch: int) -> list[OwnedExecution]:
        """Take one suspect, to run nothing else beside it; raises Fenced."""
        return await self._owned("claim_alone", shard, me, epoch)

    async def suspects(self, shard: int, *, limit: int) -> int:
        """How many suspects wait for a worker that runs them alone, counted up to a limit."""
        return await self._value("suspects", shard, limit)

    async def load_histories(
        self, ids: Sequence[UUID], *, shard: int = 0
    ) -> dict[UUID, ExecutionHistory]:
        """All that is stored for these executions: rows of all generations, messages, retries."""
        found: dict[UUID, ExecutionHistory] = {}
        async for part in self.histories(ids, shard=shard):
            found |= part
        return found

    async def histories(
        self, ids: Sequence[UUID], *, shard: int = 0, most_bytes: int = HISTORY_BYTES
    ) -> AsyncIterator[dict[UUID, ExecutionHistory]]:
        """The same in parts of at most so many bytes (or one execution), in no order."""
        if not ids:
            return
        async with self._database.worker() as connection:
            last = await connection.fetch(_SQL["history_sequence"], shard, ids)
        for part in _parts(last, most_bytes):
            yield await self._load_part(shard, part)

    async def _load_part(self, shard: int, last: Sequence[Any]) -> dict[UUID, ExecutionHistory]:
        ids = [row["id"] for row in last]
        bounds = (min(ids), max(ids))
        async with self._database.worker() as connection:
            steps = await connection.fetch(_SQL["history_steps"], shard, ids, *bounds)
            marked = await connection.fetch(_SQL["history_marks"], shard, ids, *bounds, MARKS)
            inbox = await connection.fetch(_SQL["messages"], shard, ids)
        rows = _grouped([(row["execution_id"], StepRecord(*tuple(row)[1:])) for row in steps])
        marks = _grouped([(row["execution_id"], Mark(*tuple(row)[1:])) for row in marked])
        messages = _messages(inbox)
        return {
            row["id"]: ExecutionHistory(
                tuple(rows[row["id"]]),
                row["last"] or 0,
                messages.get(row["id"], ()),
                tuple(marks[row["id"]]),
                row["bytes"],
            )
            for row in last
        }

    async def item_results(
        self, shard: int, execution: UUID, step: int, first: int, behind: int
    ) -> list[ItemResult]:
        """What became of items of a map that have ended, from the first to before the last number, in order."""
        async with self._database.worker() as connection:
            rows = await connection.fetch(
                _SQL["item_results"], shard, execution, step, first, behind
            )
        return [ItemResult(*row) for row in rows]

    async def messages(
        self, ids: Sequence[UUID], *, shard: int = 0
    ) -> dict[UUID, tuple[InboxMessage, ...]]:
        """The unread messages of these executions, in order."""
        async with self._database.worker() as connection:
            return _messages(await connection.fetch(_SQL["messages"], shard, ids))

    async def set_aside(
        self, shard: int, me: int, epoch: int, execution: UUID, message: int, error: Json
    ) -> None:
        """Keep a message that can't be decoded as a dead letter; a checkpoint deletes it from the inbox."""
        arguments = (shard, me, epoch, execution, message, _text(error))
        async with self._database.worker() as connection:
            await connection.execute(_SQL["set_aside"], *arguments)

    async def give_up(self, shard: int, me: int, epoch: int, execution: UUID, error: Json) -> bool:
        """End an execution as a dead letter, because no checkpoint of it is taken; whether it was this worker's."""
        arguments = (shard, me, epoch, execution, _text(error))
        async with self._database.worker() as connection:
            return bool(await connection.fetchval(_SQL["give_up"], *arguments))

    # --- what others ask for -----------------------------------------------------------------------

    async def send(
        self,
        shard: int,
        tenant: UUID,
        execution: UUID,
        kind: InboxKind,
        data: Json,
        connection: Any,
    ) -> Sent:
        """Leave a message, within the caller's transaction."""
        row = await connection.fetchrow(
            _SQL["send"],
            shard,
            tenant,
            execution,
            kind,
            _text(data),
            kind is InboxKind.CANCEL,
            kind is InboxKind.RESUME,
        )
        return Sent(ExecutionStatus(row["status"]) if row["known"] else None, row["n"])

    async def retry(
        self, shard: int, tenant: UUID, execution: UUID, event: Json, connection: Any
    ) -> tuple[ExecutionStatus | None, int | None]:
        """Queue a failed execution again as its next generation, within the caller's transaction.

        Returns its status and, when it was retried, the new generation.
        """
        row = await connection.fetchrow(
            _SQL["retry"], shard, tenant, execution, [int(s) for s in RETRYABLE], _text(event)
        )
        status = ExecutionStatus(row["status"]) if row["known"] else None
        return status, row["generation"]

    async def rewind(
        self,
        shard: int,
        tenant: UUID,
        execution: UUID,
        event: Json,
        connection: Any,
        *,
        seen: tuple[UUID, int] | None = None,
        given: str | None = None,
    ) -> tuple[ExecutionStatus | None, int | None]:
        """Queue an ended execution again from a step that the event names, within the caller's transaction.

        `seen` are version and generation by which the event was made, `given` is the JSON text of another input.
        Returns what `retry` returns; raises Outdated when it runs another version by now, or has begun again since.
        """
        version, generation = (None, None) if seen is None else seen
        row = await connection.fetchrow(
            _SQL["rewind"], shard, tenant, execution, [int(s) for s in REWINDABLE], _text(event),
            version, generation, given,
        )  # fmt: skip
        if not row["is_seen"]:
            raise Outdated
        status = ExecutionStatus(row["status"]) if row["known"] else None
        return status, row["generation"]

    # --- duties of the scheduler -------------------------------------------------------------------

    async def queued(
        self,
        shard: int,
        *,
        older_than_seconds: float,
        per_tenant: int,
        limit: int,
        after: UUID | None = None,
    ) -> list[QueuedExecution]:
        """Executions that wait for a worker, in turns of the ring of tenants that begin after a tenant."""
        async with self._database.worker() as connection:
            rows = await connection.fetch(
                _SQL["queued"], shard, older_than_seconds, per_tenant, limit, after
            )
        return [QueuedExecution(*row) for row in rows]

    async def held_back(self, shard: int) -> int:
        """How many tenants have a backlog and a limit on running executions that is reached."""
        return await self._own_value("held_back", shard)

    async def trim_lanes(self, shard: int) -> list[UUID]:
        """Cancel the oldest of lanes whose newest asks for that; those that have a message now."""
        async with self._database.worker() as connection:
            return list(await connection.fetchval(_SQL["trim_lanes"], shard))

    async def make_partitions(self, *, days_ahead: int = DAYS_AHEAD) -> int:
        """Make the daily partitions that are missing, each day in a transaction; how many."""
        made = 0
        for day in range(-1, days_ahead + 1):
            made += await self._value("make_partitions", day)
        return made

    async def drop_logs(self, *, keep_days: int) -> int:
        """Drop the step logs of days that are older; how many days."""
        return await self._value("drop_logs", keep_days)

    async def forget_keys(self, shard: int, *, keep_days: int, limit: int = 5_000) -> int:
        """Forget idempotency keys that are older; how many, at most `limit`."""
        return await self._value("forget_keys", shard, keep_days, limit)

    # -----------------------------------------------------------------------------------------------

    async def _value(self, name: str, *arguments: object) -> int:
        async with self._database.engine() as connection:
            value: int = await connection.fetchval(_SQL[name], *arguments)
            return value

    async def _own_value(self, name: str, *arguments: object) -> int:
        """The same over the worker's connections, which nobody else can use up."""
        async with self._database.worker() as connection:
            value: int = await connection.fetchval(_SQL[name], *arguments)
            return value

    async def _owned(self, name: str, *arguments: object) -> list[OwnedExecution]:
        return list(map(OwnedExecution._make, await self._taken(name, *arguments)))

    async def _taken(self, name: str, *arguments: object) -> list[Any]:
        """Rows of a statement that changes who owns what, sent again when it left nothing behind."""
        for tried in range(1, _TRIES + 1):
            try:
                async with self._database.worker() as connection:
                    rows: list[Any] = await connection.fetch(_SQL[name], *arguments)
            except Unavailable as error:
                if tried == _TRIES or not was_not_done(error):
                    raise
                continue
            return rows
        raise AssertionError("every attempt returns or raises")


def _parts(rows: Sequence[Any], most_bytes: int) -> Iterator[list[Any]]:
    """Rows in parts whose bytes stay within the limit, or that are one row."""
    part: list[Any] = []
    size = 0
    for row in rows:
        if part and size + row["bytes"] > most_bytes:
            yield part
            part, size = [], 0
        part.append(row)
        size += row["bytes"]
    if part:
        yield part


def _grouped(pairs: list[tuple[UUID, Any]]) -> defaultdict[UUID, list[Any]]:
    out: defaultdict[UUID, list[Any]] = defaultdict(list)
    for key, value in pairs:
        out[key].append(value)
    return out


def _messages(rows: list[Any]) -> dict[UUID, tuple[InboxMessage, ...]]:
    grouped = _grouped(
        [(row["execution_id"], InboxMessage(row["n"], row["kind"], row["data"])) for row in rows]
    )
    return {key: tuple(found) for key, found in grouped.items()}


def _text(value: Json) -> str:
    return orjson.dumps(value).decode()
