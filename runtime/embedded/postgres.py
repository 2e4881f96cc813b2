"""The embedded PostgreSQL 18: made once, started, stopped, and recovered after any kind of end.

It keeps production's meaning: fsync, checksums and scram passwords are on. It listens on a unix socket in a private
folder and nowhere else. Whatever an earlier process left behind (a running server, a lock file, a half-made folder) is
dealt with before the start, and never by removing what PostgreSQL itself uses to protect its data.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from runtime.embedded.binaries import postgres_programs
from runtime.embedded.home import password, private_folder, unusable
from runtime.embedded.identity import Identity, choose_identity
from runtime.embedded.process import (
    POLL_SECONDS,
    Child,
    Program,
    belongs,
    clean_environment,
    end_left_behind,
    excerpt,
    is_alive,
    open_log,
    wrapped,
)
from runtime.model.errors import SetupError

USER = "mc"
DATABASE = "maestro"
START_SECONDS = 60.0
MAKE_SECONDS = 120.0
# The built-in provider (17 and newer): the same order of text on every system, whatever its C library knows.
COLLATION = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
STATUS_LINE = 7  # Of the lock file, counted from 0.
# Fast shutdown (clean), then immediate (recovers at the next start). Never SIGKILL: it would leave shared memory.
ENDINGS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
PORT = 5432  # Part of the socket's name, no more.
_OURS = "sslmode=disable&sslnegotiation=postgres&target_session_attrs=any&gsslib=gssapi"
STILL_IN_USE = "pre-existing shared memory block"


class EmbeddedPostgres:
    """One data folder and the server on it."""

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        sockets: Path,
        *,
        programs: Path | None = None,
        collation: Sequence[str] = COLLATION,
        identity: Identity | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        """What can be chosen is chosen by tests: another release, its way to order text, fsync off."""
        self._programs = programs
        self._collation = tuple(collation)
        self._folder = folder
        self._sockets = sockets
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._identity = identity
        self._overrides = dict(overrides or {})
        self._password = ""
        self._child: Child | None = None
        self.note: str | None = None

    @property
    def url(self) -> str:
        """The address of the database, with the password, in the form that asyncpg takes.

        It says all that the driver would else take from a user's PGSSLMODE and the like, meant for another server.
        """
        host = quote(os.fspath(self._sockets), safe="/")
        return f"postgresql://{USER}:{self._password}@/{DATABASE}?port={PORT}&{_OURS}&host={host}"

    @property
    def child(self) -> Child | None:
        """The running server, if there is one."""
        return self._child

    async def start(self) -> None:
        """Make the data folder if there is none, clear what was left behind, start, and wait until it answers."""
        programs = self._programs or postgres_programs()
        identity = self._identity or await choose_identity()
        self.note = identity.note
        try:
            private_folder(self._folder)
            self._password = password(self._folder / "password")
            if not self._data.exists():
                await self._make(programs, identity)
            await asyncio.to_thread(_give, self._data, identity.owner)
        except OSError as error:
            raise unusable(self._folder, error) from error
        await self._clear_left_behind()
        await self._launch(self._program(programs, identity))

    async def stop(self) -> None:
        """Shut down cleanly: sessions are ended, everything is on disk."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def _program(self, programs: Path, identity: Identity) -> Program:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": os.fspath(self._sockets),
            "unix_socket_permissions": "0700",
            "cluster_name": "maestro",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._overrides,
        }
        arguments = [os.fspath(programs / "postgres"), "-D", os.fspath(self._data)]
        for key, value in settings.items():
            arguments += ["-c", f"{key}={value}"]
        return Program(tuple(arguments), identity.argument, self._log, ENDINGS)

    async def _make(self, programs: Path, identity: Identity) -> None:
        """A new data folder, made aside and renamed when it is complete: a crash leaves nothing that counts."""
        draft = self._folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _give(draft, identity.owner)
        initdb = (
            *(os.fspath(programs / "initdb"), "-D", os.fspath(draft), "-U", USER),
            *("--auth=scram-sha-256", f"--pwfile={self._folder / 'password'}"),
            *("--encoding=UTF8", *self._collation, "--data-checksums", "--no-instructions"),
            *(["--no-sync"] if self._overrides.get("fsync") == "off" else []),
        )
        await self._run_once(initdb, identity)
        single = (os.fspath(programs / "postgres"), "--single", "-D", os.fspath(draft), "postgres")
        await self._run_once(single, identity, f"create database {DATABASE}\n")
        draft.rename(self._data)

    async def _run_once(
        self, arguments: tuple[str, ...], identity: Identity, text: str = ""
    ) -> None:
        log = open_log(self._log)
        try:
            process = await asyncio.create_subprocess_exec(
                *wrapped(Program(arguments, identity.argument, self._log, ENDINGS)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
            )
        finally:
            os.close(log)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAKE_SECONDS):
                    await process.communicate(text.encode())
        finally:
            if process.returncode is None:  # Too slow, or we are being cancelled.
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise self._failure("could not make its data folder")

    async def _clear_left_behind(self) -> None:
        """Stop a server that outlived its parent; unmask a lock file that names a stranger."""
        file = self._data / "postmaster.pid"
        try:
            text = file.read_text("utf-8", "replace")
            pid = abs(int(text.split("\n", 1)[0]))
        except FileNotFoundError:
            return
        except ValueError:
            file.unlink()
            return
        if not is_alive(pid):
            return
        if belongs(pid, ("postgres",), (self._data,)):
            if not await end_left_behind(pid, ENDINGS):
                raise SetupError(
                    f"An earlier PostgreSQL (process {pid}) still runs on {self._data} and does "
                    "not stop: end it, then start again.",
                    reason="POSTGRES_LEFT_BEHIND",
                )
            return
        # The number was given to somebody else, and PostgreSQL would refuse. With our number in its place it knows
        # that the file is stale, and still checks the shared memory named in it before it touches any data.
        lines = [str(os.getpid()), *text.split("\n")[1:]]
        file.write_text("\n".join(lines), "utf-8")

    async def _launch(self, program: Program) -> None:
        """Start and wait for "ready" in the lock file; again while sessions of a killed server are still ending."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            begin = self._log.stat().st_size if self._log.exists() else 0
            self._child = await Child.start(program)
            if await self._is_ready(self._child, deadline):
                return
            with self._log.open("rb") as log:
                log.seek(begin)
                orphans = STILL_IN_USE in log.read().decode("utf-8", "replace")
            await self.stop()
            if not orphans or asyncio.get_running_loop().time() > deadline:
                raise self._failure("did not start")
            await asyncio.sleep(10 * POLL_SECONDS)

    async def _is_ready(self, child: Child, deadline: float) -> bool:
        """Its own word in the lock file's last line, which is also what pg_ctl waits for."""
        file = self._data / "postmaster.pid"
        while not child.ended and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(OSError):
                lines = file.read_text("utf-8", "replace").split("\n")
                complete = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"
                if complete and self._is_ours(int(lines[0]), child):
                    return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    def _is_ours(self, pid: int, child: Child) -> bool:
        """Not the word of a server that is gone: the file of a killed one says "ready" as well."""
        return pid == child.pid or belongs(pid, ("postgres",), (self._data,))

    def _failure(self, what: str) -> SetupError:
        text = excerpt(self._log)
        if "No space left on device" in text:
            return SetupError(
                f"PostgreSQL {what}: there is no space left for {self._folder}. Make room, or set "
                "MC_HOME to a folder on another disk.",
                reason="NO_DISK_SPACE",
            )
        return SetupError(
            f"PostgreSQL {what}. The end of {self._log}:\n{text}", reason="POSTGRES_FAILED"
        )


def _give(folder: Path, owner: int) -> None:
    """Let the folder and all in it belong to the user whom the server runs as; nothing to do almost always."""
    if folder.stat().st_uid == owner:
        return
    for path in (
        *folder.rglob("*"),
        folder,
    ):  # The folder last: a crash in between is repaired by the next start.
        os.chown(path, owner, owner, follow_symlinks=False)
