"""Circles of garbage go by the clock."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from maestro_cli.local.garbage import ALL_EVERY, OLDER_EVERY, collect_by_the_clock, generation_of


class _Circle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def python_as_it_was():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("python_as_it_was")
async def test_a_single_circle_is_gone_after_a_while():
    gone = asyncio.Event()
    collect_by_the_clock(asyncio.get_running_loop(), young_seconds=0.01)
    weakref.finalize(_Circle(), gone.set)
    async with asyncio.timeout(10):
        await gone.wait()


def test_old_circles_are_looked_for_now_and_then():
    looks = [generation_of(number) for number in range(1, 2 * ALL_EVERY + 1)]
    assert looks.count(2) == 2
    assert looks.count(1) == 2 * ALL_EVERY // OLDER_EVERY - 2
    assert looks[: OLDER_EVERY - 1] == [0] * (OLDER_EVERY - 1)
