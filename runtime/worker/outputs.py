"""Large values of a worker's executions: out before the checkpoint that names them, in when they are needed.

How much is in at the same time is bounded: whoever needs a value waits until there is room for it, and the room is
given back when what was rendered from it is gone. A store that does not answer is asked again: a load waits as long
as its execution lives, a put gives up after a few tries, because its step can be repeated.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Final, NamedTuple

import orjson

from runtime.model.blob import BlobRef, NotLoaded, goes_out
from runtime.model.checkpoint import OwnedExecution
from runtime.model.errors import StepErrorKind, StepFailed, Unavailable
from runtime.model.values import Json
from runtime.store.blob import Blobs
from runtime.telemetry.log import get_logger
from runtime.worker.encode import Encoded, encode, hash_of, is_bulky, text_of, too_large

PUT_PAUSES: Final = (0.2, 1.0)
STORE_UNAVAILABLE: Final = "BLOB_STORE_UNAVAILABLE"
LOAD_PAUSE: Final = 0.2
LOAD_LONGEST_PAUSE: Final = 5.0

_log = get_logger("worker")


class Keep:
    """What an attempt has beside large values: a class of Python, since one that is compiled has no weak references."""


class Held:
    """The large values that were loaded for one rendering, and the room that they take."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._values: dict[BlobRef, Json] = {}
        self._taken = 0

    def resolve(self, ref: BlobRef) -> Json:
        """A value that was loaded; raises NotLoaded."""
        if ref not in self._values:
            raise NotLoaded(ref)
        return self._values[ref]

    async def add(self, outputs: Outputs, owned: OwnedExecution, ref: BlobRef) -> None:
        """Load one more; only the first one waits for room, so that nobody waits in a circle."""
        if self._taken:
            self._taken += self._room.overdraw(ref.size)
        else:
            self._taken = await self._room.take(ref.size)
        self._values[ref] = await outputs.load(owned, ref)

    def kept(self) -> Keep:
        """For whoever has copies of the values: the room is given back when what this returns is gone with them."""
        taken, self._taken = self._taken, 0
        self._values.clear()
        keep = Keep()
        if taken:
            weakref.finalize(keep, self._room.give, taken).atexit = False
        return keep

    def release(self) -> None:
        """Give the room back now."""
        self._values.clear()
        if self._taken:
            self._room.give(self._taken)
            self._taken = 0


class Room:
    """So many bytes; those who come are served in their order. One that is larger than all gets all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """How many bytes nobody has; below zero when somebody had to overdraw."""
        return self._free

    async def take(self, size: int) -> int:
        """Wait until there is room; how much of it was taken, to be given back."""
        size = min(size, self._size)
        if not self._waiting and size <= self._free:
            self._free -= size
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise
        return size

    def overdraw(self, size: int) -> int:
        """Take it although there may be none: whoever has some already must be able to end. How much it was."""
        size = min(size, self._size)
        self._free -= size
        return size

    def give(self, taken: int) -> None:
        """Give back what was taken, all at once or in parts."""
        self._free += taken
        while self._waiting and (
            self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free
        ):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


class Kept(NamedTuple):
    """A value that can stand in a row: as it is, or by reference."""

    encoded: Encoded
    ref: BlobRef | None = None

    @property
    def text(self) -> str:
        """What the row says."""
        if self.ref is None:
            return self.encoded.raw.decode()
        return text_of(self.ref.as_json())


class Outputs:
    """What the executor asks of the blob store."""

    def __init__(
        self, blobs: Blobs, *, max_bytes: int, inline_bytes: int, loaded_bytes: int
    ) -> None:
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._inline_bytes = inline_bytes
        self.room = Room(loaded_bytes)

    def held(self) -> Held:
        """For one rendering."""
        return Held(self.room)

    def encode(self, value: Json, what: str) -> Encoded:
        """A value ready to be stored; raises StepFailed when it can't be, or is too large."""
        return encode(value, what, self._max_bytes)

    def encode_at_once(self, value: Json, what: str) -> Encoded | None:
        """The same; None when the value is so large that somebody has to wait for it."""
        if is_bulky(value):
            return None
        encoded = self.encode(value, what)
        return None if self.goes_out(encoded) else encoded

    async def keep(self, owned: OwnedExecution, value: Json, what: str) -> Kept:
        """A value of any size, encoded and, when it is too large for a row, durable outside of it.

        What takes long is done in a thread, beside the heartbeat. Raises StepFailed.
        """
        if is_bulky(value):
            encoded = await asyncio.to_thread(self.encode, value, what)
        else:
            encoded = self.encode(value, what)
        if not self.goes_out(encoded):
            return Kept(encoded)
        return Kept(encoded, await self._store(owned, encoded, what))

    def check(self, size: int, what: str) -> None:
        """Raise StepFailed when so many bytes are more than are stored."""
        if size > self._max_bytes:
            raise too_large(what, size, self._max_bytes)

    async def keep_raw(self, owned: OwnedExecution, raw: bytes, what: str) -> Kept:
        """A list that is JSON text with sorted keys already; decoded only if it stays in its row. Raises StepFailed."""
        self.check(len(raw), what)
        is_large = len(raw) > self._inline_bytes
        encoded = Encoded(None if is_large else orjson.loads(raw), raw, hash_of(raw))
        if not is_large:
            return Kept(encoded)
        return Kept(encoded, await self._store(owned, encoded, what))

    def goes_out(self, encoded: Encoded) -> bool:
        """Whether it is too large for a row."""
        return goes_out(encoded.value, len(encoded.raw), self._inline_bytes)

    async def _store(self, owned: OwnedExecution, encoded: Encoded, what: str) -> BlobRef:
        """Make it durable outside the row; raises StepFailed, which says that trying again can help."""
        pauses = iter(PUT_PAUSES)
        while True:
            try:
                return await self._blobs.put(owned.tenant_id, owned.id, encoded.raw, encoded.digest)
            except Unavailable as error:
                # Without PostgreSQL nothing can be recorded, so nothing has failed yet: whoever owns the
                # execution when it is back goes on.
                pause = next(pauses, None) if error.reason == STORE_UNAVAILABLE else LOAD_PAUSE
                if pause is None:
                    raise StepFailed(
                        f"{what} ({len(encoded.raw)} bytes) could not be stored: {error.message}",
                        kind=StepErrorKind.TRANSIENT,
                        type="blob.unavailable",
                        uncertain=True,
                    ) from error
                await asyncio.sleep(pause)

    async def load(self, owned: OwnedExecution, ref: BlobRef) -> Json:
        """The value; waits while the store does not answer, raises DataDamaged when it is lost."""
        pause = LOAD_PAUSE
        while True:
            try:
                return await self._blobs.load(owned.tenant_id, owned.id, ref)
            except Unavailable as error:
                _log.warning("blob_not_loaded", execution=str(owned.id), reason=error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LOAD_LONGEST_PAUSE)
