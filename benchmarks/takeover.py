"""G: `kill -9` of a worker that owns 200 and then 5,000 executions: from the kill to their calls elsewhere.

Two workers in processes of their own. The first one owns everything when it is killed; each execution stands in a
step that does not end, and the clock stops when the other worker calls that step again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from benchmarks.line import Effort, Line, at_most, spread
from benchmarks.surroundings import Surroundings, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest
from runtime.settings import Settings
from runtime.worker.quarantine import framed

NAME = "takeover"
_WORKFLOW = """
name: hold
version: 1.0.0
params: {folder: {type: string}}
steps:
  - {id: a, uses: bench.hold@1, with: {folder: "{{ params.folder }}"}}
"""
_PATIENCE_SECONDS = 60.0


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The tail and the worst, of few and of many."""
    few, many = effort.of(200, 10), effort.of(5_000, 50)
    one, other = await _killed(around, "few", few), await _killed(around, "many", many)
    worst = max(one["p95_ms"], other["p95_ms"])
    return Line(
        bench=NAME,
        letter="G",
        unit="ms",
        measured=worst,
        goals=[at_most("measured", 5_000), at_most("max_ms", 10_000)],
        facts={
            "max_ms": max(one["max_ms"], other["max_ms"]),
            **{f"few_{name}": value for name, value in one.items()},
            **{f"many_{name}": value for name, value in other.items()},
            "few": few,
            "many": many,
        },
    )


async def _killed(around: Surroundings, name: str, count: int) -> dict[str, float]:
    settings = replace(
        around.settings,
        worker=replace(around.settings.worker, max_steps=count, max_executions=count),
    )
    with tempfile.TemporaryDirectory(prefix="mcb-calls-") as folder:
        async with open_runtime(around.settings) as runtime:
            workflow = _WORKFLOW.replace("hold\n", f"hold-{name}\n", 1)
            who, name = await publish(runtime, f"hold-{name}", workflow)
            request = EnqueueRequest(workflow_name=name, input={"folder": folder})
            async with _worker(settings) as first:
                for _ in range(0, count, 1_000):
                    batch = [request] * min(count, 1_000)
                    await runtime.services.executions.enqueue_many(who, batch)
                await _calls(Path(folder), first.pid, count)
                async with _worker(settings) as second:
                    await _settled(runtime)
                    at = time.monotonic()
                    first.kill()
                    moments = await _calls(Path(folder), second.pid, count)
                    second.kill()
            await _clear(runtime)
    return spread([moment - at for moment in moments])


async def _settled(runtime: Runtime) -> None:
    """A server that has just started misses nobody for want of a session: those are its first ten seconds."""
    async with runtime.database.engine() as connection:
        while await connection.fetchval(
            "select pg_postmaster_start_time() > now() - interval '10 seconds'"
        ):
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.worker_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a worker without pipes")
        process.stdin.write(framed(settings))
        async with asyncio.timeout(_PATIENCE_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError("the worker did not start")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _calls(folder: Path, pid: int, count: int) -> list[float]:
    """The moments of the first call of each execution in a process, when all were called."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            found = await asyncio.to_thread(_read, folder / f"calls-{pid}")
            if len(found) >= count:
                return list(found.values())
            await asyncio.sleep(0.05)


def _read(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    found: dict[str, float] = {}
    for line in path.read_text().splitlines():
        execution, _, moment = line.partition(" ")
        if moment:
            found.setdefault(execution, float(moment))
    return found


async def _clear(runtime: Runtime) -> None:
    """What was killed twice must not wait for the next round's workers."""
    async with runtime.database.engine() as connection:
        await connection.execute(
            "update workflow_executions set status = 5, owner = null where status in (0, 1)"
        )
