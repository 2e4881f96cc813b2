"""What every blob store promises, asked of every implementation of the socket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from runtime.abi.blob import BlobStore
from runtime.blob.open import implementations, open_blob_store
from runtime.model.blob import BlobKey
from runtime.model.errors import DataDamaged, SetupError, Unavailable
from tests.support.s3 import S3, s3_server

TENANT = UUID("01930000-0000-7000-8000-00000000aaaa")
SIZES = (0, 1, 1 << 20, (1 << 20) + 1, 20_000_000)


def key_of(raw: bytes, tenant: UUID = TENANT, slot: int = 7) -> BlobKey:
    return BlobKey(tenant, slot, f"sha256:{hashlib.sha256(raw).hexdigest()}")


async def pieces(raw: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


async def put(store: BlobStore, raw: bytes, **more: object) -> BlobKey:
    key = key_of(raw, **more)  # type: ignore[arg-type]
    await store.put(key, pieces(raw), len(raw))
    return key


async def read(store: BlobStore, key: BlobKey) -> bytes:
    return b"".join([piece async for piece in store.read(key)])


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=sorted(implementations()))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        made = open_blob_store(server.url, server.environment)
    else:
        made = open_blob_store((tmp_path / "blobs").as_uri(), {})
    await made.make()
    yield made
    await made.close()


def test_there_are_two_implementations():
    assert sorted(implementations()) == ["file", "s3"]


async def test_it_fills_the_socket(store: BlobStore):
    assert isinstance(store, BlobStore)


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "file://host/x", "file:relative", "s3://", "s3://b?colour=red"]
)
def test_an_address_that_makes_no_sense_is_refused(url: str):
    with pytest.raises(SetupError):
        open_blob_store(url, {})


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_read(store: BlobStore, size: int):
    raw = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    key = await put(store, raw)

    assert await store.size(key) == size
    assert await read(store, key) == raw


async def test_what_is_not_there_is_missing_by_name(store: BlobStore):
    key = key_of(b"never put")
    await store.check()

    assert await store.size(key) is None
    with pytest.raises(DataDamaged) as caught:
        await read(store, key)
    assert caught.value.reason == "BLOB_MISSING"


async def test_a_put_of_another_length_leaves_nothing(store: BlobStore):
    key = key_of(b"short")

    with pytest.raises(ValueError, match="bytes came"):
        await store.put(key, pieces(b"short"), 1_000)

    assert await store.size(key) is None


async def test_a_put_that_breaks_off_leaves_nothing(store: BlobStore):
    key = key_of(b"broken")

    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 9_000_000
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, Unavailable)):
        await store.put(key, breaks(), 18_000_000)

    assert await store.size(key) is None


async def test_putting_again_replaces_the_whole(store: BlobStore):
    key = key_of(b"right")
    await store.put(key, pieces(b"wrong and longer"), 16)

    await put(store, b"right")

    assert await read(store, key) == b"right"


async def test_many_puts_of_the_same_at_once_are_one(store: BlobStore):
    raw = b"the same" * 100_000

    keys = await asyncio.gather(*(put(store, raw) for _ in range(8)))

    assert await read(store, keys[0]) == raw


async def test_tenants_and_slots_share_nothing(store: BlobStore):
    raw = b"mine"
    mine = await put(store, raw)
    theirs = key_of(raw, UUID(int=1))
    elsewhere = key_of(raw, TENANT, 8)

    assert await store.size(theirs) is None
    assert await store.size(elsewhere) is None
    await put(store, raw, tenant=UUID(int=1))
    await store.delete([mine])
    assert await read(store, theirs) == raw


async def test_deleting_takes_those_and_no_others_and_may_be_repeated(store: BlobStore):
    keys = [await put(store, f"blob {n}".encode()) for n in range(3)]

    await store.delete([*keys[:2], key_of(b"never put")])
    await store.delete(keys[:2])
    await store.delete([])

    assert [await store.size(key) for key in keys] == [None, None, 6]


async def test_a_store_that_can_be_used_says_so(store: BlobStore):
    assert await store.is_there()
    await store.check()
    assert await store.tidy(0.0) == 0


async def test_a_server_that_is_not_there_is_unavailable():
    store = open_blob_store(
        "s3://bucket?endpoint=http://127.0.0.1:9&region=x",
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
    )

    with pytest.raises(Unavailable) as caught:
        await store.size(key_of(b"x"))
    assert caught.value.reason == "BLOB_STORE_UNAVAILABLE"
