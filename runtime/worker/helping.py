"""Helping: a worker runs items of maps whose executions others own, a chunk at a time (ADR-083).

It makes their calls with what the rows of the execution say, in its own places and under its own lease, and leaves what
became of them; rows and events are the owner's. What it can't run, or has not run when it stops, it gives back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

from runtime.engine.command import RunStep, StopStep
from runtime.engine.event import Event, StepDeferred, StepError, StepFailed, StepSucceeded
from runtime.model.errors import MaestroError
from runtime.store.map_chunk import ChunkKey, TakenChunk
from runtime.telemetry.log import get_logger
from runtime.worker.admission import Admission
from runtime.worker.executor import STAYS, Executor
from runtime.worker.outcomes import Outcome, written
from runtime.worker.run import Guest, Run
from runtime.worker.tools import Seat, Tools

# So many chunks at once; beyond it, what is prepared for their executions is let go.
MOST_CHUNKS: Final = 4

_log = get_logger("worker")


@dataclass(slots=True)
class _Help:
    """A chunk under way: what has become of its items so far."""

    chunk: TakenChunk
    run: Run
    left: set[int]
    outcomes: list[Outcome] = field(default_factory=list)
    stays: bool = False
    is_stopped: bool = False


class Helping:
    """The chunks that one incarnation runs for others."""

    def __init__(self, tools: Tools, seat: Seat, executor: Executor, admission: Admission) -> None:
        self._tools = tools
        self._seat = seat
        self._key = (seat.shard, seat.me, seat.epoch)
        self._executor = executor
        self._admission = admission
        self._helps: dict[ChunkKey, _Help] = {}
        self._items: dict[tuple[int, int], _Help] = {}
        # What was prepared for a map, by execution, generation and step: the list is rendered once.
        self._known: OrderedDict[tuple[UUID, int, int], Run] = OrderedDict()
        self._is_lent = False
        self._looks = False
        self._ended: list[_Help] = []
        self._something = asyncio.Event()

    def __len__(self) -> int:
        return len(self._helps)

    def told(self, *, is_lent: bool) -> None:
        """The answer of a heartbeat: whether somebody lends something."""
        self._is_lent = is_lent
        if is_lent or self._helps:
            self._looks = True
            self._something.set()

    async def serve(self) -> None:
        """Help for ever. Raises what makes this seat unsafe to keep."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._ended:
                await self._end(self._ended.pop())
                # The one who lent it lends more of it.
                self._is_lent = True
            if self._looks and self._helps:
                self._looks = False
                await self._look()
            while self._may_help():
                chunk = await self._tools.chunks.take(self._key)
                if chunk is None:
                    self._is_lent = False
                    break
                await self._begin(chunk)

    async def give_back(self) -> None:
        """Tell of what has ended, and give back the rest: this worker stops."""
        for help_ in tuple(self._helps.values()):
            with suppress(MaestroError):
                await self._end(help_)

    def drop(self) -> None:
        """Others may run them now."""
        for help_ in tuple(self._helps.values()):
            self._forget(help_)
        for run in self._known.values():
            self._tools.traces.end_run(run, None)
            self._executor.forget(run)
        self._known.clear()

    def _may_help(self) -> bool:
        return (
            self._is_lent
            and len(self._helps) < MOST_CHUNKS
            and not self._executor.is_draining
            and self._executor.may_call
        )

    # --- one chunk -------------------------------------------------------------------------------

    async def _begin(self, chunk: TakenChunk) -> None:
        try:
            run = await self._run_of(chunk)
        except MaestroError:
            raise
        except Exception as error:  # noqa: BLE001 - one execution must not end the worker of all
            _log.error("chunk_not_run", execution=str(chunk.key.execution), reason=repr(error))
            run = None
        guest = None if run is None else run.guest
        if run is None or guest is None or run.prepared.steps[chunk.step].connector is None:
            # Whoever lends it has what is missing here.
            await self._tools.chunks.end(self._key, chunk.key, written((), stays=True))
            self._rang(chunk)
            return
        help_ = _Help(chunk, run, {item for item, _ in chunk.items})
        self._helps[chunk.key] = help_
        for item in help_.left:
            self._items[id(run), item] = help_
        guest.wanted |= help_.left
        self._executor.begin(run, [RunStep(chunk.step, number, at) for at, number in chunk.items])

    async def _run_of(self, chunk: TakenChunk) -> Run | None:
        """The execution as its items see it; None when this map of it is not open."""
        owned = chunk.execution
        key = (owned.id, owned.generation, chunk.step)
        run = self._known.get(key)
        if run is None:
            prepared = await self._tools.programs.get(owned.version_id)
            histories = await self._tools.store.load_histories([owned.id], shard=self._seat.shard)
            run = self._admission.guest(owned, prepared, histories[owned.id])
            run.guest = Guest(partial(self._heard, run))
            self._tools.traces.begin_run(run)
            self._known[key] = run
        self._known.move_to_end(key)
        self._let_go()
        fan = run.state.fans.get(chunk.step)
        return None if fan is None or fan.fault is not None else run

    def _heard(self, run: Run, event: Event) -> None:
        """What became of an item."""
        if not isinstance(event, StepSucceeded | StepFailed | StepDeferred):
            return
        help_ = self._items.pop((id(run), event.item), None)
        if help_ is None:
            return
        help_.left.discard(event.item)
        if run.guest is not None:
            run.guest.wanted.discard(event.item)
        if isinstance(event, StepDeferred) and event.error.type == STAYS:
            help_.stays = True
        else:
            help_.outcomes.append(event)
        if not help_.left:
            self._ended.append(help_)
            self._something.set()

    async def _end(self, help_: _Help) -> None:
        self._forget(help_)
        await self._tools.chunks.end(
            self._key, help_.chunk.key, written(help_.outcomes, stays=help_.stays)
        )
        self._rang(help_.chunk)

    def _rang(self, chunk: TakenChunk) -> None:
        self._tools.wakeup.publish_inbox(self._seat.shard, [chunk.key.execution])

    def _forget(self, help_: _Help) -> None:
        """Nothing more of this chunk is told; what of it runs still is stopped."""
        self._helps.pop(help_.chunk.key, None)
        for item in help_.left:
            self._items.pop((id(help_.run), item), None)
        if help_.run.guest is not None:
            help_.run.guest.wanted -= help_.left
        if help_.left:
            self._stop(help_, "this worker no longer runs the item")
        self._let_go()

    def _stop(self, help_: _Help, why: str) -> None:
        step = help_.chunk.step
        items = [StopStep(step, why, item) for item in sorted(help_.left)]
        self._executor.stop_items(help_.run, items)

    def _let_go(self) -> None:
        """Of what is prepared, keep what runs and a few more."""
        used = {id(one.run) for one in self._helps.values()}
        for key, run in tuple(self._known.items()):
            if len(self._known) <= MOST_CHUNKS + 1:
                break
            if id(run) not in used:
                del self._known[key]
                self._tools.traces.end_run(run, None)
                self._executor.forget(run)

    async def _look(self) -> None:
        """Which chunks are this worker's still, and which are to stop."""
        held = await self._tools.chunks.held(self._key)
        for key, help_ in tuple(self._helps.items()):
            why = held.get(key)
            if key not in held:
                if help_.left:
                    self._forget(help_)
            elif why is not None and not help_.is_stopped:
                help_.is_stopped = True
                self._call_off(help_, why)

    def _call_off(self, help_: _Help, why: str) -> None:
        """The map fails, or its execution ends: what has not begun does not, what has is told to end."""
        fan = help_.run.state.fans.get(help_.chunk.step)
        if fan is not None and fan.fault is None:
            fan.fault = (-1, StepError("cancelled", why))
        self._stop(help_, why)
