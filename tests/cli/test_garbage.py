"""Circles of garbage go by the clock."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from maestro_cli.local.garbage import collect_by_the_clock, generation_of, pause_after


class _Circle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def python_as_it_was():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


LOOKS = """
import atexit, gc, sys
from maestro_cli.main import main
looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
atexit.register(lambda: print(looks.count("start"), file=sys.stderr))
sys.argv = ["mc", "validate", "--quiet", sys.argv[1]]
main()
"""


def test_a_command_does_not_look_through_what_lives_until_its_end(tmp_path: Path):
    steps = "".join(f"- {{id: s{i}, uses: core.set@1, with: {{n: {i}}}}}\n" for i in range(1_000))
    file = tmp_path / "many.yaml"
    file.write_text(f"name: many\nsteps:\n{steps}")

    done = subprocess.run(
        [sys.executable, "-c", LOOKS, str(file)], capture_output=True, text=True, check=True
    )

    assert int(done.stderr) < 10


@pytest.mark.usefixtures("python_as_it_was")
async def test_a_single_circle_is_gone_after_a_while():
    gone = asyncio.Event()
    collect_by_the_clock(asyncio.get_running_loop(), shortest_seconds=0.01)
    weakref.finalize(_Circle(), gone.set)
    async with asyncio.timeout(10):
        await gone.wait()


@pytest.mark.parametrize(
    ("since_older", "since_all", "generation"),
    [(119, 119, 0), (120, 120, 1), (120, 1_199, 1), (0, 1_200, 2), (121, 1_201, 2)],
)
def test_old_circles_are_looked_for_now_and_then(
    since_older: float, since_all: float, generation: int
):
    assert generation_of(since_older, since_all) == generation


@pytest.mark.parametrize(("took", "seconds"), [(0.000_01, 5), (0.1, 5), (0.5, 25), (3, 60)])
def test_a_look_that_takes_long_is_followed_by_a_long_pause(took: float, seconds: float):
    assert pause_after(took) == seconds
