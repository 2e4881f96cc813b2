"""Bus: any number of processes may run one; each handler is run by the one that holds its cursor.

A cursor is held by a lease in its row. Losing it, or PostgreSQL for as long as it lasts, ends the
handler's task at once; a process that was stopped in between can't move the cursor any more. Two who
run a handler for a moment may both tell it the same, which at least once allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from runtime.bus.line import BusSettings, Line, Lost
from runtime.bus.registry import Registered
from runtime.clock import Clock
from runtime.entropy import Entropy
from runtime.model.errors import MaestroError
from runtime.queue.wakeup import Wakeup
from runtime.store.event_bus import NO_SHARD, EventBusStore, Stream, Subscription
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

LAG_SECONDS: Final = 10.0

_log = get_logger("bus")
_Key = tuple[str, Stream, int]


class Bus:
    """Runs the handlers of this process, those that no other process runs."""

    def __init__(
        self,
        handlers: Sequence[Registered],
        *,
        store: EventBusStore,
        wakeup: Wakeup,
        metrics: Metrics,
        clock: Clock,
        entropy: Entropy,
        shards: Sequence[int] = (0,),
        has_catalog: bool = True,
        settings: BusSettings | None = None,
        mask: Callable[[str], str] = str,
    ) -> None:
        self._handlers: Mapping[str, Registered] = {one.name: one for one in handlers}
        self._wanted = _subscriptions(handlers, shards, has_catalog=has_catalog)
        self._store = store
        self._wakeup = wakeup
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._settings = settings or BusSettings()
        self._mask = mask
        self._me = entropy.bits(62)
        self._lines: dict[_Key, tuple[Line, asyncio.Task[None]]] = {}
        self._bell = asyncio.Event()
        self._stopping = asyncio.Event()
        self._held_at = 0.0
        self._measured_at = 0.0

    @property
    def running(self) -> frozenset[_Key]:
        """The cursors that this process holds."""
        return frozenset(self._lines)

    async def run(self) -> None:
        """Hold what can be held, and tell the handlers, until `stop`. Without handlers it costs nothing."""
        if not self._wanted:
            await self._stopping.wait()
            return
        unhook = self._wakeup.on_events(self._ring)
        try:
            while not self._stopping.is_set() and not await self._register():
                await self._pause()
            while not self._stopping.is_set():
                await self._safe_turn()
                await self._pause()
        finally:
            unhook()
            await self._end(tuple(self._lines))
            with suppress(MaestroError):
                await self._store.release(self._me)

    async def stop(self) -> None:
        """End; another process may run the handlers at once."""
        self._stopping.set()
        self._bell.set()

    def _ring(self) -> None:
        """Executions have new events: whoever runs a handler looks now."""
        for line, _ in self._lines.values():
            line.look()

    async def _register(self) -> bool:
        try:
            for one in self._wanted:
                start = self._handlers[one.handler].handler.start
                await self._store.register(one, from_beginning=start == "beginning")
        except MaestroError as error:
            _log.warning("handlers_not_registered", error=error.message)
            return False
        return True

    async def _safe_turn(self) -> None:
        try:
            await self._turn()
        except Exception as error:  # noqa: BLE001 - a defect here must not end all handlers for good
            _log.error("bus_turn_failed", error=self._mask(repr(error)))

    async def _turn(self) -> None:
        """Renew and take leases; begin and end lines accordingly."""
        asked_at = self._clock.monotonic()
        try:
            held = await self._store.hold(self._me, self._wanted, self._settings.lease_seconds)
        except MaestroError as error:
            _log.warning("handlers_not_renewed", error=error.message)
            if asked_at - self._held_at > self._settings.lease_seconds:
                await self._end(tuple(self._lines))
            return
        self._held_at = asked_at
        keys = {cursor.key for cursor in held}
        await self._end([k for k, (_, t) in self._lines.items() if k not in keys or t.done()])
        for cursor in held:
            if cursor.key in self._lines:
                self._lines[cursor.key][0].look(cursor.missed_until)
                continue
            line = Line(
                self._handlers[cursor.handler],
                cursor,
                me=self._me,
                store=self._store,
                settings=self._settings,
                metrics=self._metrics,
                entropy=self._entropy,
                mask=self._mask,
            )
            task = asyncio.create_task(line.run(), name=f"handler {cursor.handler}")
            self._lines[cursor.key] = line, task
        if asked_at - self._measured_at >= LAG_SECONDS:
            self._measured_at = asked_at
            await self._measure()

    async def _measure(self) -> None:
        with suppress(MaestroError):
            for one in await self._store.lags():
                if (one.handler, one.stream, one.shard) in self._lines:
                    gauge = self._metrics.handler_lag.labels(
                        one.handler, one.stream, str(one.shard)
                    )
                    gauge.set(one.lag_seconds)

    async def _end(self, keys: Sequence[_Key]) -> None:
        """End lines: lost, failed, or no longer wanted."""
        ended = {self._lines.pop(key)[1]: key for key in keys}
        for task, key in ended.items():
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None and not isinstance(error, Lost):
                    _log.error("handler_line_broke", handler=key[0], error=self._mask(repr(error)))
        tasks = {task for task in ended if not task.done()}
        while tasks:
            # A handler may swallow one cancellation, so it is repeated.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_seconds):
                await self._bell.wait()


def _subscriptions(
    handlers: Sequence[Registered], shards: Sequence[int], *, has_catalog: bool
) -> tuple[Subscription, ...]:
    found: list[Subscription] = []
    for one in handlers:
        if one.kinds:
            found += [Subscription(one.name, "execution", shard, one.kinds) for shard in shards]
        if one.wants_domain and has_catalog:
            found.append(Subscription(one.name, "domain", NO_SHARD))
    return tuple(found)
