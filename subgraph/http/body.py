"""Request bodies: read up to a limit and no further, compressed or not, and JSON that must be what it says."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from runtime.model.errors import BadInput, PayloadTooLarge

# Digits of what may be more than 64 bits, once all digits are ones. A regular expression begins again at each digit,
# and kept the loop for a seventh of a second where there are eighteen in a row.
_LONG: Final = b"1" * 19
_DIGITS_AS_ONES: Final = bytes.maketrans(b"0123456789", b"1" * 10)
# `32 +`: by the header, gzip or zlib.
_PACKED: Final = {"gzip": 32 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}


async def read_body(request: Request, limit: int) -> bytes:
    """The body, unpacked; raises PayloadTooLarge before more than the limit was taken in.

    What is sent and what it unpacks to both count: a packed stream can go on for ever and give nothing.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    packed = None if encoding == "identity" else _Packed(encoding, limit)
    # As `request.stream()`, without a generator.
    message = await request.receive()
    if packed is None and message["type"] == "http.request" and not message.get("more_body"):
        # Nearly all bodies come in one piece.
        whole = bytes(message.get("body", b""))
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    parts, sent, size = [], 0, 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        unpacked = part if packed is None else packed.unpack(part)
        sent, size = sent + len(part), size + len(unpacked)
        if max(sent, size) > limit:
            raise _too_large(limit)
        parts.append(unpacked)
        if not message.get("more_body", False):
            break
        message = await request.receive()
    if packed is not None:
        packed.end()
    return b"".join(parts)


class _Packed:
    """A packed body: one stream from its first byte to its last, and nothing behind it."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in _PACKED:
            raise BadInput(
                f"`Content-Encoding` must be gzip, deflate or identity, not {encoding[:32]!r}.",
                reason="CONTENT_ENCODING",
            )
        self._encoding = encoding
        self._limit = limit
        self._machine = zlib.decompressobj(_PACKED[encoding])

    def unpack(self, part: bytes) -> bytes:
        """The next piece of the body: a byte more than the limit at the most."""
        if self._machine.eof and part:
            raise self._broken()
        try:
            return self._machine.decompress(part, self._limit + 1)
        except zlib.error:
            raise self._broken() from None

    def end(self) -> None:
        """Raise when the stream was cut off, so that its checksum was never seen, or more came behind it."""
        if not self._machine.eof or self._machine.unused_data:
            raise self._broken()

    def _broken(self) -> BadInput:
        return BadInput(
            f"The body is not {self._encoding}: one whole stream of it, and nothing else.",
            reason="CONTENT_ENCODING",
        )


def exact_json(text: bytes) -> Any:
    """JSON text as values; raises json.JSONDecodeError.

    Whole numbers beyond 64 bits stay what they are, so that who stores them says that they can't be stored: read as
    floating point, as RFC 8259 section 6 lets a reader do, they would be other numbers, and nobody would be told.
    """
    found = orjson.loads(text)
    if _LONG not in text.translate(_DIGITS_AS_ONES):
        return found
    del found  # Two of them need twice the memory.
    try:
        # Three times slower, and exact. What no float holds, and so is longer than 309 digits, was refused above.
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None


def parse_object(body: bytes, name: str = "The body") -> dict[str, Any]:
    """A body, or a parameter, that must be one JSON object; raises BadInput when it is something else."""
    try:
        found = exact_json(body)
    except json.JSONDecodeError as error:
        raise BadInput(f"{name} is not JSON: {error}.", reason="MALFORMED_JSON") from None
    if not isinstance(found, dict):
        raise BadInput(
            f"{name} must be one JSON object; batches are not taken.", reason="MALFORMED_BODY"
        )
    return found


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request is larger than {limit} bytes.", reason="REQUEST_TOO_LARGE")
