"""Crew: the workers of a process, one for each shard that it serves; with one shard, that one worker.

Which shards it serves is worked out again at each beat from who is alive: the shards of a database in
turn over its processes, two for each shard where there are two. Nothing rests on everybody agreeing:
that is for fences and claims; a shard without anybody for a moment is adopted at the next beat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from runtime.model.errors import MaestroError
from runtime.store.births import Offer
from runtime.store.execution import ExecutionStore
from runtime.telemetry.log import get_logger
from runtime.worker.loop import Worker

_log = get_logger("worker")


class Roster:
    """Which shards of one database fall to this process."""

    def __init__(
        self, store: ExecutionStore, shards: Sequence[int], *, name: str, every_seconds: float
    ) -> None:
        self._store = store
        self._name = name
        self.shards = tuple(shards)
        self.every_seconds = every_seconds

    async def mine(self) -> frozenset[int]:
        """Its share, this process counted among the living. Raises Unavailable."""
        others = await self._store.serving(self.shards)
        return share(self._name, {*others, self._name}, self.shards)


def share(me: str, processes: Collection[str], shards: Sequence[int]) -> frozenset[int]:
    """The shards that one of several processes serves; each process gets some, each shard two if it can."""
    order = sorted(processes)
    found: set[int] = set()
    for number, shard in enumerate(shards):
        holders = set(order[number :: len(shards)]) or {order[number % len(order)]}
        if len(holders) == 1:
            holders.add(order[(number + 1) % len(order)])
        if me in holders:
            found.add(shard)
    return frozenset(found)


class Crew:
    """All workers of this process, as one."""

    def __init__(self, rosters: Sequence[Roster], make_worker: Callable[[int], Worker]) -> None:
        self._rosters = tuple(rosters)
        self._make_worker = make_worker
        self._working: dict[int, tuple[Worker, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def workers(self) -> dict[int, Worker]:
        """The workers by shard."""
        return {shard: worker for shard, (worker, _) in self._working.items()}

    def offer(self, shard: int, wanted: int) -> Offer | None:
        """At most so many places for what this process accepts in a shard."""
        working = self._working.get(shard)
        return None if working is None else working[0].offer(wanted)

    async def run(self) -> None:
        """Serve until `stop`; raises what ends one of its workers."""
        tasks = [asyncio.create_task(self._follow(roster)) for roster in self._rosters]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                if not task.cancelling():  # a second one would break into its good order
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Take nothing new, finish what runs within the time, hand the rest over."""
        self._stopping.set()
        await asyncio.gather(
            *(worker.stop(drain_seconds) for worker, _ in self._working.values()), *self._leaving
        )

    async def _follow(self, roster: Roster) -> None:
        """Serve what falls to this process, at every beat."""
        if len(roster.shards) == 1:
            shard = roster.shards[0]
            self._begin(shard)
            await asyncio.gather(*self._tasks(roster))
            return
        try:
            while not self._stopping.is_set():
                with suppress(
                    MaestroError
                ):  # nobody knows more than before; the workers try themselves
                    await self._assign(roster, await roster.mine())
                await self._pause(roster)
        finally:
            if not self._stopping.is_set():
                for task in self._tasks(roster):
                    if not task.cancelling():
                        task.cancel()
            await asyncio.gather(*self._tasks(roster), return_exceptions=True)

    async def _assign(self, roster: Roster, mine: frozenset[int]) -> None:
        for shard in roster.shards:
            if shard in mine and shard not in self._working:
                self._begin(shard)
            elif shard not in mine and shard in self._working:
                self._leave(shard)

    def _begin(self, shard: int) -> None:
        if self._stopping.is_set():
            return
        worker = self._make_worker(shard)
        task = asyncio.create_task(worker.run(), name=f"worker:{shard}")
        self._working[shard] = (worker, task)

    def _leave(self, shard: int) -> None:
        """Hand a shard over: what runs ends or goes to others, and nobody waits for that here."""
        worker, task = self._working.pop(shard)
        _log.info("shard_left", shard=shard)

        async def leave() -> None:
            await worker.stop()
            await task

        leaving = asyncio.create_task(leave(), name=f"leave:{shard}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _tasks(self, roster: Roster) -> list[asyncio.Task[None]]:
        return [self._working[shard][1] for shard in roster.shards if shard in self._working]

    async def _pause(self, roster: Roster) -> None:
        """Until the next beat, or the end; raises what ended a worker although nobody asked for it."""
        stopping = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait(
            {stopping, *self._tasks(roster)},
            timeout=roster.every_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopping.cancel()
        for task in done - {stopping}:
            task.result()
