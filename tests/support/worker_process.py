"""A worker in a process of its own, for tests that kill it: `python -m tests.support.worker_process DATABASE REDIS HOME NAME LEASE`.

Its one connector, probe.file, writes a line per call into a file of the data folder and returns when the gate file exists.
What has lost two owners runs in a child of it, as in the product: the same command with `alone` at its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import Connector, NotMade, StepContext
from runtime.model.plan import Effect
from runtime.settings import Settings
from runtime.store.log import LogWriter
from runtime.store.plan import PlanStore
from runtime.worker.loop import Worker
from runtime.worker.quarantine import Quarantine, parent_gone
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


class SinkStep(FileStep):
    """The same, as a system that ignores keys: what it counts are calls."""

    name = "probe.sink"
    effect_class = Effect.AT_MOST_ONCE


class FindableSink(SinkStep):
    """The same, and it can be asked."""

    name = "probe.findable_sink"

    async def look_up(self, context: StepContext, input: FileInput) -> Any:
        file = Path(input.folder) / "calls"
        keys = [line.split()[0] for line in file.read_text().splitlines()]
        return context.step_key if context.idempotency_key in keys else NotMade()


class Large(FileStep):
    """Gives a value that is too large for a row, and another one in each process."""

    name = "probe.large"

    async def execute(self, context: StepContext, input: FileInput) -> Any:
        await super().execute(context, input)
        return f"{os.getpid()} " * 20_000


async def main(
    database: str, redis: str, home: str, name: str, lease: str, alone: str = ""
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with engine_room(
        database, redis, Path(home), packages=("tests.support.worker_process",)
    ) as room:
        seconds, _, beat = lease.partition("/")
        command = (sys.executable, "-m", "tests.support.worker_process", *sys.argv[1:6], "alone")
        worker = Worker(
            database=room.database,
            store=room.store,
            queue=room.queue,
            wakeup=room.wakeup,
            plans=PlanStore(room.database),
            judge=room.judges.input,
            registry=room.registry,
            secrets=room.secrets,
            logs=(logs := LogWriter(room.database, 0, wakeup_publish=lambda ids: None)),
            blobs=room.blobs(),
            settings=room.settings.__class__(
                lease_seconds=float(seconds),
                beat_seconds=float(beat or float(seconds) / 4),
                lease_margin_seconds=float(seconds) / 3,
            ),
            tracing=room.tracing,
            metrics=room.metrics,
            clock=room.clock,
            entropy=room.entropy,
            host=f"{name}:alone" if alone else name,
            quarantine=None if alone else Quarantine(Settings(home=Path(home)), command),
            is_alone=bool(alone),
        )
        task = asyncio.create_task(worker.run())
        if not alone:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
        ends: set[asyncio.Task[Any]] = {asyncio.create_task(stop.wait())}
        if alone:
            ends |= {task, asyncio.create_task(parent_gone())}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await worker.stop(5.0)
        await task
        await logs.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
