"""Ctrl-C and SIGTERM: the first one ends everything in order, a second one at once.

The first signal cancels the main task; the context managers that frame each part then close them in reverse order. The
embedded servers and the shop are tied to this process by the kernel, so that nothing outlives even the second one.

A terminal that is closed ends us too. The kernel tells only the session's leader, and a shell passes it on; where a
leader does not (make in `ssh -t HOST make run` or in a terminal of its own), we see the hang-up of our own terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

import uvloop

from maestro_cli.errors import INTERRUPTED
from maestro_cli.local.garbage import collect_by_the_clock

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_stopped(body: Coroutine[Any, Any, int], *, stopped: int = 0) -> int:
    """Run until the body returns or a signal comes; a clean end by signal gives `stopped`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        collect_by_the_clock(runner.get_loop())
        return runner.run(_supervised(body, stopped))


async def _supervised(body: Coroutine[Any, Any, int], stopped: int) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(body)
    heard: list[int] = []

    def on_signal(number: int) -> None:
        heard.append(number)
        if len(heard) > 1:
            _leave_at_once()
        task.cancel()

    # `nohup` has said that a terminal's end is none of our business: a handler would take that back.
    signals = [number for number in _SIGNALS if not _is_hangup_ignored(number)]
    for number in signals:
        loop.add_signal_handler(number, on_signal, number)
    if signal.SIGHUP in signals:
        _watch_terminal()
    try:
        return await task
    except asyncio.CancelledError:
        if not heard:
            raise
        return stopped
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _is_hangup_ignored(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _watch_terminal() -> None:
    """Where we are a terminal's foreground job, its end is a SIGHUP to us, whoever leads the session."""
    with contextlib.suppress(OSError):
        if os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp():
            threading.Thread(target=_await_hangup, name="terminal", daemon=True).start()


def _await_hangup() -> None:
    poller = select.poll()
    poller.register(0, 0)
    if any(event & select.POLLHUP for _, event in poller.poll()):
        os.kill(os.getpid(), signal.SIGHUP)


def _leave_at_once() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)
