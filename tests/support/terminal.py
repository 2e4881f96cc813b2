"""A program in a terminal of its own, as a person runs it: what it prints, and the keys that are pressed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tests.support.processes import READY_SECONDS, STOP_SECONDS, eventually

CTRL_C = b"\x03"
# The program must lead a session whose terminal this is, or the kernel sends it no signal for the key. A shell that was
# opened with it ignores no hang-up, whoever started these tests.
_LEADING = (
    "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    " os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """One program in front of it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = b""

    def output(self) -> str:
        """Everything printed so far."""
        # The end of a terminal that nobody holds any more is an error on Linux.
        with contextlib.suppress(BlockingIOError, OSError):
            while more := os.read(self._descriptor, 65_536):
                self._seen += more
        return self._seen.decode("utf-8", "replace").replace("\r\n", "\n")

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._descriptor, keys)

    def hang_up(self) -> None:
        """Close it, as one closes a window: the kernel tells the program, as the session's leader, and no one else."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)

    def family(self) -> list[psutil.Process]:
        """The program, and what it has started at any depth."""
        found = psutil.Process(self.process.pid)
        return [found, *found.children(recursive=True)]

    async def printed(self, pattern: str) -> None:
        """Wait for a line that matches."""

        def is_there() -> bool:
            text = self.output()
            assert self.process.poll() is None, text
            return re.search(pattern, text, re.MULTILINE) is not None

        await eventually(is_there, seconds=READY_SECONDS, what=pattern)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""

        def is_over() -> bool:
            self.output()  # Or it would wait for room in the terminal.
            return self.process.poll() is not None

        await eventually(is_over, seconds=STOP_SECONDS, what="its end")
        return int(self.process.returncode)


@contextlib.contextmanager
def terminal(*command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a program in a terminal; what still runs at the end of the block is killed."""
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _LEADING, *command],
        cwd=folder,
        env=dict(environment),
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    os.set_blocking(outside, False)
    made = Terminal(process, outside)
    try:
        yield made
    finally:
        if process.poll() is None:
            for one in reversed(made.family()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()
        os.close(outside)
