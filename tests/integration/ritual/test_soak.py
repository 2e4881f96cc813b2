"""A soak of minutes: what must stay flat stays flat, while workers are killed. `make soak HOURS=6` is the long one."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from tests.support.processes import ROOT, clean_environment


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
