"""RedisQueue: queued executions on their way to workers, a stream per shard and priority class.

An entry is a hint. Delivered twice, the claim lets one through; never delivered, the sweep adds it
again. Entries are deleted with their acknowledgement, and what a dead worker had been given is handed
to another one after half a minute.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

from redis.exceptions import ResponseError

from runtime.queue import keys
from runtime.queue.link import AWAY, RedisLink
from runtime.telemetry.log import get_logger

# From here on hints stop, whosesoever they are: the dispatcher chooses what comes next, in turns of the tenants.
ENOUGH_WAITING: Final = 1_000
# From so many entries on, what comes waits behind others. So many hints a tenant gives then before the next look,
# and so many else; what it has more waits for that look, which comes soon.
CROWD: Final = 64
HINTS_IN_A_CROWD: Final = 16
HINTS_AT_ONCE: Final = 256
_SOON_SECONDS: Final = 0.02
_LOOKS: Final = 15
# So long counts what the dispatcher said of who takes turns; then it may be gone.
_TURNS_MS: Final = 3_000
_ID_BYTES: Final = 16
_LOOK_SECONDS: Final = 0.1
_MOST_ENTRIES: Final = 100_000
_ABANDONED_MS: Final = 30_000
_RECOVER_EVERY_SECONDS: Final = 15.0
_FORGET_CONSUMER_MS: Final = 3_600_000
_FIELD: Final = b"id"

_log = get_logger("queue")


class QueueEntry(NamedTuple):
    """One delivery: to be acknowledged by `ack`, whatever came of it."""

    stream: str
    entry_id: bytes
    execution_id: UUID


class RedisQueue:
    """The streams. No call raises because Redis is away."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._next_recovery: dict[int, float] = {}
        # Per shard: entries when last looked at, and hints since then; when to look again.
        self._waiting: dict[int, int] = {}
        self._turns: dict[int, frozenset[UUID]] = {}
        self._given: defaultdict[int, Counter[UUID]] = defaultdict(Counter)
        self._crowded: set[int] = set()
        self._later: defaultdict[int, list[tuple[UUID, int]]] = defaultdict(list)
        self._has_turns: set[int] = set()
        self._next_look: dict[int, float] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def hint(self, shard: int, tenant: UUID, execution_id: UUID, priority_class: int) -> None:
        """Tell of an execution that was queued just now, unless its tenant takes turns, or so much waits that all do.

        Else a caller who enqueues many would stand before everybody who comes after. Never blocks.
        """
        self._see(shard)
        waiting = self._waiting.get(shard, 0)
        if waiting >= ENOUGH_WAITING or tenant in self._turns.get(shard, ()):
            return
        given, is_crowded = self._given[shard], shard in self._crowded
        given[tenant] += 1
        if given[tenant] <= (HINTS_IN_A_CROWD if is_crowded else HINTS_AT_ONCE):
            self._waiting[shard] = waiting + 1
            self.add(shard, [(execution_id, priority_class)])
        elif not is_crowded and len(self._later[shard]) < ENOUGH_WAITING:
            self._later[shard].append((execution_id, priority_class))

    def _see(self, shard: int) -> None:
        """Look, unless that was less long ago."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_look.get(shard, 0.0):
            self._next_look[shard] = now + _LOOK_SECONDS
            look = asyncio.get_running_loop().create_task(self._look(shard))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    async def _look(self, shard: int) -> None:
        """See how much waits, and again while hints wait for that; in a crowd that stays the dispatcher has them."""
        for _ in range(_LOOKS):
            if not await self._seen(shard):
                return
            await asyncio.sleep(_SOON_SECONDS)
        self._later[shard].clear()

    async def _seen(self, shard: int) -> bool:
        """One look; whether hints wait for another one."""
        waiting = await self.depth(shard) or 0
        self._turns[shard] = await self.turns(shard)
        self._given[shard].clear()
        if waiting >= CROWD:
            self._crowded.add(shard)
        else:
            self._crowded.discard(shard)
            now, self._later[shard] = (
                self._later[shard][:HINTS_AT_ONCE],
                self._later[shard][HINTS_AT_ONCE:],
            )
            self.add(shard, now)
            waiting += len(now)
        self._waiting[shard] = waiting
        return bool(self._later[shard])

    def take_turns(self, shard: int, tenants: Collection[UUID]) -> None:
        """The dispatcher's word: until it speaks again, or falls silent, these tenants give no hints; never blocks."""
        if tenants:
            names = b"".join(one.bytes for one in tenants)
            self._link.later("SET", keys.turns(shard), names, "PX", _TURNS_MS)
            self._has_turns.add(shard)
        elif shard in self._has_turns:
            self._link.later("DEL", keys.turns(shard))
            self._has_turns.discard(shard)

    async def turns(self, shard: int) -> frozenset[UUID]:
        """The tenants that take turns now; none when Redis is away."""
        try:
            found: bytes = await self._link.ask(lambda client: client.get(keys.turns(shard))) or b""
        except AWAY:
            return frozenset()
        ends = range(_ID_BYTES, len(found) + 1, _ID_BYTES)
        return frozenset(UUID(bytes=found[end - _ID_BYTES : end]) for end in ends)

    def add(self, shard: int, entries: Iterable[tuple[UUID, int]]) -> None:
        """Hint that these executions are queued: pairs of id and priority class; never blocks."""
        for execution_id, priority_class in entries:
            self._add(keys.stream(shard, priority_class), execution_id)

    def _add(self, stream: str, execution_id: UUID) -> None:
        bound = ("MAXLEN", "~", _MOST_ENTRIES)
        self._link.later("XADD", stream, *bound, "*", _FIELD, str(execution_id))

    async def read(self, shard: int, consumer: str, count: int, block_ms: int) -> list[QueueEntry]:
        """At most `count` entries, the highest class first; waits up to `block_ms` for the first."""
        try:
            try:
                return await self._read(shard, consumer, count, block_ms)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await self._make_groups(shard)
                return await self._read(shard, consumer, count, block_ms)
        except AWAY:
            await asyncio.sleep(min(block_ms, 1_000) / 1_000)
            return []

    def ack(self, entries: Sequence[QueueEntry]) -> None:
        """Be done with these deliveries; never blocks. One that is lost comes again and changes nothing."""
        by_stream: defaultdict[str, list[bytes]] = defaultdict(list)
        for entry in entries:
            by_stream[entry.stream].append(entry.entry_id)
        for stream, ids in by_stream.items():
            self._link.later("XACK", stream, keys.GROUP, *ids)
            self._link.later("XDEL", stream, *ids)

    def give_back(self, entries: Sequence[QueueEntry]) -> None:
        """Let others have these deliveries at once: whoever read them could claim nothing; never blocks."""
        for entry in entries:
            self._add(entry.stream, entry.execution_id)
        self.ack(entries)

    async def depth(self, shard: int) -> int | None:
        """How many entries the shard's streams hold, delivered ones included; None when Redis is away."""
        try:
            lengths: list[int] = [
                await self._link.ask(lambda client, name=name: client.xlen(name))  # type: ignore[misc] # mypy sees no type for a lambda's default
                for name in keys.streams(shard)
            ]
        except AWAY:
            return None
        return sum(lengths)

    async def forget_consumers(self, shard: int) -> int:
        """Remove the names of workers that are long gone and hold nothing; how many."""
        removed = 0
        try:
            for stream in keys.streams(shard):
                for name in await self._idle_consumers(stream):
                    await self._link.ask(
                        lambda client, stream=stream, name=name: client.execute_command(  # type: ignore[misc] # mypy sees no type for a lambda's default
                            "XGROUP", "DELCONSUMER", stream, keys.GROUP, name
                        )
                    )
                    removed += 1
        except AWAY:
            return removed
        return removed

    async def _idle_consumers(self, stream: str) -> list[bytes]:
        try:
            found: list[dict[str, Any]] = await self._link.ask(
                lambda client: client.xinfo_consumers(stream, keys.GROUP)
            )
        except ResponseError:
            return []
        return [
            item["name"]
            for item in found
            if item["pending"] == 0 and item["idle"] > _FORGET_CONSUMER_MS
        ]

    async def _read(self, shard: int, consumer: str, count: int, block_ms: int) -> list[QueueEntry]:
        found = await self._recover(shard, consumer, count)
        for stream in keys.streams(shard):
            if len(found) < count:
                found += await self._take((stream,), consumer, count - len(found), None)
        if found or block_ms <= 0:
            return found
        return await self._take(keys.streams(shard), consumer, max(1, count // 3), block_ms)

    async def _take(
        self, streams: tuple[str, ...], consumer: str, count: int, block_ms: int | None
    ) -> list[QueueEntry]:
        block = () if block_ms is None else ("BLOCK", block_ms)
        answer = await self._link.ask(
            lambda client: client.execute_command(
                "XREADGROUP",
                "GROUP",
                keys.GROUP,
                consumer,
                "COUNT",
                count,
                *block,
                "STREAMS",
                *streams,
                *(">" for _ in streams),
            ),
            seconds=2.0 + (block_ms or 0) / 1_000,
        )
        pairs = answer.items() if isinstance(answer, dict) else answer or ()
        return [entry for name, rows in pairs for entry in self._decoded(_text(name), rows)]

    async def _recover(self, shard: int, consumer: str, count: int) -> list[QueueEntry]:
        """Now and then, take over what was delivered to a worker that never acknowledged it."""
        now = asyncio.get_running_loop().time()
        if now < self._next_recovery.get(shard, 0.0):
            return []
        self._next_recovery[shard] = now + _RECOVER_EVERY_SECONDS
        found: list[QueueEntry] = []
        for stream in keys.streams(shard):
            answer = await self._link.ask(
                lambda client, stream=stream: client.execute_command(  # type: ignore[misc] # mypy sees no type for a lambda's default
                    "XAUTOCLAIM",
                    stream,
                    keys.GROUP,
                    consumer,
                    _ABANDONED_MS,
                    "0-0",
                    "COUNT",
                    count,
                )
            )
            found += self._decoded(stream, answer[1])
        return found

    def _decoded(self, stream: str, rows: Iterable[Any]) -> list[QueueEntry]:
        """Entries that name an execution. Others belong to no tenant, so no dead letter can hold them."""
        found: list[QueueEntry] = []
        strange: list[bytes] = []
        for entry_id, raw in _entries(rows):
            execution_id = _id_of(raw)
            if execution_id is None:
                _log.error("undecodable_message", stream=stream, entry=_text(entry_id))
                strange.append(entry_id)
            else:
                found.append(QueueEntry(stream, entry_id, execution_id))
        if strange:
            self._link.metrics.undecodable.inc(len(strange))
            self._link.later("XACK", stream, keys.GROUP, *strange)
            self._link.later("XDEL", stream, *strange)
        return found

    async def _make_groups(self, shard: int) -> None:
        """After a start or a flush of Redis the groups do not exist."""
        for stream in keys.streams(shard):
            with suppress(ResponseError):  # somebody else has made it meanwhile
                await self._link.ask(
                    lambda client, stream=stream: client.xgroup_create(  # type: ignore[misc] # mypy sees no type for a lambda's default
                        stream, keys.GROUP, id="0", mkstream=True
                    )
                )


def _entries(rows: Iterable[Any]) -> list[tuple[bytes, str | bytes]]:
    """Entries of an answer: id and text; those that were deleted meanwhile come without fields (6.2)."""
    found: list[tuple[bytes, str | bytes]] = []
    for row in rows:
        if row and row[1]:
            fields = row[1]
            raw = fields.get(_FIELD, b"") if isinstance(fields, dict) else fields[1]
            found.append((row[0], raw))
    return found


def _id_of(raw: str | bytes) -> UUID | None:
    try:
        return UUID(_text(raw))
    except ValueError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
