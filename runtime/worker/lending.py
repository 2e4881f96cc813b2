"""Lending: the owner of a large map has a part of its items run by other workers, a chunk at a time (ADR-083).

The core knows nothing of it: an item that is lent is under way like any other, so `max_concurrency` counts it, and
what a helper tells of it goes the way of the owner's own calls. What comes back untold is begun here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

from runtime.clock import Clock
from runtime.engine.command import RunStep, StopStep
from runtime.engine.event import Event
from runtime.engine.state import Phase
from runtime.model.errors import MaestroError
from runtime.model.plan import Effect
from runtime.settings import WorkerSettings
from runtime.store.map_chunk import ChunkKey, LentChunk, MapChunks
from runtime.telemetry.log import get_logger
from runtime.worker.outcomes import Outcome, read
from runtime.worker.run import Run
from runtime.worker.tools import Seat

LOOK_SECONDS: Final = 0.25
# A map is watched for so long before its pace says anything.
WATCH_SECONDS: Final = 0.5
# After so long a chunk that nobody takes comes back, and for so long none is offered then.
PATIENCE_SECONDS: Final = 2.5
REST_SECONDS: Final = 10.0
OTHERS_SECONDS: Final = 1.0
MOST_ITEMS: Final = 100
# Whoever has lost so many helpers in one map runs the rest of it alone.
MOST_LOSSES: Final = 2

_log = get_logger("worker")


@dataclass(slots=True)
class _Chunk:
    """Items that are lent, each with its attempt; `is_sent` when the database has them."""

    step: int
    items: dict[int, int]
    is_sent: bool = False


@dataclass(slots=True)
class _Map:
    """One open map, watched from its first item on. `stays` when its items have to be run here.

    `own` are the items whose helper was lost: the next to be lost with them must be their owner, which counts for
    their execution. `pending` wait for the rest of their chunk.
    """

    run: Run
    step: int
    since: float
    left: int
    is_lent: bool = False
    stays: bool = False
    losses: int = 0
    not_before: float = float("-inf")
    own: set[int] = field(default_factory=set)
    pending: list[RunStep] = field(default_factory=list)


_Place: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Lender:
    """What a run has lent, and the steps whose items are to end, with the reason.

    `told` is of items that this owner has not begun yet: it adopted their chunk.
    """

    run: Run
    out: dict[ChunkKey, _Chunk] = field(default_factory=dict)
    told: dict[_Place, Outcome] = field(default_factory=dict)
    stops: dict[int, str] = field(default_factory=dict)


class Lending:
    """What one incarnation lends; `begin` lets items be run here, `tell` tells a run what became of one."""

    def __init__(
        self,
        chunks: MapChunks,
        seat: Seat,
        *,
        settings: WorkerSettings,
        is_alone: bool,
        clock: Clock,
        begin: Callable[[Run, Iterable[RunStep]], None],
        tell: Callable[[Run, Event], None],
    ) -> None:
        """`is_alone`: what is suspected of killing workers is nobody else's."""
        self._chunks = chunks
        self._seat = (seat.shard, seat.me, seat.epoch)
        self._settings = settings
        self._is_alone = is_alone
        self._clock = clock
        self._begin = begin
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._maps: dict[_Place, _Map] = {}
        self._lenders: dict[UUID, _Lender] = {}
        self._others = 0
        self._others_at = float("-inf")
        self._number = 0
        self._something = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    # --- what the executor says ------------------------------------------------------------------

    def take(self, run: Run, action: RunStep) -> bool:
        """An item is to begin: whether it is lent, or is out already, so that nothing is to be done here."""
        step, item = action.step, action.item
        if self._is_out(run, action):
            return True
        fan, key = run.state.fans.get(step), (id(run), step)
        if fan is None or not _may_be_lent(run, step) or self._is_alone:
            return False
        one = self._maps.get(key)
        if one is None:
            self._maps[key] = _Map(run, step, self._clock.monotonic(), fan.left)
            self._something.set()
            self._watch()
            return False
        size = self._size(one)
        if size == 0 or item in one.own:
            return False
        if len(fan.live) - self._count(run, step) - len(one.pending) <= self._kept(one):
            return False
        one.pending.append(action)
        if len(one.pending) >= size:
            self._send(one)
        return True

    def stop(self, run: Run, command: StopStep) -> None:
        """An item is to end; all of its map are."""
        step = command.step
        one = self._maps.get((id(run), step))
        if one is not None:
            self._return(one)
        lender = self._lenders.get(run.owned.id)
        if lender is not None and lender.run is run and self._count(run, step):
            lender.stops.setdefault(step, command.reason)
            self._something.set()

    def rang(self, ids: Iterable[UUID]) -> None:
        """A helper may have left something for these executions."""
        if any(one in self._lenders for one in ids):
            self._something.set()

    async def adopt(self, run: Run) -> None:
        """What was lent of this execution before this run was made is under way still. Raises Fenced, Unavailable."""
        found = await self._chunks.back(self._seat, run.owned.id, patience_seconds=0.0)
        if not found:
            return
        lender = self._lenders[run.owned.id] = _Lender(run)
        for chunk in found:
            if not chunk.is_back:
                lender.out[chunk.key] = _Chunk(chunk.step, dict(chunk.items), is_sent=True)
            elif chunk.outcomes is not None:
                told, _ = read(chunk.outcomes, chunk.step)
                lender.told |= {(chunk.step, one.item): one for one in told}
        self._watch()

    def forget(self, run: Run) -> None:
        """This run is carried no longer; what it has lent is adopted by whoever carries the execution next."""
        for key in [key for key in self._maps if key[0] == id(run)]:
            del self._maps[key]
        lender = self._lenders.get(run.owned.id)
        if lender is not None and lender.run is run:
            del self._lenders[run.owned.id]
            if lender.out and run.state.phase is Phase.CLOSED:
                self._spawn(self._sweep())

    def drop(self) -> None:
        """Nobody is interested any more."""
        for task in (*self._tasks, *filter(None, (self._watching,))):
            task.cancel()

    # --- how much --------------------------------------------------------------------------------

    def _size(self, one: _Map) -> int:
        """How many items a chunk of this map has; 0: none is lent now. Two chunks for each helper: one waits for it."""
        if not one.is_lent or one.stays or one.losses >= MOST_LOSSES or not self._others:
            return 0
        if self._clock.monotonic() < one.not_before:
            return 0
        share = _most(one) // (self._others + 1)
        return min(MOST_ITEMS, max(1, share // 2)) if share else 0

    def _kept(self, one: _Map) -> int:
        """How many items are run here at once while the others have theirs."""
        most = _most(one)
        return min(self._settings.max_steps, most - most // (self._others + 1) * self._others)

    def _count(self, run: Run, step: int) -> int:
        lender = self._lenders.get(run.owned.id)
        if lender is None or lender.run is not run:
            return 0
        return sum(len(chunk.items) for chunk in lender.out.values() if chunk.step == step)

    def _is_out(self, run: Run, action: RunStep) -> bool:
        """Whether the owner before has lent this attempt; what a helper has told of it is told now."""
        lender = self._lenders.get(run.owned.id)
        if lender is None or lender.run is not run:
            return False
        told = lender.told.pop((action.step, action.item), None)
        if told is not None and told.attempt == action.attempt:
            self._loop.call_soon(self._tell, run, told)
            return True
        return any(
            chunk.step == action.step and chunk.items.get(action.item) == action.attempt
            for chunk in lender.out.values()
        )

    # --- sending ---------------------------------------------------------------------------------

    def _send(self, one: _Map) -> None:
        self._number += 1
        run = one.run
        key = ChunkKey(run.owned.id, self._seat[1], self._number)
        chunk = _Chunk(one.step, {action.item: action.attempt for action in one.pending})
        one.pending = []
        lender = self._lenders.setdefault(run.owned.id, _Lender(run))
        lender.out[key] = chunk
        self._spawn(self._sent(lender, key, chunk))

    async def _sent(self, lender: _Lender, key: ChunkKey, chunk: _Chunk) -> None:
        items, is_lent = list(chunk.items.items()), True
        try:
            is_lent = await self._chunks.lend(
                self._seat, key.execution, key.number, chunk.step, items
            )
        except MaestroError as error:
            # Whether it is lent, the next look tells.
            _log.warning("chunk_not_lent", execution=str(key.execution), reason=error.message)
        chunk.is_sent = True
        if not is_lent and lender.out.pop(key, None) is not None:
            self._begin_here(lender.run, chunk.step, chunk.items)

    def _return(self, one: _Map) -> None:
        pending, one.pending = one.pending, []
        if pending:
            self._begin(one.run, pending)

    def _begin_here(self, run: Run, step: int, items: dict[int, int]) -> None:
        if not run.is_over:
            self._begin(run, [RunStep(step, attempt, item) for item, attempt in items.items()])

    # --- watching --------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = self._loop.create_task(self._looking(), name="lending")

    async def _looking(self) -> None:
        """As long as there is something to watch."""
        while self._maps or self._lenders:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._something.wait()
            self._something.clear()
            try:
                await self._look()
            except MaestroError as error:
                # Whoever holds the seat finds out what it means; until then nothing comes back.
                _log.warning("lending_waits", reason=error.message)
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        now = self._clock.monotonic()
        for key, one in tuple(self._maps.items()):
            if one.run.is_over or one.step not in one.run.state.fans:
                del self._maps[key]
            elif not one.is_lent:
                one.is_lent = _is_worth_it(one, now, self._settings.lend_seconds)
        if any(one.is_lent for one in self._maps.values()):
            if now - self._others_at >= OTHERS_SECONDS:
                self._others = await self._chunks.others(*self._seat[:2])
                self._others_at = now
            for one in tuple(self._maps.values()):
                if one.pending and self._size(one):
                    self._send(one)
                else:
                    self._return(one)
        for execution, lender in tuple(self._lenders.items()):
            if lender.out:
                await self._fetch(lender)
            elif not lender.told and self._lenders.get(execution) is lender:
                del self._lenders[execution]

    async def _fetch(self, lender: _Lender) -> None:
        """What has come back of what this run has lent."""
        lent = {chunk.step for chunk in lender.out.values()}
        stops = [one for one in lender.stops.items() if one[0] in lent]
        for stop in stops[:-1]:
            await self._fetch_part(lender, stop)
        await self._fetch_part(lender, stops[-1] if stops else None)

    async def _fetch_part(self, lender: _Lender, stop: tuple[int, str] | None) -> None:
        sent = [key for key, chunk in lender.out.items() if chunk.is_sent]
        execution = lender.run.owned.id
        found = await self._chunks.back(
            self._seat, execution, patience_seconds=PATIENCE_SECONDS, stop=stop
        )
        there = set()
        for chunk in found:
            if chunk.is_back:
                self._came_back(lender, chunk)
            else:
                there.add(chunk.key)
        for key in sent:
            if key not in there and key in lender.out:
                # Fetched by a statement whose answer was lost.
                missing = lender.out.pop(key)
                self._begin_here(lender.run, missing.step, missing.items)

    def _came_back(self, lender: _Lender, chunk: LentChunk) -> None:
        run, mine = lender.run, lender.out.pop(chunk.key, None)
        if mine is None or run.is_over:
            return  # Of a statement whose answer was lost: its items have begun here.
        told, stays = ([], False) if chunk.outcomes is None else read(chunk.outcomes, chunk.step)
        left = dict(mine.items)
        for outcome in told:
            if left.get(outcome.item) == outcome.attempt:
                del left[outcome.item]
                self._tell(run, outcome)
        one = self._maps.get((id(run), chunk.step))
        if one is not None:
            one.stays = one.stays or stays
            if chunk.is_lost:
                one.losses += 1
                one.own.update(left)
            elif chunk.outcomes is None:
                one.not_before = self._clock.monotonic() + REST_SECONDS
        if chunk.is_lost:
            _log.warning("helper_lost", execution=str(run.owned.id), items=len(left))
        self._begin_here(run, chunk.step, left)

    async def _sweep(self) -> None:
        with suppress(MaestroError):
            await self._chunks.sweep(self._seat[0])

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work, name="lending")  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _may_be_lent(run: Run, step: int) -> bool:
    """Whether a second call of its items would do no harm, as far as that is known before one is rendered."""
    prepared = run.prepared.steps[step]
    plan, connector = prepared.program.plan, prepared.connector
    if connector is None or connector.inline or plan.map is None or plan.runs_on or plan.cache:
        return False  # Its helpers would have to have its tags; and who looks up an output also keeps it.
    return (plan.effect or connector.effect_class) is not Effect.AT_MOST_ONCE


def _most(one: _Map) -> int:
    plan = one.run.prepared.program.steps[one.step].plan.map
    return 1 if plan is None else plan.max_concurrency


def _is_worth_it(one: _Map, now: float, worth: float) -> bool:
    """Whether what is left would take this worker so many seconds, at the pace of its items so far."""
    seconds, left = now - one.since, one.run.state.fans[one.step].left
    done = one.left - left
    return seconds >= min(WATCH_SECONDS, worth) and left * seconds >= worth * done and left > 1
