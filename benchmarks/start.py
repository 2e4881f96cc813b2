"""How long `mc --help` and `mc completion bash` take, beside a Python that imports click and nothing of ours.

Each is a process of its own, as a shell starts it. The fastest of many runs is judged: a start is the same work every
time, so what a run takes above it is the work of others. No server is needed.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings

NAME = "start"
MC = Path(sys.executable).with_name("mc")
COMMANDS: dict[str, tuple[str | Path, ...]] = {
    "help": (MC, "--help"),
    "completion": (MC, "completion", "bash"),
    "raw": (sys.executable, "-c", "import click"),
}


async def measure(_around: Surroundings, effort: Effort) -> Line:
    """Milliseconds of `mc --help`; those of completion are among the facts."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(effort.of(40, 2)):
        for name, command in COMMANDS.items():
            found[name].append(await asyncio.to_thread(_milliseconds, command))
    best = {name: min(walls) for name, walls in found.items()}
    return Line(
        bench=NAME,
        letter="H",
        unit="ms",
        measured=best["help"],
        raw=best["raw"],
        ratio=best["help"] / best["raw"],
        goals=[at_most("measured", 80.0), at_most("completion_ms", 80.0)],
        facts={
            "completion_ms": best["completion"],
            "p50_ms": statistics.median(found["help"]),
            "completion_p50_ms": statistics.median(found["completion"]),
        },
    )


def _milliseconds(command: Sequence[str | Path]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000
