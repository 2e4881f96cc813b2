"""A worker in a process of its own, for tests that kill it: `python -m tests.support.worker_process DATABASE REDIS HOME NAME LEASE`.

Its one connector, probe.file, writes a line per call into a file of the data folder and returns when the gate file exists.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import Connector, StepContext
from runtime.model.plan import Effect
from runtime.store.log import LogWriter
from runtime.store.plan import PlanStore
from runtime.worker.loop import Worker
from tests.support.engine_room import engine_room


class Anything(RootModel[Any]):
    """Whatever is given."""


class FileInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    folder: str
    gate: str | None = None


class FileStep(Connector):
    """Notes its call, then waits for its gate."""

    name = "probe.file"
    version = "1.0.0"
    summary = "Note a call."
    effect_class = Effect.IDEMPOTENT
    Input: type[BaseModel] = FileInput
    Output: type[BaseModel] = Anything

    async def execute(self, context: StepContext, input: FileInput) -> Any:
        folder = Path(input.folder)
        with (folder / "calls").open("a") as file:
            file.write(f"{context.idempotency_key} {context.attempt}\n")
        while input.gate and not (folder / input.gate).exists():
            await asyncio.sleep(0.01)
        return context.step_key


async def main(database: str, redis: str, home: str, name: str, lease: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with engine_room(
        database, redis, Path(home), packages=("tests.support.worker_process",)
    ) as room:
        seconds = float(lease)
        worker = Worker(
            database=room.database,
            store=room.store,
            queue=room.queue,
            wakeup=room.wakeup,
            plans=PlanStore(room.database),
            registry=room.registry,
            secrets=room.secrets,
            logs=(logs := LogWriter(room.database, 0, wakeup_publish=lambda ids: None)),
            settings=room.settings.__class__(
                lease_seconds=seconds, beat_seconds=seconds / 4, lease_margin_seconds=seconds / 3
            ),
            tracing=room.tracing,
            metrics=room.metrics,
            clock=room.clock,
            entropy=room.entropy,
            host=name,
        )
        task = asyncio.create_task(worker.run())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
        await worker.stop(5.0)
        await task
        await logs.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
