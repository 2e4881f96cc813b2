"""Many WebSocket clients in a process of their own: they open, subscribe, and note when each event came.

Spoken by hand over asyncio, because the clients must cost less than the server that is measured. What to do comes as
one JSON line on standard input; `open` is said when all are subscribed, and one JSON line at the end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from datetime import datetime
from typing import Any, Final

import orjson
import uvloop

from benchmarks.line import spread

_ACK: Final = b'{"type":"connection_ack"}'
_BATCH: Final = 50
_SHORT: Final = 126


class Client(asyncio.Protocol):
    """One connection with one subscription."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._rest = b""
        self._is_open = False
        self._transport: Any = None
        self.seen = 0

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade, unless all that is wanted is a listener."""
        self._transport = transport
        if self._crowd.asked is None:
            self._crowd.subscribed += 1
            return
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take frames apart; nothing that comes here is masked or split."""
        if self._crowd.asked is None:
            return
        self._rest += data
        if not self._is_open:
            head, end, self._rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self._is_open = True
            self._say({"type": "connection_init", "payload": {"authorization": self._crowd.token}})
        at = 0
        while len(self._rest) - at > 1:
            size, start = self._rest[at + 1], at + 2
            if size == _SHORT:
                size, start = int.from_bytes(self._rest[at + 2 : at + 4], "big"), at + 4
            if len(self._rest) < start + size:
                break
            self._message(self._rest[at] & 15, self._rest[start : start + size])
            at = start + size
        self._rest = self._rest[at:]

    def connection_lost(self, _exc: Exception | None) -> None:
        """Nobody leaves before the end."""
        self._crowd.lost += 1

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _message(self, kind: int, text: bytes) -> None:
        now = time.time()
        if kind == 9:
            self._frame(10, text)
        elif text.startswith(b'{"type":"next"'):
            self.seen += 1
            self._crowd.came(text, now)
        elif text.startswith(_ACK):
            self._say({"id": "1", "type": "subscribe", "payload": self._crowd.asked})
            self._crowd.subscribed += 1

    def _say(self, message: Any) -> None:
        self._frame(1, orjson.dumps(message))

    def _frame(self, kind: int, text: bytes) -> None:
        size = len(text)
        head = (
            bytes((0x80 | kind, 0x80 | size))
            if size < _SHORT
            else bytes((0x80 | kind, 0xFE)) + size.to_bytes(2, "big")
        )
        # A mask of zeros leaves the text as it is.
        self._transport.write(head + b"\0\0\0\0" + text)


class Crowd:
    """All connections, and what they heard."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.token = told["token"]
        self.asked = told["asked"]
        self.subscribed = self.lost = 0
        self._came: list[tuple[bytes, float]] = []
        self._told = told

    def came(self, text: bytes, now: float) -> None:
        """An event arrived; it is looked at afterwards."""
        self._came.append((text, now))

    async def run(self) -> None:
        """Open all, wait for all events, say how long they took, and hang up."""
        loop = asyncio.get_running_loop()
        host, port, count = self._told["host"], self._told["port"], self._told["count"]
        clients: list[Client] = []
        for start in range(0, count, _BATCH):
            batch = range(start, min(start + _BATCH, count))
            opened = await asyncio.gather(
                *(loop.create_connection(lambda: Client(self), host, port) for _ in batch)
            )
            clients += [client for _, client in opened]
            while self.subscribed < len(clients) and not self.lost:
                await asyncio.sleep(0.005)
        print("open", flush=True)
        wanted = count * self._told["events"]
        await loop.run_in_executor(None, sys.stdin.readline)
        for _ in range(self._told["seconds"] * 100):
            if len(self._came) >= wanted or self.lost:
                break
            await asyncio.sleep(0.01)
        late = sorted(now - _committed(text) for text, now in self._came)
        found = {
            "deliveries": len(self._came),
            "wanted": wanted,
            "lost": self.lost,
            "bytes": sum(len(text) for text, _ in self._came) // max(1, len(self._came)),
            **(spread(late) if late else {}),
        }
        # Before they hang up, which is not to be counted as what telling them costs.
        print(json.dumps(found), flush=True)
        for client in clients:
            client.close()


def _committed(text: bytes) -> float:
    at = orjson.loads(text)["payload"]["data"]["executionEvents"]["at"]
    return datetime.fromisoformat(at).timestamp()


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    uvloop.run(Crowd(given).run())
