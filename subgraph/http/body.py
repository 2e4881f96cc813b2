"""Request bodies: read up to a limit and no further, compressed or not, and JSON that must be what it says."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.requests import Request

from runtime.model.errors import BadInput, PayloadTooLarge

# `32 +`: by the header, gzip or zlib. What a body unpacks to counts, never what it was packed into.
_PACKED: Final = {"gzip": 32 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}


async def read_body(request: Request, limit: int) -> bytes:
    """The body, unpacked; raises PayloadTooLarge before more than the limit was taken in."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    unpack = _unpacker(request.headers.get("content-encoding", "identity").strip().lower(), limit)
    parts, size = [], 0
    async for part in request.stream():
        unpacked = unpack(part)
        size += len(unpacked)
        if size > limit:
            raise _too_large(limit)
        parts.append(unpacked)
    return b"".join(parts)


def _unpacker(encoding: str, limit: int) -> Callable[[bytes], bytes]:
    """What makes the next piece of the body of a piece as sent: a byte more than the limit at the most."""
    if encoding == "identity":
        return bytes
    if encoding not in _PACKED:
        raise BadInput(
            f"`Content-Encoding` must be gzip, deflate or identity, not {encoding[:32]!r}.",
            reason="CONTENT_ENCODING",
        )
    machine = zlib.decompressobj(_PACKED[encoding])

    def unpack(part: bytes) -> bytes:
        try:
            return machine.decompress(part, limit + 1)
        except zlib.error:
            raise BadInput(f"The body is not {encoding}.", reason="CONTENT_ENCODING") from None

    return unpack


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that must be one JSON object; raises BadInput when it is something else."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The body is not JSON: {error}.", reason="MALFORMED_JSON") from None
    if not isinstance(found, dict):
        raise BadInput(
            "The body must be one JSON object; batches are not taken.", reason="MALFORMED_BODY"
        )
    return found


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request is larger than {limit} bytes.", reason="REQUEST_TOO_LARGE")
