"""Ctrl-C and SIGTERM: the first one ends everything in order, a second one at once.

The first signal cancels the main task; the context managers that frame each part then close them in reverse order. The
embedded servers and the shop are tied to this process by the kernel, so that nothing outlives even the second one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
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

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not heard:
            raise
        return stopped
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _leave_at_once() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)
