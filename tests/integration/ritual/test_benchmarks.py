"""Every benchmark runs: little of everything, one valid line each. What the figures say is not judged here."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from benchmarks.__main__ import BENCHES
from tests.support.processes import ROOT, clean_environment

# The two that need no second process and no large table; the others are for the long run.
SHORT = ("latency",)


async def quick(name: str) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks", name, "--quick",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 300)
    finally:
        if process.returncode is None:
            process.terminate()  # It ends its servers with itself.
            await process.wait()
    assert process.returncode == 0, err.decode()
    (text,) = out.decode().splitlines()
    found: dict[str, object] = json.loads(text)
    return found


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in SHORT else pytest.mark.long) for n in BENCHES],
)
async def test_it_prints_one_valid_line(name: str):
    found = await quick(name)

    assert found["bench"] == name
    assert isinstance(found["measured"], float | int)
    assert isinstance(found["pass"], bool)
    assert found["target"]
    assert found["quick"] is True
