"""The blob socket: where values that are too large for a row lie, by their digest.

An implementation is a class of one file in `runtime/blob/` with a `scheme` (that of its address) and `open`.
It promises: what stands under a key is whole (never a half-written file under its name) and, when `put` has
returned, durable; a key once put reads the same until it is deleted; deleting what is not there is no error.
It neither knows who refers to a blob nor judges contents: digests are compared by whoever reads. What the
store can't do at present it says with Unavailable (reason BLOB_STORE_UNAVAILABLE).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from runtime.model.blob import BlobKey


@runtime_checkable
class BlobStore(Protocol):
    """The contract."""

    scheme: ClassVar[str]

    @classmethod
    def open(cls, url: str, environment: Mapping[str, str]) -> BlobStore:
        """The store at an address; raises SetupError when the address makes no sense."""

    async def is_there(self) -> bool:
        """Whether there is a place for blobs at the address; it says nothing about any of them."""

    async def make(self) -> None:
        """Make the place, where a store has to; called only while nothing refers to a blob."""

    async def put(self, key: BlobKey, content: AsyncIterable[bytes], size: int) -> None:
        """Store `size` bytes durably, or nothing; what stood there before is replaced whole.

        Where the place is not there it is not made, so that nothing is written beside it: Unavailable.
        """

    async def size(self, key: BlobKey) -> int | None:
        """The length of what stands there, None when nothing does."""

    def read(self, key: BlobKey) -> AsyncIterator[bytes]:
        """Its bytes, in pieces; raises DataDamaged (BLOB_MISSING) when nothing is there."""

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove these; those that are not there are no error."""

    async def tidy(self, older_than_seconds: float) -> int:
        """Remove what interrupted puts left behind, when it is older; how many pieces."""

    async def check(self) -> None:
        """Return when the store can be written to; raise Unavailable when it can't."""

    async def close(self) -> None:
        """Let go of what is held."""
