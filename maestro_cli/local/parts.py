"""API, worker and scheduler as context managers: ready when entered, drained when left, and never lost silently."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import uvicorn

from maestro_cli.errors import CliError
from runtime.bootstrap import Runtime
from runtime.settings import ApiSettings
from subgraph.app import create_app
from subgraph.http.frames import Requests, Sockets

_CLOSE_SECONDS: Final = 5
_BACKLOG: Final = 1024


class ApiServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process's signals belong to `local.signals`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.listening.set()


def bind(api: ApiSettings) -> socket.socket:
    """The listening socket, taken before anything else is started."""
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    # Named as TCP, because asyncio switches Nagle's algorithm off only where it reads that number;
    # `create_server` leaves it out, and every small answer then waits some 45 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((api.host, api.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CliError(
            f"Port {api.port} on {api.host} can't be used: {(error.strerror or str(error)).lower()}.",
            code="CONFLICT",
            reason="PORT_TAKEN",
            hint="choose another one with --port or MC_PORT",
        ) from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """`http://127.0.0.1:8000`: how a client on this machine reaches the listener."""
    port = listener.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


@contextlib.asynccontextmanager
async def serving(runtime: Runtime, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """The API, listening; when left, what is asked of a judge is refused and all else is answered."""
    config = uvicorn.Config(
        create_app(runtime),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        http=Requests,
        ws=Sockets,
        # A compressor per socket costs some 300 KiB, and one message can unpack to gigabytes.
        ws_per_message_deflate=False,
        server_header=False,
    )
    server = ApiServer(config)
    task = asyncio.create_task(server.serve([listener]), name="api")
    try:
        await _first(server.listening.wait(), task)
        yield task
    finally:
        server.should_exit = True
        await runtime.judges.close()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def working(runtime: Runtime, drain_seconds: float) -> AsyncIterator[asyncio.Task[None]]:
    """Workers, and event handlers; when left they finish what runs, no longer than `drain_seconds`."""
    worker, bus = runtime.make_crew(), runtime.make_bus()
    task = asyncio.create_task(worker.run(), name="worker")
    telling = asyncio.create_task(bus.run(), name="event handlers")
    try:
        yield task
    finally:
        await bus.stop()
        await asyncio.wait([telling])
        await worker.stop(drain_seconds)
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def scheduling(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """A scheduler; it leads when no other does."""
    scheduler = runtime.make_scheduler()
    task = asyncio.create_task(scheduler.run(), name="scheduler")
    try:
        yield task
    finally:
        await scheduler.stop()
        await asyncio.wait([task])


async def until_one_ends(*tasks: asyncio.Task[None]) -> int:
    """Wait; a part that ends by itself is a failure of the whole process, with that part's own error."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    names = ", ".join(task.get_name() for task in done)
    raise CliError(f"The {names} ended although nobody asked for it.")


async def _first(event: Any, task: asyncio.Task[None]) -> None:
    """Wait for the event, or for the task's failure."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
        raise CliError("The API ended while it started.")
