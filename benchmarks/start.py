"""How long `mc --help` and `mc completion bash` take, beside a Python that imports click and nothing of ours.

Each is a process of its own, as a shell starts it. The fastest of many runs is judged: a start is the same work every
time, so what a run takes above it is the work of others. No server is needed.

And the start of everything: from what `make run` calls to the block that says where to look, in a folder that has been
used before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from compileall import compile_dir
from pathlib import Path
from typing import cast

import maestro_cli
from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings

NAME = "start"
MC = Path(sys.executable).with_name("mc")
PACKAGE = Path(maestro_cli.__file__).parent
COMMANDS: dict[str, tuple[str | Path, ...]] = {
    "help": (MC, "--help"),
    "completion": (MC, "completion", "bash"),
    "raw": (sys.executable, "-c", "import click"),
}


async def measure(_around: Surroundings, effort: Effort) -> Line:
    """Milliseconds of `mc --help`; those of completion are among the facts."""
    # A machine on which nothing may write bytecode would be measured compiling, which no user's does twice.
    compiled = await asyncio.to_thread(compile_dir, PACKAGE, quiet=1)
    if not compiled:
        raise RuntimeError(f"{PACKAGE} can't be compiled")
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(effort.of(40, 2)):
        for name, command in COMMANDS.items():
            found[name].append(await asyncio.to_thread(_milliseconds, command))
    best = {name: min(walls) for name, walls in found.items()}
    warm = await _warm_starts(effort.of(3, 1))
    return Line(
        bench=NAME,
        letter="H",
        unit="ms",
        measured=best["help"],
        raw=best["raw"],
        ratio=best["help"] / best["raw"],
        goals=[
            at_most("measured", 80.0),
            at_most("completion_ms", 80.0),
            at_most("warm_start_s", 5.0),
        ],
        facts={
            "completion_ms": best["completion"],
            "p50_ms": statistics.median(found["help"]),
            "completion_p50_ms": statistics.median(found["completion"]),
            "warm_start_s": min(warm),
        },
    )


async def _warm_starts(times: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="mcb-") as folder:
        home = Path(folder) / "h"
        await _start(home)
        return [await _start(home) for _ in range(times)]


async def _start(home: Path) -> float:
    """Seconds until everything runs and says where to look; then it is stopped."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MC_")}
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(MC, "dev", "--example", "--port", "0"),
        env=mine | {"MC_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    took, output = None, cast(asyncio.StreamReader, process.stdout)
    async for line in output:
        if line.startswith(b"Try in another terminal"):
            took = time.perf_counter() - begin
            process.send_signal(signal.SIGINT)
    await process.wait()
    if took is None:
        raise RuntimeError(f"mc dev ended with {process.returncode} before it ran")
    return took


def _milliseconds(command: Sequence[str | Path]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000
