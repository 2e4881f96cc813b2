"""What only files can show: rights, what a crash leaves, and a folder that can't be used."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from runtime.blob.filesystem import FilesystemBlobs
from runtime.model.blob import BlobKey
from runtime.model.errors import Unavailable

KEY = BlobKey(UUID(int=1), 2, "sha256:" + "ab" * 32)


async def one(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


@pytest.fixture
async def store(tmp_path: Path) -> FilesystemBlobs:
    made = FilesystemBlobs(tmp_path / "blobs")
    await made.make()
    return made


async def test_only_the_owner_may_look(store: FilesystemBlobs, tmp_path: Path):
    await store.put(KEY, one(b"x"), 1)

    made = [path for path in (tmp_path / "blobs").rglob("*") if path.is_dir()]
    file = tmp_path / "blobs" / KEY.path
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "blobs", *made)} == {0o700}
    assert file.stat().st_mode & 0o777 == 0o600


async def test_what_a_crash_left_is_tidied_when_it_is_old(store: FilesystemBlobs, tmp_path: Path):
    await store.put(KEY, one(b"x"), 1)
    left = tmp_path / "blobs" / ".parts" / "left"
    left.write_bytes(b"half")

    assert await store.tidy(3_600.0) == 0
    os.utime(left, (0, 0))
    assert await store.tidy(3_600.0) == 1

    assert not left.exists()
    assert await store.size(KEY) == 1


async def test_the_content_is_synced_before_the_name_and_the_folder_after(
    store: FilesystemBlobs, monkeypatch
):
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted(name, do):
        def note(*arguments):
            order.append(name)
            return do(*arguments)

        return note

    monkeypatch.setattr(os, "fsync", noted("sync", fsync))
    monkeypatch.setattr(Path, "replace", noted("name", replace))

    await store.put(KEY, one(b"x"), 1)

    assert order[-3:] == ["sync", "name", "sync"]


async def test_a_full_disk_is_said_and_leaves_nothing(
    store: FilesystemBlobs, tmp_path, monkeypatch
):
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await store.put(KEY, one(b"x"), 1)
    other = BlobKey(UUID(int=1), 2, "sha256:" + "cd" * 32)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(Unavailable, match="No space left on device") as caught:
        await store.put(other, one(b"y"), 1)

    assert caught.value.reason == "BLOB_STORE_UNAVAILABLE"
    assert list((tmp_path / "blobs" / ".parts").iterdir()) == []
    assert await store.size(other) is None


async def test_a_folder_that_is_none_is_unavailable(tmp_path: Path):
    (tmp_path / "blobs").write_text("a file")

    store = FilesystemBlobs(tmp_path / "blobs")

    assert not await store.is_there()
    for use in (store.make(), store.put(KEY, one(b"x"), 1)):
        with pytest.raises(Unavailable):
            await use


async def test_a_folder_whose_disk_is_gone_is_away_and_its_blobs_are_not_lost(
    store: FilesystemBlobs, tmp_path: Path
):
    folder, disk = tmp_path / "blobs", tmp_path / "disk"
    await store.put(KEY, one(b"x"), 1)
    folder.rename(disk)
    folder.mkdir()  # where the disk was mounted

    for each in (store, FilesystemBlobs(folder)):  # one that saw it, and one that did not
        assert await each.tidy(1.0) == 0
        assert not await each.is_there()
        with pytest.raises(Unavailable, match="may not be mounted"):
            await anext(each.read(KEY))
        for use in (each.put(KEY, one(b"y"), 1), each.check(), each.delete([KEY])):
            with pytest.raises(Unavailable, match="may not be mounted"):
                await use
    assert list(folder.iterdir()) == []

    folder.rmdir()
    disk.rename(folder)
    assert [piece async for piece in store.read(KEY)] == [b"x"]
    await store.check()
