"""Blobs in a folder: the default, under `$MC_HOME/blobs`. Several machines need a folder that all of them see.

A put writes a file into `.parts`, syncs it, renames it to its final name, and syncs the folders on the way: after
a crash there is the whole file or none. Folders are open to their owner only. Nothing but `make` makes the folder
and `.parts` in it, by which it is known: where that is not, a disk is not mounted, and what is written beside it would
be lost when it is.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, ClassVar, Final
from urllib.parse import unquote, urlsplit

from runtime.model.blob import BlobKey
from runtime.model.errors import DataDamaged, SetupError, Unavailable

PIECE_BYTES: Final = 1 << 20
_PARTS: Final = ".parts"


class FilesystemBlobs:
    """Files by digest below one folder."""

    scheme: ClassVar[str] = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def open(cls, url: str, environment: Mapping[str, str]) -> FilesystemBlobs:  # noqa: ARG003 - the socket's form
        """`file:///absolute/folder`; it is made before the first put."""
        parts = urlsplit(url)
        folder = Path(unquote(parts.path))
        if parts.netloc or not folder.is_absolute():
            raise SetupError(
                "A folder for blobs is written file:///absolute/path.", reason="BAD_VARIABLE"
            )
        return cls(folder)

    async def is_there(self) -> bool:
        """Whether the folder is there, and is one that was made for blobs."""
        with _translated(self._folder):
            return await asyncio.to_thread((self._folder / _PARTS).is_dir)

    async def make(self) -> None:
        """Make the folder."""
        with _translated(self._folder):
            await asyncio.to_thread(_make, self._folder / _PARTS)

    async def put(self, key: BlobKey, content: AsyncIterable[bytes], size: int) -> None:
        """Store `size` bytes durably, or nothing."""
        target = self._folder / key.path
        with _translated(target):
            part, name = await asyncio.to_thread(self._begin, target)
            try:
                written = 0
                async for piece in content:
                    written += await asyncio.to_thread(part.write, piece)
                if written != size:
                    raise ValueError(f"{written} bytes came instead of {size}")
                await asyncio.to_thread(self._finish, part, name, target)
            except BaseException:
                part.close()
                with suppress(OSError):
                    Path(name).unlink()
                raise

    async def size(self, key: BlobKey) -> int | None:
        """The length of what stands there."""
        target = self._folder / key.path
        with _translated(target):
            try:
                return (await asyncio.to_thread(target.stat)).st_size
            except FileNotFoundError:
                return None

    async def read(self, key: BlobKey) -> AsyncIterator[bytes]:
        """Its bytes, a mebibyte at a time."""
        target = self._folder / key.path
        with _translated(target):
            try:
                file = await asyncio.to_thread(target.open, "rb")
            except FileNotFoundError:
                await asyncio.to_thread(self._require)
                raise DataDamaged(
                    f"The blob {key.digest} is not in the store.", reason="BLOB_MISSING"
                ) from None
        with file:
            while True:
                with _translated(target):
                    piece = await asyncio.to_thread(file.read, PIECE_BYTES)
                if not piece:
                    return
                yield piece

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove these."""
        with _translated(self._folder):
            await asyncio.to_thread(self._delete, keys)

    async def tidy(self, older_than_seconds: float) -> int:
        """Remove what interrupted puts left behind."""
        with _translated(self._folder):
            return await asyncio.to_thread(self._tidy, older_than_seconds)

    async def check(self) -> None:
        """Write a file and remove it."""
        with _translated(self._folder):
            await asyncio.to_thread(self._try)

    async def close(self) -> None:
        """Nothing is held."""

    def _begin(self, target: Path) -> tuple[IO[bytes], str]:
        self._require()
        _make(target.parent)
        handle, name = tempfile.mkstemp(dir=self._folder / _PARTS)
        return os.fdopen(handle, "wb", buffering=0), name

    @staticmethod
    def _finish(part: IO[bytes], name: str, target: Path) -> None:
        os.fsync(part.fileno())
        part.close()
        Path(name).replace(target)
        _sync(target.parent)

    def _delete(self, keys: Sequence[BlobKey]) -> None:
        if keys:
            self._require()  # Else they would count as gone and come back with their disk.
        for key in keys:
            (self._folder / key.path).unlink(missing_ok=True)

    def _tidy(self, older_than_seconds: float) -> int:
        if not (self._folder / _PARTS).is_dir():
            return 0
        # Ages are told by the clock that dates the files: that of the file system.
        with tempfile.NamedTemporaryFile(dir=self._folder / _PARTS) as now:
            before = os.fstat(now.fileno()).st_mtime - older_than_seconds
        gone = 0
        for part in (self._folder / _PARTS).iterdir():
            with suppress(FileNotFoundError):
                if part.stat().st_mtime < before:
                    part.unlink()
                    gone += 1
        return gone

    def _require(self) -> None:
        """Every store that has a blob has this folder: without it nothing can be said of any blob."""
        if not (self._folder / _PARTS).is_dir():
            raise Unavailable(
                f"The blob store is not in {self._folder}: its disk may not be mounted. Mount it. A copy of the "
                f"store, or one that begins anew because the old one is lost, needs the folder {_PARTS} in it.",
                reason="BLOB_STORE_UNAVAILABLE",
            )

    def _try(self) -> None:
        self._require()
        with tempfile.NamedTemporaryFile(dir=self._folder / _PARTS) as file:
            file.write(b"?")


def _make(folder: Path) -> None:
    """Make a folder and what leads to it, and make each new name durable."""
    if folder.is_dir():
        return
    _make(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(place: Path) -> Iterator[None]:
    """What the operating system refuses, in our words."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The blob store can't use {place}: {error.strerror or error}. Make room, or make the folder "
            "writable, then try again.",
            reason="BLOB_STORE_UNAVAILABLE",
        ) from error
