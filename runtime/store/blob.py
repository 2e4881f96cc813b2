"""Large values of executions: put under a reference that is committed first, read with their digest proven.

Used by services and worker alike, over whatever store the bootstrap has opened. It promises: when `put` has
returned, the blob is durable and will not be deleted before its execution is; what `load` and `stream` give is
what was put, or they raise. Values are kept in memory up to a number of bytes, those used last.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from runtime.abi.blob import BlobStore
from runtime.model.blob import BlobKey, BlobRef
from runtime.model.errors import DataDamaged
from runtime.model.settled import settled
from runtime.model.values import Json
from runtime.store.faults import translated
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

PIECE_BYTES: Final = 1 << 20
_THREAD_BYTES: Final = 1 << 20
_RELEASE_SECONDS: Final = 120.0

_SQL: Final = statements("blob")
_log = get_logger("store.blob")


class Blobs:
    """The large values of all executions; a reference lies in the database of its execution's shard."""

    def __init__(
        self, shards: Shards, store: BlobStore, *, cache_bytes: int, metrics: Metrics
    ) -> None:
        self._shards = shards
        self.store = store
        self._metrics = metrics
        self._cache = _Cache(cache_bytes)
        self._is_begun = False
        self._loading: dict[BlobKey, asyncio.Future[Json]] = {}

    async def put(self, tenant: UUID, execution: UUID, raw: bytes, digest: str) -> BlobRef:
        """Make a value durable for an execution; raises Unavailable when that is not possible now."""
        key, size = BlobKey.of(tenant, execution, digest), len(raw)
        shard = self._shards.shard_of(execution)
        await self._begin()
        async with self._shards.database(shard).worker() as connection:
            await connection.fetchval(_SQL["refer"], shard, execution, tenant, digest, size)
        # Looked for after the reference is committed: from then on nobody deletes it.
        if await self.store.size(key) != size:
            await self.store.put(key, _pieces(raw), size)
            self._metrics.blobs_put.inc()
            self._metrics.blob_bytes_put.inc(size)
        return BlobRef(digest, size)

    async def _begin(self) -> None:
        """Make the store's place while nothing refers to a blob; one that is gone later is not mounted, or lost."""
        if self._is_begun:
            return
        is_there = await self.store.is_there()
        # Who makes it does so before referring to a blob: whoever sees a reference finds the place made.
        if not is_there and not await self._is_referred_to():
            await self.store.make()
            is_there = True
        self._is_begun = is_there

    async def _is_referred_to(self) -> bool:
        for database in self._shards.databases:
            async with database.worker() as connection:
                if await connection.fetchval(_SQL["any"]):
                    return True
        return False

    async def load(self, tenant: UUID, execution: UUID, ref: BlobRef) -> Json:
        """The value as a row would give it back; loaded once for all who ask at the same time."""
        key = BlobKey.of(tenant, execution, ref.digest)
        found, value = self._cache.get(key)
        if found:
            return value
        under_way = self._loading.get(key)
        if under_way is None:
            task = asyncio.get_running_loop().create_task(self._load(key, ref), name="blob")
            under_way = self._loading[key] = task
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(under_way)

    async def load_again(self, tenant: UUID, execution: UUID, ref: BlobRef) -> Json:
        """The same, read from the store and its digest proven whatever is in memory."""
        return await self._load(BlobKey.of(tenant, execution, ref.digest), ref)

    async def prove(self, tenant: UUID, execution: UUID, ref: BlobRef) -> None:
        """Read the value from the store and prove its digest, piece by piece, whatever its size; raises as `load`."""
        async for _ in self.stream(tenant, execution, ref):
            continue

    async def read(self, tenant: UUID, execution: UUID, ref: BlobRef) -> bytes:
        """The JSON text of the value."""
        return b"".join([piece async for piece in self.stream(tenant, execution, ref)])

    def stream(self, tenant: UUID, execution: UUID, ref: BlobRef) -> AsyncIterator[bytes]:
        """The same in pieces, none of them empty; the last comes only when the digest is right."""
        return self._proven(BlobKey.of(tenant, execution, ref.digest), ref)

    async def _proven(self, key: BlobKey, ref: BlobRef) -> AsyncIterator[bytes]:
        if await self.store.size(key) not in {ref.size, None}:
            raise self._damaged(key, "its length is another one")
        proof, held, seen = hashlib.sha256(), b"", 0
        async for piece in self.store.read(key):
            if held:
                yield held
            held = piece
            seen += len(piece)
            if len(piece) > _THREAD_BYTES // 4:
                await asyncio.to_thread(proof.update, piece)
            else:
                proof.update(piece)
        if seen != ref.size or f"sha256:{proof.hexdigest()}" != ref.digest:
            raise self._damaged(key, "its content does not give its digest")
        if held:
            yield held

    async def _load(self, key: BlobKey, ref: BlobRef) -> Json:
        raw = b"".join([piece async for piece in self._proven(key, ref)])
        value = await asyncio.to_thread(_value, raw) if ref.size > _THREAD_BYTES else _value(raw)
        self._cache.add(key, value, ref.size)
        self._metrics.blobs_read.inc()
        return value

    def _damaged(self, key: BlobKey, why: str) -> DataDamaged:
        self._metrics.blobs_damaged.inc()
        _log.error("blob_damaged", blob=key.path, reason=why)
        return DataDamaged(
            f"The stored value {key.digest} is damaged: {why}. Restore it from a backup of the blob "
            "store.",
            reason="BLOB_DAMAGED",
        )


@dataclass(frozen=True, slots=True)
class BlobDay:
    """A day whose executions changed at an instant, after which its blobs were not released yet."""

    day: date
    at: datetime


class BlobRetention:
    """Deletes blobs that no execution of a database refers to any more, over a connection of its own.

    A blob's address holds the slot of those who may refer to it, so all of them are in one database.
    """

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store
        self._connection: Any = None

    async def days(self) -> list[BlobDay]:
        """Days to be looked at, the oldest first."""
        connection = await self._connected()
        with translated():
            return [BlobDay(*row) for row in await connection.fetch(_SQL["days"])]

    async def release(self, day: date, limit: int) -> tuple[int, int]:
        """A batch of a day: how many references, and how many blobs went.

        Whatever interrupts it leaves the references, so the same batch comes again.
        """
        connection = await self._connected()
        with translated():
            async with connection.transaction():
                await connection.fetchval(_SQL["patient"])
                row = await connection.fetchrow(_SQL["release"], day, limit)
                keys = [
                    BlobKey(*each)
                    for each in zip(
                        row["tenant"] or (), row["slot"] or (), row["digest"] or (), strict=True
                    )
                ]
                await self._store.delete(keys)
        return row["gone"], len(keys)

    async def released(self, due: BlobDay) -> None:
        """The day is through."""
        connection = await self._connected()
        with translated():
            await connection.fetchval(_SQL["released"], due.day, due.at)

    async def tidy(self, older_than_seconds: float) -> int:
        """Remove what interrupted puts left behind in the store."""
        return await self._store.tidy(older_than_seconds)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.dedicated(command_seconds=_RELEASE_SECONDS)
        return self._connection


class _Cache:
    """Values used last, up to a sum of the bytes of their texts."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._values: OrderedDict[BlobKey, tuple[Json, int]] = OrderedDict()

    def get(self, key: BlobKey) -> tuple[bool, Json]:
        """Whether it is there, and the value."""
        known = self._values.get(key)
        if known is None:
            return False, None
        self._values.move_to_end(key)
        return True, known[0]

    def add(self, key: BlobKey, value: Json, size: int) -> None:
        """Keep a value, unless it alone is too large."""
        if size > self._limit or key in self._values:
            return
        self._values[key] = value, size
        self._size += size
        while self._size > self._limit:
            _, (_, freed) = self._values.popitem(last=False)
            self._size -= freed


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), PIECE_BYTES):
        yield raw[start : start + PIECE_BYTES]


def _value(raw: bytes) -> Json:
    return settled(orjson.loads(raw))
