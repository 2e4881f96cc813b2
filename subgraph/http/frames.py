"""Doors of uvicorn's own protocols that it has not, named in the scope; under another server things take the usual way.

`Sockets` takes finished frames: a message that goes to thousands is not built anew by every layer. `Requests` and
`Sockets` end the connection of a client that does not take what it is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

FRAMES: Final = "maestro.frames"
CONNECTION: Final = "maestro.connection"
_SHORT: Final = 126
_MIDDLE: Final = 1 << 16


class Requests(HttpToolsProtocol):
    """uvicorn's HTTP protocol; a stream can give its client up."""

    def on_headers_complete(self) -> None:
        """Say so in the request's scope."""
        super().on_headers_complete()
        cast("dict[str, Any]", self.scope)["extensions"] = {CONNECTION: self}

    def give_up(self) -> None:
        """End the connection of one who does not take what he is sent."""
        if self.flow.write_paused:
            self.transport.abort()


class Received:
    """What came from a client and was not taken yet: a queue of one reader, a tenth of asyncio's in size.

    uvicorn stops reading while anything is in it, so it holds little.
    """

    __slots__ = ("_items", "_reader")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, item: Any) -> None:
        """Add something."""
        self._items.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def empty(self) -> bool:
        """Whether everything was taken."""
        return not self._items

    async def get(self) -> Any:
        """Take the oldest, when there is one."""
        while not self._items:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._items.pop(0)


class Sockets(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; gives finished frames to the connection as they are."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.queue = cast("asyncio.Queue[Any]", Received())

    def handle_connect(self, event: Request) -> None:
        """Say what it takes."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[FRAMES] = self

    async def send(self, message: Any) -> None:
        """Send a message of the application's; what was said at the handshake is not needed after it."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.request, self.response

    def write(self, frame: bytes) -> bool:
        """Give a frame to the connection; whether it takes another at once. Raises ClientDisconnected."""
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frame)
        return self.writable.is_set()

    def give_up(self) -> bool:
        """End the connection of one who does not take what he is sent: whether it was one."""
        if self.writable.is_set():
            return False
        self.transport.abort()
        return True

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
