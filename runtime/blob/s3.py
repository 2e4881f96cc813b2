"""Blobs in a bucket of a server that speaks the S3 protocol: `s3://bucket/prefix?endpoint=http://host:9000`.

Credentials, region and endpoint come from the address or from the variables that every AWS client reads
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL), else from the
machine's role. Large blobs go up in parts and become visible when the last one is there. Parts of uploads that
were interrupted stay invisible; a lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Final, cast
from urllib.parse import parse_qs, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObjectNotFound
from obstore.store import S3Store

from runtime.model.blob import BlobKey
from runtime.model.errors import DataDamaged, SetupError, Unavailable

PIECE_BYTES: Final = 1 << 20
PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 4
_REQUEST_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 5
_VARIABLES: Final = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",  # pragma: allowlist secret
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_REGION": "region",
    "AWS_DEFAULT_REGION": "region",
    "AWS_ENDPOINT_URL": "endpoint",
}
_PARAMETERS: Final = {"endpoint": "endpoint", "region": "region"}


class S3Blobs:
    """Objects by digest below one prefix of a bucket."""

    scheme: ClassVar[str] = "s3"

    def __init__(self, store: S3Store, place: str) -> None:
        self._store = store
        self._place = place

    @classmethod
    def open(cls, url: str, environment: Mapping[str, str]) -> S3Blobs:
        """The bucket and prefix of an address; nothing is asked of the server yet."""
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
        unknown = sorted(asked.keys() - _PARAMETERS.keys())
        if not parts.netloc or unknown:
            raise SetupError(
                "A bucket for blobs is written s3://bucket/prefix?endpoint=https://host&region=name.",
                reason="BAD_VARIABLE",
            )
        config: dict[str, Any] = {
            option: environment[name]
            for name, option in _VARIABLES.items()
            if environment.get(name)
        }
        config |= {_PARAMETERS[name]: values[-1] for name, values in asked.items()}
        plain = str(config.get("endpoint", "")).startswith("http://")
        store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=cast("Any", config),
            client_options={
                "allow_http": plain,
                "timeout": timedelta(seconds=_REQUEST_SECONDS),
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )
        return cls(store, f"s3://{parts.netloc}{parts.path}")

    async def is_there(self) -> bool:
        """Buckets are made by their owners; one that is not there refuses everything."""
        return True

    async def make(self) -> None:
        """Nothing to do."""

    async def put(self, key: BlobKey, content: AsyncIterable[bytes], size: int) -> None:
        """Store `size` bytes durably, or nothing."""
        with self._translated():
            if size <= PART_BYTES:
                whole = b"".join([piece async for piece in content])
                _check(len(whole), size)
                await obstore.put_async(self._store, key.path, whole, use_multipart=False)
                return
            await obstore.put_async(
                self._store,
                key.path,
                _counted(content, size),
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def size(self, key: BlobKey) -> int | None:
        """The length of what stands there."""
        with self._translated():
            try:
                return int((await obstore.head_async(self._store, key.path))["size"])
            except (ObjectNotFound, FileNotFoundError):
                return None

    async def read(self, key: BlobKey) -> AsyncIterator[bytes]:
        """Its bytes, about a mebibyte at a time."""
        with self._translated():
            try:
                found = await obstore.get_async(self._store, key.path)
            except (ObjectNotFound, FileNotFoundError):
                raise DataDamaged(
                    f"The blob {key.digest} is not in the store.", reason="BLOB_MISSING"
                ) from None
            pieces = found.stream(min_chunk_size=PIECE_BYTES)
        while True:
            with self._translated():
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            yield bytes(piece)

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove these, in one request for up to a thousand."""
        if keys:
            with self._translated():
                try:
                    await obstore.delete_async(self._store, [key.path for key in keys])
                except (ObjectNotFound, FileNotFoundError):
                    # Some servers mind; those that are there must still go.
                    for key in keys:
                        await self._delete_one(key)

    async def tidy(self, older_than_seconds: float) -> int:  # noqa: ARG002 - the socket's form
        """Interrupted uploads are the bucket's own business: see the head of this file."""
        return 0

    async def check(self) -> None:
        """Write an object and remove it."""
        with self._translated():
            await obstore.put_async(self._store, "check", b"?", use_multipart=False)
            await obstore.delete_async(self._store, "check")

    async def close(self) -> None:
        """Connections are the library's own and end with the process."""

    async def _delete_one(self, key: BlobKey) -> None:
        try:
            await obstore.delete_async(self._store, key.path)
        except (ObjectNotFound, FileNotFoundError):
            return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the server or the way to it refuses, in our words; credentials stay out of them."""
        try:
            yield
        except (BaseError, OSError) as error:
            raise Unavailable(
                f"The blob store {self._place} does not do what is asked: {_reason(error)}.",
                reason="BLOB_STORE_UNAVAILABLE",
            ) from error


async def _counted(content: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The pieces; a wrong length breaks the upload off before it is complete."""
    seen = 0
    async for piece in content:
        seen += len(piece)
        yield piece
    _check(seen, size)


def _check(found: int, size: int) -> None:
    if found != size:
        raise ValueError(f"{found} bytes came instead of {size}")


def _reason(error: Exception) -> str:
    """The first line of what the library says; the rest is its own inside."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
