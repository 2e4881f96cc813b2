"""A database with executions on it, and buses with handlers that remember what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from maestro import Event, EventHandler
from runtime.bus.line import BusSettings
from runtime.bus.loop import Bus
from runtime.bus.registry import registered
from runtime.clock import SystemClock
from runtime.entropy import SystemEntropy
from runtime.queue.link import RedisLink
from runtime.queue.wakeup import Wakeup
from runtime.registry import Found
from runtime.store.event_bus import EventBusStore
from tests.integration.store.conftest import StoreRoom, store_room, until

QUICK = BusSettings(
    poll_seconds=0.05,
    pause_seconds=0.001,
    longest_pause_seconds=0.002,
    away_seconds=0.05,
    lease_seconds=30.0,
)


class Recorder(EventHandler):
    """Remembers what it was told; does what a test wants before that."""

    def __init__(self, name: str = "recorder", *events: str, **fields: Any) -> None:
        self.name = name
        self.events = events or ("execution_*",)
        self.told: list[Event] = []
        self.calls: list[tuple[str, ...]] = []
        self.missed_until: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.at_once = self.most_at_once = 0
        for key, value in fields.items():
            setattr(self, key, value)

    async def handle(self, events: Sequence[Event]) -> None:
        self.calls.append(tuple(event.id for event in events))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            await self.gate.wait()
            self.judge(events)
        finally:
            self.at_once -= 1
        self.told += events

    def judge(self, events: Sequence[Event]) -> None:
        """Raise to fail."""

    async def missed(self, until: Any) -> None:
        self.missed_until.append(until)

    def sequences(self, execution: Any) -> list[int]:
        """What was told of one execution, in order."""
        return [event.sequence for event in self.told if event.subject == execution]

    async def has(self, count: int) -> None:
        """Wait until so many events were taken."""
        await until(self._having(count), seconds=15)

    async def has_all(self, subjects: Iterable[Any]) -> None:
        """Wait until events of all of these were taken; others may have come again."""
        wanted = set(subjects)

        async def enough() -> bool:
            return wanted <= {event.subject for event in self.told}

        await until(enough, seconds=15)

    def _having(self, count: int):
        async def enough() -> bool:
            return len(self.told) >= count

        return enough


@dataclass
class BusRoom:
    """The store's room, and buses on it."""

    store: StoreRoom
    wakeup: Wakeup
    bus_store: EventBusStore
    buses: list[tuple[Bus, asyncio.Task[None]]] = field(default_factory=list)

    async def start(self, *handlers: EventHandler, settings: BusSettings = QUICK) -> Bus:
        """A bus that has what it can get when this returns."""
        bus = Bus(
            registered(Found(one, "test:handler") for one in handlers),
            store=self.bus_store,
            wakeup=self.wakeup,
            metrics=self.store.metrics,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            settings=settings,
        )
        self.buses.append((bus, asyncio.create_task(bus.run())))
        return bus

    async def holds(self, bus: Bus, count: int = 1) -> None:
        """Wait until a bus holds so many cursors."""

        async def enough() -> bool:
            return len(bus.running) == count

        await until(enough, seconds=15)

    async def stop(self, bus: Bus) -> None:
        """End a bus in good order."""
        await bus.stop()
        await next(task for one, task in self.buses if one is bus)

    async def kill(self, bus: Bus) -> None:
        """End a bus as a lost process would: its rows stay as they are, its lease runs out."""
        task = next(task for one, task in self.buses if one is bus)
        bus._store = _Gone()  # type: ignore[assignment]
        task.cancel()
        await asyncio.wait([task])
        await self.store.sql.execute(
            "update event_cursors set lease_until = now() - interval '1 s'"
        )


class _Gone:
    """What a killed process does with its store: nothing."""

    async def release(self, _me: int) -> None:
        """No farewell."""


@pytest.fixture
async def room(database_url: str, redis_url: str) -> AsyncIterator[BusRoom]:
    async with store_room(database_url) as store:
        link = await RedisLink.open(redis_url, metrics=store.metrics)
        made = BusRoom(store, Wakeup(link), EventBusStore(store.database))
        yield made
        for bus, _ in made.buses:
            await bus.stop()
        await asyncio.gather(*(task for _, task in made.buses), return_exceptions=True)
        await made.wakeup.close()
        await link.close()
