"""`python -m examples.shop`: the shop as a process of its own.

Prints one line when it is ready, stops cleanly on SIGTERM and Ctrl-C, and with `--die-with-parent`
also when the process that started it is gone. uvicorn's HTTP protocol is widened by one thing: an
application may tear its connection down, which no ordinary response can do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from examples.shop.app import ABORT, create_app
from examples.shop.faults import MAX_SLOW_MS, Luck


class ResettableProtocol(H11Protocol):
    """HTTP/1.1 whose applications find a way to reset the connection in their scope."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Wrap the application so that each request knows its own transport."""
        super().__init__(*args, **kwargs)
        inner: ASGIApp = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope.setdefault("extensions", {})[ABORT] = self._reset
            await inner(scope, receive, send)

        self.app = app

    def _reset(self) -> None:
        # Linger zero makes the kernel send RST: the caller sees a reset, not a clean end.
        raw = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # The caller was the first to leave.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class ShopServer(uvicorn.Server):
    """Announces itself when it can take requests, and leaves with its parent when told to."""

    def __init__(self, config: uvicorn.Config, *, parent: int | None) -> None:
        """Remember whose child this is."""
        super().__init__(config)
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the shop listens, once it does."""
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            print(f"shop listening on http://{host}:{port}", flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second, see whether it is time to stop or the parent has gone."""
        # Asked here rather than of the kernel: PR_SET_PDEATHSIG fires when the parent's THREAD
        # ends, and does not exist outside Linux.
        orphaned = self._parent is not None and os.getppid() != self._parent
        return orphaned or await super().on_tick(counter)


def main(argv: list[str] | None = None) -> None:
    """Parse the flags, bind the port and serve."""
    parent = os.getppid()
    options = _parser().parse_args(argv)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _leave)
    luck = Luck(
        fail_rate=options.fail_rate,
        slow_rate=options.slow_rate,
        slow_ms=options.slow_ms,
        reset_rate=options.reset_rate,
        seed=options.seed,
        honour_keys=not options.ignore_keys,
    )
    listening = _bind(options.host, options.port)
    options.db.parent.mkdir(parents=True, exist_ok=True)
    config = uvicorn.Config(
        create_app(options.db, luck),
        http=ResettableProtocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    ShopServer(config, parent=parent if options.die_with_parent else None).run([listening])


def _bind(host: str, port: int) -> socket.socket:
    # Named as TCP, so that asyncio switches Nagle's algorithm off: answers are small here.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        print(f"The shop cannot listen on {host}:{port}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)
    return listener


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    # uvicorn raises the signal again after its shutdown; a clean stop ends with 0.
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.shop", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8900, help="0 picks a free one (%(default)s)")
    parser.add_argument("--db", type=Path, required=True, help="SQLite file, made when missing")
    parser.add_argument("--fail-rate", type=_share, default=0.0, help="share of calls answered 503")
    parser.add_argument("--slow-rate", type=_share, default=0.0, help="share of slow answers")
    parser.add_argument("--slow-ms", type=_slow, default=400, help="how slow (%(default)s ms)")
    parser.add_argument("--reset-rate", type=_share, default=0.0, help="share of resets")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same faults (%(default)s)")
    parser.add_argument(
        "--ignore-keys", action="store_true", help="the control: forget what a key is for"
    )
    parser.add_argument(
        "--die-with-parent", action="store_true", help="stop when the starting process is gone"
    )
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        message = "expected a share from 0 to 1"
        raise argparse.ArgumentTypeError(message)
    return value


def _slow(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_SLOW_MS:
        message = f"expected 0 to {MAX_SLOW_MS} milliseconds"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    main()
