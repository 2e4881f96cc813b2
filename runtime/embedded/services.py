"""Starts, watches and stops the embedded servers as one thing. Called by bootstrap and by `mc`.

It holds the data folder's lock for as long as it runs. A server that ends by itself, or is killed, is started again
with growing patience and never given up: clients reconnect, and nothing acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from runtime.embedded.home import locked, prepare_home, socket_folder
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis
from runtime.model.errors import SetupError
from runtime.telemetry.log import get_logger

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 30.0

Server = EmbeddedPostgres | EmbeddedRedis


class EmbeddedServices:
    """The embedded servers of one data folder; those that were not asked for have no address."""

    def __init__(
        self,
        home: Path,
        *,
        postgres: bool = True,
        redis: bool = True,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is touched before `start`."""
        self._home = home
        self._wanted = (postgres, redis)
        self._on_stage = on_stage
        self._postgres: EmbeddedPostgres | None = None
        self._redis: EmbeddedRedis | None = None
        self._held = contextlib.ExitStack()
        self._log = get_logger("runtime.embedded")

    @property
    def database_url(self) -> str | None:
        """Where the embedded PostgreSQL is, or None when it was not asked for."""
        return self._postgres.url if self._postgres else None

    @property
    def redis_url(self) -> str | None:
        """Where the embedded Redis is, or None when it was not asked for."""
        return self._redis.url if self._redis else None

    @property
    def pids(self) -> dict[str, int]:
        """The running servers by name: for status pages, and for tests that kill them."""
        return {s.name: s.child.pid for s in self._servers if s.child is not None}

    async def start(self) -> None:
        """Lock the data folder and start what was asked for; on failure nothing stays behind."""
        if not any(self._wanted):
            return
        home = prepare_home(self._home)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(home))
            sockets = socket_folder(home)
            if sockets.parent != home:
                stack.callback(_remove_folder, sockets)
            self._held = stack.pop_all()
        postgres, redis = self._wanted
        self._postgres = EmbeddedPostgres(home / "postgres", sockets) if postgres else None
        self._redis = EmbeddedRedis(home / "redis", sockets) if redis else None
        try:
            for outcome in await asyncio.gather(
                *(self._first_start(server) for server in self._servers), return_exceptions=True
            ):
                if isinstance(outcome, BaseException):
                    raise outcome
        except BaseException:
            await asyncio.shield(self.stop())
            raise

    async def stop(self) -> None:
        """Stop the servers cleanly, then let go of the data folder."""
        try:
            await asyncio.gather(*(server.stop() for server in self._servers))
        finally:
            self._held.close()

    async def watch(self) -> None:
        """Keep the servers running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(self._keep(server))

    @property
    def _servers(self) -> tuple[Server, ...]:
        return tuple(s for s in (self._postgres, self._redis) if s is not None)

    async def _first_start(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await server.start()
        note = f", {server.note}" if server.note else ""
        self._on_stage(f"{server.name} ready in {loop.time() - begin:.1f} s{note}")

    async def _keep(self, server: Server) -> None:
        """Wait for an end that nobody asked for, and start again; failures repeat with a longer pause."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            since = loop.time()
            code = await server.child.wait() if server.child is not None else None
            if loop.time() - since > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._log.warning("embedded server ended", server=server.name, code=code)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                await server.start()
            except (SetupError, OSError) as error:
                self._log.error("embedded server not started", server=server.name, error=str(error))
            else:
                self._log.info("embedded server started again", server=server.name)


def _remove_folder(folder: Path) -> None:
    """Away with the sockets' folder outside of the home; what somebody else put in it stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.asynccontextmanager
async def embedded_services(
    home: Path,
    *,
    postgres: bool,
    redis: bool,
    on_stage: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[EmbeddedServices]:
    """The embedded servers, running and watched for as long as the block lasts."""
    services = EmbeddedServices(home, postgres=postgres, redis=redis, on_stage=on_stage)
    await services.start()
    watcher = asyncio.create_task(services.watch(), name="embedded-watch")
    try:
        yield services
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        await services.stop()
