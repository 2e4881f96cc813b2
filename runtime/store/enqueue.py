"""The enqueuer of an API process: new executions of a shard, accepted together in one commit.

What `enqueue` returns is durable. A lost connection means an unknown outcome: the caller is told so,
and repeats with its idempotency key.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg.pgproto import pgproto

from runtime.model.errors import Conflict, Invalid, Problem, Unavailable
from runtime.store.births import Births, Newborn, Offer
from runtime.store.execution import DAYS_AHEAD
from runtime.store.faults import (
    LANE_FULL,
    never_fits,
    sqlstate,
    translated,
    was_refused,
    was_rolled_back,
)
from runtime.store.group_commit import Batcher
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

_ENQUEUE: Final = statements("enqueue")["enqueue"]
_REFUSED_BY_LANES: Final = statements("enqueue")["refused_by_lanes"]
_MAKE_PARTITIONS: Final = statements("execution")["make_partitions"]
_TRIES: Final = 3
_NO_PARTITION: Final = "23514"
# No other object of what an acceptance says has this name: labels are texts, and quotes in texts are escaped.
_IN_LANE: Final = '"concurrency":{'

_log = get_logger("enqueue")


class EnqueueRow(NamedTuple):
    """A new execution; its fields stand in the order of the arrays of `mc_enqueue_2`.

    `input`, `meta`, `event` and `labels` are JSON texts, `digest` is that of the request's body.
    """

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version_id: UUID
    namespace: str
    region: str | None
    priority: int
    timeout_seconds: float | None
    wake_at: datetime | None
    input: str
    meta: str
    key: str | None
    digest: bytes | None
    event: str
    labels: str | None

    @property
    def size(self) -> int:
        """What it weighs in a batch."""
        return len(self.input) + len(self.meta) + len(self.event) + len(self.labels or "")

    @property
    def is_due(self) -> bool:
        """Whether it may begin at once: it has no time and no lane."""
        return self.wake_at is None and _IN_LANE not in self.meta

    def born(self, at: datetime) -> Newborn:
        """The same for the worker that owns it from its acceptance on."""
        return Newborn(
            # As the driver gives ids back: compared, hashed, written and sent in a fraction of the time.
            pgproto.UUID(self.id.bytes),
            self.tenant_id,
            self.workflow_id,
            self.version_id,
            self.namespace,
            self.region,
            self.priority,
            self.timeout_seconds,
            self.input,
            self.meta,
            at,
        )


class EnqueueOutcome(NamedTuple):
    """The accepted execution's id; not `fresh` when the key was known, not `same` with another body.

    `born`: a worker of this process runs it already, and nobody needs to be told.
    """

    id: UUID
    fresh: bool
    same: bool
    at: datetime
    born: bool = False


class _Waiting(NamedTuple):
    row: EnqueueRow
    answer: asyncio.Future[EnqueueOutcome]


class Enqueuer:
    """Accepts executions of one shard over a connection of its own."""

    def __init__(
        self,
        database: Database,
        shard: int,
        *,
        metrics: Metrics,
        births: Births | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        self._database = database
        self._births = births or Births()
        self._shard = shard
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._connection: Any = None
        self._batcher = Batcher[_Waiting](
            self._send, size=lambda item: item.row.size, name="enqueuer"
        )

    async def enqueue(self, row: EnqueueRow) -> EnqueueOutcome:
        """Accept one execution; returns after the commit."""
        return await self._add(row)

    async def enqueue_many(self, rows: Sequence[EnqueueRow]) -> list[EnqueueOutcome | Exception]:
        """Accept several, in one commit unless they are too large for one; an answer for each."""
        answers = await asyncio.gather(*map(self._add, rows), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return [a for a in answers if isinstance(a, EnqueueOutcome | Exception)]

    async def close(self) -> None:
        """Send what is pending, then close the connection."""
        await self._batcher.close()
        if self._connection is not None:
            self._connection.terminate()

    def _add(self, row: EnqueueRow) -> asyncio.Future[EnqueueOutcome]:
        answer: asyncio.Future[EnqueueOutcome] = asyncio.get_running_loop().create_future()
        if self._batcher.is_closed:
            answer.set_exception(Unavailable("This process is shutting down; try again."))
        else:
            self._batcher.add(_Waiting(row, answer))
        return answer

    async def _send(self, batch: list[_Waiting]) -> None:
        todo = [_by_lane(batch)]
        while todo:
            part = todo.pop()
            try:
                outcomes = await self._call([item.row for item in part])
            except Exception as error:  # noqa: BLE001 - each kind is answered, none may end the loop
                if sqlstate(error) == LANE_FULL and len(part) > 1:
                    todo += await self._without_refused(part, error)
                elif never_fits(error) and not _is_misdated(error) and len(part) > 1:
                    half = len(part) // 2
                    todo += [part[half:], part[:half]]
                else:
                    _fail(part, error)
                continue
            self._metrics.enqueue_batch.observe(len(part))
            self._metrics.enqueued.inc(sum(outcome.fresh for outcome in outcomes))
            for item, outcome in zip(part, outcomes, strict=True):
                if not item.answer.done():
                    item.answer.set_result(outcome)

    async def _without_refused(
        self, part: list[_Waiting], error: Exception
    ) -> list[list[_Waiting]]:
        """Refuse at once all whose lanes are full, and what is left to send; halves, when nobody's is any more.

        One by one, each of a flood of refused executions would have half of a batch sent again.
        """
        rows = [one.row for one in part]
        columns = [
            [row.id for row in rows],
            [row.tenant_id for row in rows],
            [row.workflow_id for row in rows],
            [row.wake_at for row in rows],
            [row.meta for row in rows],
            [row.key for row in rows],
        ]
        try:
            with translated():
                connection = await self._connected()
                found = await connection.fetch(
                    _REFUSED_BY_LANES, self._shard, *columns, timeout=self._timeout
                )
        except Exception as other:  # noqa: BLE001 - it is only a shorter way
            self._drop()
            _log.warning("lanes_not_looked_at", error=str(other))
            found = []
        if not found:
            half = len(part) // 2
            return [part[half:], part[:half]]
        refused = {record["ordinal"]: record for record in found}
        for ordinal, record in refused.items():
            answer = part[ordinal].answer
            if not answer.done():
                answer.set_exception(_lane_full(record, error))
        rest = [one for number, one in enumerate(part) if number not in refused]
        return [rest] if rest else []

    async def _call(self, rows: list[EnqueueRow]) -> list[EnqueueOutcome]:
        """Send a batch; what may start at once is born where there are places for it."""
        ready = sum(row.is_due for row in rows)
        with translated():
            await self._connected()
        offer = self._births.claim(self._shard, ready) if ready else None
        try:
            outcomes = await self._attempts(rows, offer)
        except BaseException as error:
            if offer is not None:
                # Unless the server has refused, the batch may be committed and owned.
                offer.told([] if was_refused(error) else None)
            raise
        if offer is not None:
            pairs = zip(rows, outcomes, strict=True)
            offer.told([row.born(outcome.at) for row, outcome in pairs if outcome.born])
        return outcomes

    async def _attempts(self, rows: list[EnqueueRow], offer: Offer | None) -> list[EnqueueOutcome]:
        arguments = (self._shard, *_seat(rows, offer), *zip(*rows, strict=True))
        for attempt in range(1, _TRIES + 1):
            try:
                with translated():
                    connection = await self._connected()
                    records = await connection.fetch(_ENQUEUE, *arguments, timeout=self._timeout)
            except Exception as error:
                if attempt == _TRIES or not await self._mended(error):
                    raise
                continue
            return [EnqueueOutcome(*tuple(record)[1:]) for record in records]
        raise AssertionError("every attempt returns or raises")

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.dedicated()
        return self._connection

    async def _mended(self, error: Exception) -> bool:
        """Whether nothing was written and sending again can help: a deadlock, or a day without a partition."""
        cause = error.__cause__ or error
        if sqlstate(cause) == _NO_PARTITION and self._connection is not None:
            with translated():
                for day in range(-1, DAYS_AHEAD + 1):
                    await self._connection.fetchval(_MAKE_PARTITIONS, day)
            return True
        if was_rolled_back(cause):
            return True
        if not never_fits(cause):
            self._drop()
        return False

    def _drop(self) -> None:
        """After a failure the connection's state is not worth knowing."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _by_lane(batch: list[_Waiting]) -> list[_Waiting]:
    """Those with lanes in one order for all: an acceptance that is judged by its lane locks that, one after another."""
    if not any(_IN_LANE in one.row.meta for one in batch):
        return batch
    return sorted(batch, key=_lane_of)


def _lane_of(one: _Waiting) -> tuple[str, str]:
    _, begin, lane = one.row.meta.partition(_IN_LANE)
    return (str(one.row.workflow_id), lane) if begin else ("", "")


def _seat(rows: list[EnqueueRow], offer: Offer | None) -> tuple[int | None, int | None, list[bool]]:
    """Who offers places, and which rows are to be born there: the first that may start at once."""
    if offer is None:
        return None, None, [False] * len(rows)
    places, born = offer.places, []
    for row in rows:
        takes = row.is_due and places > 0
        places -= takes
        born.append(takes)
    return offer.me, offer.epoch, born


class Enqueuers:
    """One enqueuer for each shard: a row goes to the one of its id."""

    def __init__(self, shards: Shards, *, metrics: Metrics, births: Births) -> None:
        self._shards = shards
        self._enqueuers = tuple(
            Enqueuer(shards.database(shard), shard, metrics=metrics, births=births)
            for shard in range(shards.count)
        )

    async def enqueue(self, row: EnqueueRow) -> EnqueueOutcome:
        """Accept one execution; returns after the commit."""
        return await self._enqueuers[self._shards.shard_of(row.id)].enqueue(row)

    async def enqueue_many(self, rows: Sequence[EnqueueRow]) -> list[EnqueueOutcome | Exception]:
        """Accept several, in one commit for each shard unless they are too large; an answer for each."""
        parts: defaultdict[int, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            parts[self._shards.shard_of(row.id)].append(number)
        answers: dict[int, EnqueueOutcome | Exception] = {}

        async def send(shard: int, numbers: list[int]) -> None:
            found = await self._enqueuers[shard].enqueue_many([rows[one] for one in numbers])
            answers.update(zip(numbers, found, strict=True))

        await asyncio.gather(*(send(shard, numbers) for shard, numbers in parts.items()))
        return [answers[number] for number in range(len(rows))]

    async def close(self) -> None:
        """Send what is pending, then close the connections."""
        await asyncio.gather(*(enqueuer.close() for enqueuer in self._enqueuers))


def _is_misdated(error: Exception) -> bool:
    """Whether an id carries a day that has no partition although all days around today have theirs."""
    return sqlstate(error) == _NO_PARTITION and "no partition" in str(error)


def _lane_full(found: Mapping[str, Any], error: Exception) -> Conflict:
    """Who holds the places of the lane that an execution was refused for."""
    holders = ", ".join(map(str, found.get("holders", ())))
    told = Conflict(
        f"At most {found.get('limit')} executions of this workflow with the concurrency key {found.get('key')!r} may "
        f"be open at once, and as many are: {holders}. Wait for one to end, or cancel one.",
        reason="CONCURRENCY_LIMIT",
    )
    told.__cause__ = error
    return told


def _fail(part: list[_Waiting], error: Exception) -> None:
    told = error
    if _is_misdated(error):
        told = Unavailable(
            "The clock of this API process is days away from that of PostgreSQL, so nothing was "
            "accepted: set the clock right, then try again.",
            reason="CLOCK_WRONG",
        )
    elif sqlstate(error) == LANE_FULL:
        told = _lane_full(orjson.loads(getattr(error, "detail", None) or "{}"), error)
    elif never_fits(error):
        told = Invalid(
            [
                Problem(
                    "not-storable",
                    "This can't be stored: a value in it is too large, or of a form that PostgreSQL does not take.",
                    path=("input",),
                )
            ],
        )
        # The server's own words are for the log: they may name what is inside.
        told.__cause__ = error
    for item in part:
        if not item.answer.done():
            item.answer.set_exception(told)
