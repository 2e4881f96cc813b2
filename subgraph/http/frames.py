"""Frames of a WebSocket, written by us: a message that goes to thousands is not built anew by every layer.

`Sockets` is uvicorn's own protocol and takes one message more, a frame as its bytes; it says so in the scope. Under
another server the same text goes out the usual way.
"""

from __future__ import annotations

from typing import Any, Final, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

FRAMES: Final = "maestro.frames"
_SHORT: Final = 126
_MIDDLE: Final = 1 << 16


class Sockets(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; gives finished frames to the connection as they are."""

    def handle_connect(self, event: Request) -> None:
        """Say what it takes."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[FRAMES] = self

    def write(self, frame: bytes) -> bool:
        """Give a frame to the connection; whether it takes another at once. Raises ClientDisconnected."""
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frame)
        return self.writable.is_set()

    async def drained(self) -> None:
        """Return when the connection takes more."""
        await self.writable.wait()


def frame_of(payload: bytes) -> bytes:
    """One text frame that is whole."""
    size = len(payload)
    if size < _SHORT:
        return bytes((0x81, size)) + payload
    if size < _MIDDLE:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
