"""The blob store of one seed: in memory, slow at times, and refusing now and then, but never for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from random import Random
from typing import ClassVar, Final

from runtime.model.blob import INLINE_BYTES, BlobKey
from runtime.model.errors import DataDamaged, Unavailable
from tests.simulator.cache import has_cache
from tests.simulator.server import Server

_MOST_REFUSALS: Final = 2


class SimBlobs:
    """Stands where an implementation of the socket stands."""

    scheme: ClassVar[str] = "sim"

    def __init__(self, server: Server) -> None:
        self.blobs: dict[BlobKey, bytes] = {}
        self._server = server
        self._refused: Counter[BlobKey] = Counter()

    @classmethod
    def open(cls, url: str, environment: Mapping[str, str]) -> SimBlobs:
        raise AssertionError(f"nobody opens {url} by its address")

    async def is_there(self) -> bool:
        return True

    async def make(self) -> None:
        raise AssertionError("it is there")

    async def put(self, key: BlobKey, content: AsyncIterable[bytes], size: int) -> None:
        await self._way(key)
        whole = b"".join([piece async for piece in content])
        assert len(whole) == size
        self.blobs[key] = whole
        await self._way(key)

    async def size(self, key: BlobKey) -> int | None:
        await self._way(key)
        return len(self.blobs[key]) if key in self.blobs else None

    async def read(self, key: BlobKey) -> AsyncIterator[bytes]:
        await self._way(key)
        if key not in self.blobs:
            raise DataDamaged(reason="BLOB_MISSING")
        yield self.blobs[key]

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        for key in keys:
            self.blobs.pop(key, None)

    async def tidy(self, older_than_seconds: float) -> int:
        return 0

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return

    async def _way(self, key: BlobKey) -> None:
        server = self._server
        await asyncio.sleep(server.delay())
        if server.chance(server.weather.lost_request) and self._refused[key] < _MOST_REFUSALS:
            self._refused[key] += 1
            raise Unavailable(reason="BLOB_STORE_UNAVAILABLE")


def inline_bytes_of(seed: int) -> int:
    """From which size on values leave their row in this seed: never, some of them, or all."""
    if has_cache(seed):
        # What leaves its row is not kept to be given again.
        return Random(f"blobs {seed}").choice((INLINE_BYTES, INLINE_BYTES, 3))
    return Random(f"blobs {seed}").choice((INLINE_BYTES, 3, 3, 0))
