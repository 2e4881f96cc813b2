"""Scenarios that run on the model and on real PostgreSQL: calls in a row, and what each of them answers.

Everything goes through the product's own ExecutionStore and the statement of its Flusher; times are left
out of the answers, because the two clocks differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg

from runtime.entropy import SeededEntropy
from runtime.model.checkpoint import (
    Checkpoint,
    Closing,
    EventRow,
    InboxKind,
    OwnedExecution,
    StepRow,
    Taken,
)
from runtime.model.errors import MaestroError
from runtime.model.values import Digest, Json
from runtime.store.execution import ExecutionStore
from runtime.store.faults import sqlstate, translated
from runtime.store.flush import _columns
from runtime.store.map_chunk import ChunkKey, MapChunks, TakenChunk
from runtime.store.statements import statements
from runtime.store.step_cache import CacheEntry, StepCache
from tests import make
from tests.simulator.model import Model
from tests.simulator.server import NAMES

_SEATS: Final = (101, 102, 103)
_OFTEN: Final = ("claim", "flush", "close", "takeover", "expire", "bury")
_SELDOM: Final = (
    "flush", "due", "leave", "sweep_workers", "claim_alone", "suspects", "send", "retry",
    "queued", "messages", "beat", "miss", "appear", "items", "lend", "lend", "chunk", "chunk", "end", "held",
    "back", "others", "chunks", "due", "trim", "lane", "keep", "find", "find",
)  # fmt: skip
_CALLS: Final = 100
# Executions without a concurrency key; those behind them share one.
_PLAIN: Final = 4
_RESULT: Final = '{"output": 1}'


class ModelDatabase:
    """The model where a database stands, without any weather."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[ModelDatabase]:
        with translated():
            yield self

    worker = engine

    async def fetch(self, text: str, *arguments: Any) -> Any:
        return self._model.call(NAMES[text], *arguments)

    execute = fetch

    async def fetchrow(self, text: str, *arguments: Any) -> Any:
        rows = await self.fetch(text, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, text: str, *arguments: Any) -> Any:
        return (await self.fetchrow(text, *arguments))[0]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scenario; `seat` and `epoch` may well be wrong ones."""

    kind: str
    seat: int
    epoch: int
    ids: tuple[UUID, ...]
    numbers: tuple[int, ...]


def scenario(seed: int) -> tuple[list[UUID], list[Call]]:
    """Executions, and calls about them that often hit and sometimes miss."""
    random, entropy = Random(f"scenario {seed}"), SeededEntropy(seed)
    now = int(make.now().timestamp() * 1000)
    ids = sorted(entropy.uuid7(now + n) for n in range(_PLAIN + 2))
    kinds = (_OFTEN * 2) + _SELDOM
    calls = [Call("register", seat, 1, (), ()) for seat in _SEATS]
    for number in range(_CALLS):
        if number % 12 == 11:
            # Seats end for good here: somebody must come after them.
            calls.append(Call("register", 200 + number, 1, (), ()))
        calls.append(
            Call(
                random.choice(kinds),
                random.choice([call.seat for call in calls if call.kind == "register"][-4:]),
                random.choice((1, 1, 1, 1, 2)),
                tuple(random.sample(ids, random.randint(1, 3))),
                tuple(random.randint(0, 9) for _ in range(6)),
            )
        )
    for number in range(3):
        # Accepted while a seat offers places: a new one and one that is known.
        fresh, other = (entropy.uuid7(now + 100 + number) for _ in range(2))
        place = random.randrange(len(_SEATS), len(calls))
        seat, epoch = random.choice(_SEATS), random.choice((1, 1, 2))
        calls.insert(place, Call("born", seat, epoch, (fresh, other, random.choice(ids)), ()))
    for number, call in enumerate(calls):
        if call.kind == "lane":
            # One more with the key, behind those that are there.
            fresh = entropy.uuid7(now + 200 + number)
            calls[number] = replace(call, ids=(fresh, ids[_PLAIN]))
    return ids, calls


class Fate(Protocol):
    """What no statement does: time passes, sessions live."""

    async def expire(self, seat: int) -> None:
        """Its lease runs out."""

    async def miss(self, seat: int) -> None:
        """Its heartbeat is late."""

    async def appear(self, seat: int) -> None:
        """A session of it lives from now on."""


class Stage:
    """Plays a scenario on one database."""

    def __init__(self, database: Any, fate: Fate) -> None:
        self._database = database
        self._chunks = MapChunks(database)
        self._cache = StepCache(database)
        self._taken: TakenChunk | None = None
        self._store = ExecutionStore(database)
        self._fate = fate

    async def play(self, ids: list[UUID], calls: list[Call]) -> list[Any]:
        """What was answered, call by call, with all that is stored after each of them."""
        rows = [
            make.enqueue_row(id=one, workflow=one, version=one, key=f"k{one}")
            for one in ids[:_PLAIN]
        ]
        again = rows[0]._replace(id=rows[1].id)
        # To begin long after the scenario is over: only a cancel begins it.
        rows[-1] = rows[-1]._replace(wake_at=make.now() + timedelta(days=1))
        limited = [_in_lane(one, ids[_PLAIN], "queue", n) for n, one in enumerate(ids[_PLAIN:])]
        answers = [await self._enqueue(found) for found in (rows, [again], limited)]
        for call in calls:
            try:
                answer = await self._make(call)
            except MaestroError as error:
                answer = type(error).__name__
            except asyncpg.PostgresError as error:
                answer = sqlstate(error)
            answers.append((call.kind, _plain(answer), await self._stored(ids)))
        return answers

    async def _enqueue(
        self, rows: list[Any], seat: int | None = None, epoch: int | None = None
    ) -> Any:
        async with self._database.engine() as connection:
            columns = tuple(zip(*rows, strict=True))
            found = await connection.fetch(
                statements("enqueue")["enqueue"],
                0,
                seat,
                epoch,
                [seat is not None] * len(rows),
                *columns,
            )
        return [(*tuple(row)[:4], row["born"]) for row in found]

    async def _stored(self, ids: list[UUID]) -> Any:
        histories = await self._store.load_histories(ids)
        return {
            one: (
                [tuple(row)[:6] + tuple(row)[7:] for row in found.steps],
                found.last_sequence,
                found.messages,
                [mark[:2] for mark in found.marks],
            )
            for one, found in histories.items()
        }

    async def _make(self, call: Call) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line per statement
        store, seat, epoch = self._store, call.seat, call.epoch
        match call.kind:
            case "register":
                return await store.register(0, seat, f"host {seat}", 600.0, ("b", "a")[: seat % 3])
            case "claim":
                return await store.claim(0, seat, epoch, list(call.ids))
            case "due" | "takeover":
                return await getattr(store, call.kind)(0, seat, epoch, 10)
            case "claim_alone":
                return await store.claim_alone(0, seat, epoch)
            case "suspects":
                return await store.suspects(0, limit=9)
            case "leave":
                return await store.leave(0, seat, epoch)
            case "expire" | "miss" | "appear":
                return await getattr(self._fate, call.kind)(seat)
            case "bury":
                return await store.bury(0, seat)
            case "sweep_workers":
                return await store.sweep_workers(0)
            case "lend" | "chunk" | "end" | "held" | "back" | "others" | "chunks":
                return await self._lend(call)
            case "trim":
                return await store.trim_lanes(0)
            case "lane":
                fresh, workflow = call.ids
                rule = ("queue", "reject", "cancel_oldest")[call.numbers[0] % 3]
                return await self._enqueue([_in_lane(fresh, workflow, rule, call.numbers[1])])
            case "keep" | "find":
                return await self._give_again(call)
            case "items":
                return await store.item_results(0, call.ids[0], call.numbers[0] % 3, 0, 3)
            case "messages":
                return await store.messages(list(call.ids))
            case "born":
                new, other, known = call.ids
                rows = [
                    make.enqueue_row(id=one, workflow=one, version=one, key=f"k{key}")
                    for one, key in ((new, new), (other, known))
                ]
                return await self._enqueue(rows, seat, epoch)
            case "held_back":
                return await store.held_back(0)
            case "queued":
                found = await store.queued(0, older_than_seconds=-1.0, per_tenant=3, limit=5)
                return [one[:3] for one in found]
        return await self._speak(call)

    async def _give_again(self, call: Call) -> Any:
        key, (_, wanted, item, *_) = bytes([call.numbers[0] % 3]), call.numbers
        if call.kind == "find":
            return await self._cache.find(make.TENANT, key)
        digest = str(Digest.of(b"1" if wanted else b"2"))
        one = CacheEntry(
            make.TENANT, key, 600_000 if wanted < 8 else -1, call.ids[0], "s", item, digest, "1"
        )
        return await self._cache.keep([one])

    async def _lend(self, call: Call) -> Any:
        chunks, seat = self._chunks, (0, call.seat, call.epoch)
        one, (number, step, lender, *_) = call.ids[0], call.numbers
        match call.kind:
            case "lend":
                return await chunks.lend(seat, one, number, step % 3, [(0, 1), (step, 2)])
            case "chunk":
                self._taken = await chunks.take(seat) or self._taken
                return self._taken
            case "end" if self._taken is not None and lender < 8:
                return await chunks.end(seat, self._taken.key, "told")
            case "end":
                return await chunks.end(seat, ChunkKey(one, _SEATS[lender % 3], number), "told")
            case "held":
                return sorted((await chunks.held(seat)).items())
            case "back":
                stop = (step % 3, "why") if lender < 3 else None
                patience = 0.0 if number < 2 else 600.0
                return await chunks.back(seat, one, patience_seconds=patience, stop=stop)
            case "others":
                return await chunks.others(0, call.seat)
        return await chunks.sweep(0)

    async def _speak(self, call: Call) -> Any:
        one, numbers = call.ids[0], call.numbers
        async with self._database.engine() as connection:
            match call.kind:
                case "beat":
                    return await self._store.beat(
                        connection,
                        0,
                        call.seat,
                        call.epoch,
                        lease_seconds=600.0,
                        late_seconds=600.0,
                    )
                case "send":
                    return await self._store.send(
                        0, make.TENANT, one, InboxKind.CANCEL, {"n": numbers[0]}, connection
                    )
                case "retry":
                    event: Json = {"from_failed_step": numbers[0] < 5}
                    if numbers[0] % 3:
                        return await self._store.retry(0, make.TENANT, one, event, connection)
                    given = '{"p": 1}' if numbers[0] % 2 else None
                    return await self._store.rewind(
                        0, make.TENANT, one, event, connection, given=given
                    )
            row = await connection.fetchrow(
                statements("checkpoint")["flush"],
                0,
                call.seat,
                call.epoch,
                *_columns([_checkpoint(call)]),
            )
        return tuple(row)


def _in_lane(one: UUID, workflow: UUID, rule: str, number: int) -> Any:
    """A row with a concurrency key; of the first ones of a workflow at most one runs, then at most two."""
    said = {"key": "k", "limit": 1 + (rule != "queue"), "on_conflict": rule}
    return make.enqueue_row(
        id=one, workflow=workflow, version=one, priority=number % 2, meta={"concurrency": said}
    )


def _checkpoint(call: Call) -> Checkpoint:
    """Steps and events that may be there already, and for `close` an end, a pause with an inbox, or a return."""
    one, (step, attempt, sequence, status, wake, seen) = call.ids[0], call.numbers
    closing = None
    if call.kind == "close":
        kind = (2, 3, 3, 4, 5, 7, 2, 3, 0, 4)[status]
        wake_in = -1.0 if wake < 7 else 600.0
        wait = 10 if attempt % 2 else 4
        closing = Closing(
            one, kind, wait if kind == 3 else None, wake_in if kind == 3 else None, seen % 3
        )
    # Items of a map beside rows of steps.
    item = (-1, 0, 1, 3)[sequence % 4]
    row = StepRow(
        make.TENANT,
        one,
        step % 3,
        item,
        0,
        attempt % 3,
        2 if wake > 6 else 6,
        0.1,
        wake > 6,
        _RESULT,
    )
    event = EventRow(make.TENANT, one, sequence + 2, 2 if wake > 4 else 20, None)
    if closing is not None and closing.wait == 10:
        event = event._replace(
            kind=5, data=('{"tags": [["a", "b"], ["c"]]}', '{"tags": [["b"]]}')[wake % 2]
        )
    return Checkpoint(
        one,
        (row,),
        (event,),
        closing,
        clears_takeovers=status > 5,
        inbox_read=(seen,) if closing else (),
    )


def _plain(answer: Any) -> Any:
    """Without times, and in an order of its own: SQL promises none."""
    if isinstance(answer, list):
        return sorted((_plain(one) for one in answer), key=repr)
    if isinstance(answer, Taken):
        return _plain(list(answer.owned)), set(answer.suspects), set(answer.dead)
    if isinstance(answer, OwnedExecution):
        a = answer
        return (
            a.id,
            a.generation,
            a.epoch,
            a.takeovers,
            a.inbox,
            a.cancel_requested,
            a.meta,
            a.input,
        )
    if isinstance(answer, TakenChunk):
        return (answer.key, _plain(answer.execution), *answer[2:])
    if hasattr(answer, "inbox") and hasattr(answer, "live"):
        return (
            answer.live,
            answer.dead_workers,
            answer.due,
            answer.queued,
            tuple(sorted(answer.inbox)),
            answer.lent,
        )
    return answer
