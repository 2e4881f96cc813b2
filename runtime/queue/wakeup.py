"""Wakeup: bells that say "look now" to whoever watches an execution or owns one.

A bell carries no news, only the advice to read PostgreSQL; so a lost ring costs a poll interval and a
ring too many costs one read. One reader per process serves all bells; after every (re)connection it
rings them all, because nobody knows what was missed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal
from uuid import UUID

from runtime.queue import keys
from runtime.queue.link import AWAY, RedisLink

Topic = Literal["events", "logs"]

_ID_BYTES: Final = 16
_QUIET_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = (0.1, 0.25, 0.5, 1.0)


class Bell:
    """Rung when there may be something new."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, or the next who will."""
        self._rung.set()

    async def wait(self, timeout: float) -> bool:
        """Return True when rung since the last wait, False when `timeout` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung


class Wakeup:
    """Rings and hears bells over published messages; survives Redis being away."""

    def __init__(self, link: RedisLink, *, shards: Sequence[int] = (0,)) -> None:
        self._link = link
        self._topics = {
            keys.channel(shard, topic): topic
            for shard in shards
            for topic in ("events", "inbox", "logs")
        }
        self._bells: defaultdict[tuple[str, UUID], set[Bell]] = defaultdict(set)
        self._inbox: list[Callable[[Sequence[UUID]], None]] = []
        self._any: list[Callable[[], None]] = []
        self._closing = False
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="wakeup")
        self.connected = asyncio.Event()

    def publish_events(self, shard: int, ids: Iterable[UUID]) -> None:
        """Say that these executions have new events; never blocks."""
        self._publish(shard, "events", ids)

    def publish_logs(self, shard: int, ids: Iterable[UUID]) -> None:
        """Say that these executions have new log lines; never blocks."""
        self._publish(shard, "logs", ids)

    def publish_inbox(self, shard: int, ids: Iterable[UUID]) -> None:
        """Say to their owners that these executions have messages; never blocks."""
        self._publish(shard, "inbox", ids)

    @asynccontextmanager
    async def listen(self, execution_id: UUID, topic: Topic = "events") -> AsyncIterator[Bell]:
        """A bell of this execution for the time of the block."""
        bell, key = Bell(), (topic, execution_id)
        self._bells[key].add(bell)
        try:
            yield bell
        finally:
            self._bells[key].discard(bell)
            if not self._bells[key]:
                del self._bells[key]

    def on_inbox(self, callback: Callable[[Sequence[UUID]], None]) -> Callable[[], None]:
        """Call back with the executions that have messages; returns how to stop that."""
        self._inbox.append(callback)
        return lambda: self._inbox.remove(callback)

    def on_events(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when any execution has new events; returns how to stop that."""
        self._any.append(callback)
        return lambda: self._any.remove(callback)

    async def close(self) -> None:
        """Stop hearing; whoever waits at a bell is woken."""
        self._closing = True
        # A cancellation that meets the client while it connects can come out as a lost connection.
        while not self._reader.done():
            self._reader.cancel()
            await asyncio.wait({self._reader}, timeout=0.5)
        self._ring_all()

    def _publish(self, shard: int, topic: str, ids: Iterable[UUID]) -> None:
        payload = b"".join(execution_id.bytes for execution_id in ids)
        if payload:
            self._link.later("PUBLISH", keys.channel(shard, topic), payload)

    async def _read(self) -> None:
        failures = 0
        while not self._closing:
            pubsub = self._link.client.pubsub()
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    await pubsub.subscribe(*self._topics)
                self._link.mark(None)
                self._ring_all()
                self.connected.set()
                failures = 0
                await self._hear(pubsub)
            except AWAY as error:
                self._link.mark(error)
            finally:
                self.connected.clear()
                with suppress(*AWAY):
                    await pubsub.aclose()
            await asyncio.sleep(_AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)])
            failures += 1

    async def _hear(self, pubsub: Any) -> None:
        """Messages until the connection breaks; in the quiet, a ping proves that it has not."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=_QUIET_SECONDS)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    self._dispatch(message["channel"].decode(), message["data"])
                continue
            if asked:
                raise TimeoutError("no answer to a ping")
            async with asyncio.timeout(_QUIET_SECONDS):
                await pubsub.ping()
            asked = True

    def _dispatch(self, channel: str, payload: bytes) -> None:
        topic = self._topics.get(channel)
        if topic == "events":
            for call in tuple(self._any):
                call()
        if topic is None or (topic != "inbox" and not self._bells):
            return
        ids = [
            UUID(bytes=payload[at : at + _ID_BYTES])
            for at in range(0, len(payload) - _ID_BYTES + 1, _ID_BYTES)
        ]
        if topic == "inbox":
            for callback in tuple(self._inbox):
                callback(ids)
            return
        for execution_id in ids:
            for bell in tuple(self._bells.get((topic, execution_id), ())):
                bell.ring()

    def _ring_all(self) -> None:
        for call in tuple(self._any):
            call()
        for bells in tuple(self._bells.values()):
            for bell in tuple(bells):
                bell.ring()
