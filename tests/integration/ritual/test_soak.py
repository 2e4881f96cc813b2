"""A soak of minutes: what must stay flat stays flat, while workers are killed. `make soak HOURS=6` is the long one."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment, eventually


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_nothing_grows_and_nothing_is_lost_under_a_steady_load():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.soak", "--seconds", "150", "--per-second", "100",
        stdout=asyncio.subprocess.PIPE, env=clean_environment() | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
    )  # fmt: skip
    out, _ = await process.communicate()

    line = json.loads(out)
    assert line["pass"], line
    assert line["executions"] > 1_000
    assert line["kills"] >= 2


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_soak_that_was_ended_goes_on_where_it_was(tmp_path):
    began, _ = await _soak(tmp_path, is_ended=True)
    assert began == ""

    out, returncode = await _soak(tmp_path)

    line = json.loads(out)
    assert returncode == 0, line
    assert len(line["parts"]) == 2
    assert line["lost"] == line["not_completed"] == 0


async def _soak(folder: Path, *, is_ended: bool = False) -> tuple[str, int | None]:
    """A part of forty seconds; ended when it has taken a sample, or whole."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.soak", "--seconds", "40", "--per-second", "50", "--in", str(folder),
        stdout=asyncio.subprocess.PIPE, env=clean_environment() | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
    )  # fmt: skip
    if is_ended:
        await eventually((folder / "soak.json").exists, seconds=120)
        process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    return out.decode(), process.returncode
