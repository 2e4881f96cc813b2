"""Quarantine: processes of their own for executions that have cost two workers already.

The worker starts them when suspects wait; each runs one suspect after another, never two at once, under
a worker id of its own. What kills it is lost alone: nothing else stood beside it. A child's standard
input carries the settings and then stays open: when it ends, the parent is gone, and the child drains.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final

from runtime.settings import Settings
from runtime.telemetry.log import get_logger, log_descriptor

MOST: Final = 2
_LENGTH_BYTES: Final = 4

_log = get_logger("quarantine")


class Quarantine:
    """The children of one worker. `command` is the process that runs suspects."""

    def __init__(self, settings: Settings, command: Sequence[str], *, most: int = MOST) -> None:
        self.most = most
        self._message = framed(settings)
        self._command = tuple(command)
        self._children: dict[asyncio.Task[None], asyncio.subprocess.Process] = {}
        self._is_closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return tuple(child.pid for child in self._children.values())

    async def attend(self, waiting: int) -> None:
        """See to it that somebody serves so many waiting suspects; at most one more process a call."""
        if self._is_closed or len(self._children) >= min(waiting, self.most):
            return
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log_descriptor(),
                start_new_session=True,
            )
        except OSError as error:
            _log.error("quarantine_not_started", reason=str(error))
            return
        _log.warning("quarantine_started", pid=child.pid, waiting=waiting)
        task = asyncio.create_task(self._tend(child), name="quarantine")
        self._children[task] = child
        task.add_done_callback(self._children.pop)

    async def close(self, seconds: float) -> None:
        """Let the children drain; end those that do not in time."""
        self._is_closed = True
        children = dict(self._children)
        for child in children.values():
            if child.stdin is not None:
                child.stdin.close()
        if not children:
            return
        _, late = await asyncio.wait(children, timeout=seconds)
        for task in late:
            with suppress(ProcessLookupError):
                children[task].kill()
        if late:
            await asyncio.wait(late)

    async def _tend(self, child: asyncio.subprocess.Process) -> None:
        if child.stdin is not None:
            # A child that has died already is seen by its exit code.
            with suppress(ConnectionError):
                child.stdin.write(self._message)
                await child.stdin.drain()
        code = await child.wait()
        if code:
            _log.error("quarantine_died", pid=child.pid, code=code)


def framed(settings: Settings) -> bytes:
    """The settings as a child reads them: by a pipe, because arguments and variables can be seen by others."""
    body = pickle.dumps(settings)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def read_settings(stream: BinaryIO) -> Settings:
    """The settings that the parent sent."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    settings: Settings = pickle.loads(stream.read(length))  # noqa: S301 - from the parent's own pipe
    return settings


async def parent_gone(stream: Any = None) -> None:
    """Return when the pipe from the parent ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin if stream is None else stream
    )
    try:
        while await reader.read(1):
            pass
    finally:
        transport.close()
