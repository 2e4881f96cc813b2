"""The process that runs suspects, one at a time: started by a worker's quarantine, never by hand.

It reads its settings from standard input, serves until no suspect waits, and drains when its parent is gone.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from runtime.bootstrap import open_runtime
from runtime.model.errors import MaestroError
from runtime.settings import Settings
from runtime.telemetry.log import configure_logging, get_logger
from runtime.worker.quarantine import parent_gone, read_settings


async def serve(settings: Settings) -> None:
    """Run what waits to be run alone."""
    async with open_runtime(settings) as runtime:
        shard = next(iter(settings.worker.shards), 0)
        worker = runtime.make_worker(shard=shard, is_alone=True)
        working = asyncio.create_task(worker.run(), name="worker")
        orphaned = asyncio.create_task(parent_gone(), name="parent")
        await asyncio.wait({working, orphaned}, return_when=asyncio.FIRST_COMPLETED)
        await worker.stop()
        orphaned.cancel()
        await asyncio.wait({orphaned})
        await working


def main() -> int:
    """Serve; the exit code."""
    # Unbuffered: what follows the settings belongs to the loop that watches for the pipe's end.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        settings = read_settings(pipe)
    configure_logging(form=settings.log.format, level=settings.log.level, stream=sys.stderr)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(settings))
    except MaestroError as error:
        get_logger("quarantine").error("quarantine_ended", reason=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
