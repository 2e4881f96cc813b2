"""One server process: started through `child.py`, stopped by pid with patience, and recognised again when left behind.

A pid alone proves nothing, since numbers are used again: `belongs` asks the system what the process is and where it
works before anyone sends it a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.embedded.identity import CHILD_PROGRAM

POLL_SECONDS = 0.02
LOG_LIMIT_BYTES = 4 << 20
EXCERPT_LINES = 12


@dataclass(frozen=True, slots=True)
class Program:
    """What to start and how to end it: signals in the order in which they are tried, with the patience for each."""

    arguments: tuple[str, ...]
    identity: str
    log: Path
    endings: tuple[tuple[signal.Signals, float], ...]


class Child:
    """A running server that ends with this process."""

    def __init__(self, process: asyncio.subprocess.Process, program: Program) -> None:
        self._process = process
        self._program = program

    @classmethod
    async def start(cls, program: Program) -> Child:
        """Start it in a session of its own, so that Ctrl-C in the terminal reaches only us, who stop it in order."""
        log = open_log(program.log)
        try:
            process = await asyncio.create_subprocess_exec(
                *wrapped(program),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
            )
        finally:
            os.close(log)
        return cls(process, program)

    @property
    def pid(self) -> int:
        """The server's number (the watcher's, where the kernel has no parent-death signal)."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is over, wanted or not."""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it the clean way; harder when it does not listen."""
        for number, patience in self._program.endings:
            if self.ended:
                return
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._process.wait()


def wrapped(program: Program) -> list[str]:
    """The command line that becomes this program by way of `child.py`."""
    watch = [] if sys.platform == "linux" else ["--watch"]
    return [
        *(sys.executable, "-I", "-S", str(CHILD_PROGRAM), *watch),
        *("--identity", program.identity, "--parent", str(os.getpid())),
        *("--death-signal", str(int(program.endings[0][0])), "--", *program.arguments),
    ]


def clean_environment() -> dict[str, str]:
    """What a server sees of ours: nothing, so no PGDATA or LC_ALL of a user changes what it does.

    PG_GRANDPARENT_PID tells PostgreSQL that a lock file with our number is stale; see `postgres.py`.
    """
    return {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "TZ": "UTC",
        "PG_GRANDPARENT_PID": str(os.getpid()),
    }


def open_log(file: Path) -> int:
    """A descriptor that appends to the log; a long one is put aside first, so that two generations remain."""
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size > LOG_LIMIT_BYTES:
            file.replace(file.with_suffix(".log.1"))
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def excerpt(file: Path) -> str:
    """The last lines of a log, for an error message."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "(its log cannot be read)"
    return "\n".join(lines[-EXCERPT_LINES:])


def is_alive(pid: int) -> bool:
    """Whether some process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def belongs(pid: int, names: Sequence[str], places: Sequence[Path]) -> bool:
    """Whether this process is a server of ours: by its program's name, and by the folder that it works in or names."""
    facts = _proc_facts(pid) if sys.platform == "linux" else _ps_facts(pid)
    if facts is None:
        return False
    name, text = facts
    return name in names and any(os.fspath(place) in text for place in places)


def _proc_facts(pid: int) -> tuple[str, str] | None:
    folder = Path("/proc") / str(pid)
    try:
        name = (folder / "comm").read_text("utf-8", "replace").strip()
        text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return None
    with contextlib.suppress(OSError):
        text += f" {(folder / 'cwd').readlink()}"
    return name, text


def _ps_facts(pid: int) -> tuple[str, str] | None:
    found = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        check=False,
        timeout=10,
    )
    text = found.stdout.decode("utf-8", "replace").strip()
    return (Path(text.split(" ", 1)[0].rstrip(":")).name, text) if text else None


async def end_left_behind(pid: int, endings: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Stop a server that outlived an earlier parent; whether it is gone."""
    loop = asyncio.get_running_loop()
    for number, patience in endings:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = loop.time() + patience
        while is_alive(pid) and not _is_zombie(pid) and loop.time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        if not is_alive(pid) or _is_zombie(pid):
            return True
    return False


def _is_zombie(pid: int) -> bool:
    """An ended process whose parent has not asked: it holds nothing any more."""
    try:
        status = (Path("/proc") / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]
