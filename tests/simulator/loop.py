"""An event loop with virtual time, in which several processes live, each with its own queue of callbacks.

Within a process callbacks keep the order that asyncio promises; between processes the seed decides. So a
process can be stopped between any two callbacks (a kill, at any await), or stand still for a while and go
on (a zombie). Nothing here waits: when nobody has anything to do, the clock jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import base_events
from collections import deque
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from heapq import heappop
from random import Random
from typing import Any

PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")
START = datetime(2026, 1, 1, tzinfo=UTC)
_BURST = 6
_CALLBACK_SECONDS = 2e-5


class Stuck(Exception):
    """Nothing can happen any more, or too much has happened."""


class Process:
    """What a kill ends at once: callbacks that wait, and everything they would have done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[asyncio.Handle] = deque()
        self.is_paused = False
        self.is_dead = False
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)


class _Ready:
    """Stands where asyncio has its one queue; hands each callback to its process."""

    def __init__(self, ground: Process) -> None:
        self._ground = ground

    def append(self, handle: asyncio.Handle) -> None:
        context: contextvars.Context = handle._context  # type: ignore[attr-defined] # asyncio's own
        context.get(PROCESS, self._ground).queue.append(handle)

    def clear(self) -> None:
        self._ground.queue.clear()


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks have the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimLoop(base_events.BaseEventLoop):
    """Runs everything of one seed."""

    # asyncio's own, which typeshed does not tell.
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, random: Random, horizon: float) -> None:
        super().__init__()
        self.random = random
        self.now = 0.0
        self.turns = 0
        self.faults: list[str] = []
        self._horizon = horizon
        # Kept, because what waits in a killed process is not ended by the collector of garbage either.
        self._tasks: list[_Task] = []
        self.ground = Process("ground")
        self.processes: list[Process] = [self.ground]
        self._ready: Any = _Ready(self.ground)
        self.set_task_factory(self._task)
        self.set_exception_handler(self._broken)

    def time(self) -> float:
        return self.now

    def spawn(self, name: str) -> Process:
        """A new process."""
        process = Process(name)
        self.processes.append(process)
        return process

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as the main task of a process."""
        return self.create_task(work, context=process.context)

    def kill(self, process: Process) -> None:
        """As kill -9: none of its callbacks runs any more."""
        process.is_dead = True

    def _run_once(self) -> None:
        self.turns += 1
        self._wake()
        busy = [p for p in self.processes if p.queue and not p.is_paused and not p.is_dead]
        if not busy:
            self._jump()
            return
        process = busy[0] if len(busy) == 1 else busy[int(self.random.random() * len(busy))]
        for _ in range(1 + int(self.random.random() * _BURST)):
            if not process.queue or process.is_dead or process.is_paused or self._stopping:
                return
            handle = process.queue.popleft()
            if not handle.cancelled():
                self.now += _CALLBACK_SECONDS
                handle._run()

    def _wake(self) -> None:
        scheduled = self._scheduled
        while scheduled and (scheduled[0].cancelled() or scheduled[0].when() <= self.now):
            timer = heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined] # asyncio's own
            if not timer.cancelled():
                self._ready.append(timer)

    def _jump(self) -> None:
        if not self._scheduled:
            raise Stuck("nobody has anything to do, and no timer runs")
        self.now = max(self.now, self._scheduled[0].when())
        if self.now > self._horizon:
            raise Stuck(f"the run has not ended after {self._horizon:g} virtual seconds")

    def _task(
        self, _loop: asyncio.AbstractEventLoop, work: Any, **more: Any
    ) -> asyncio.Future[Any]:
        task = _Task(work, loop=self, **more)
        self._tasks.append(task)
        task.number = len(self._tasks)
        return task

    def _broken(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context.get('message')}: {error!r}")

    def _process_events(self, event_list: Any) -> None:
        """There is no outside."""

    def _write_to_self(self) -> None:
        """There is no other thread."""


class SimClock:
    """The clock of a process; now and then a look at it takes long (a busy processor)."""

    def __init__(self, loop: SimLoop, slowness: float) -> None:
        self._loop = loop
        self._slowness = slowness

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.now)

    def monotonic(self) -> float:
        if self._slowness and self._loop.random.random() < self._slowness:
            self._loop.now += self._loop.random.random() * 0.02
        return self._loop.now
