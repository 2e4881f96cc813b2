"""A worker in a process of its own, to be killed; its settings come through standard input, as a quarantine's do."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from maestro_cli.local.garbage import collect_by_the_clock
from runtime.bootstrap import open_runtime
from runtime.settings import Settings
from runtime.telemetry.log import configure_logging
from runtime.worker import signals
from runtime.worker.quarantine import parent_gone, read_settings


async def work(settings: Settings) -> None:
    """Run until the pipe from the parent ends; says `ready` when it has a seat."""
    async with open_runtime(settings) as runtime:
        worker = runtime.make_worker()
        running = asyncio.create_task(worker.run())
        await worker.signals.wait(signals.BEAT)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await parent_gone()
        await worker.stop(0.0)
        await running


if __name__ == "__main__":
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        given = read_settings(pipe)
    configure_logging(form="json", level="error", stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        collect_by_the_clock(runner.get_loop())
        runner.run(work(given))
