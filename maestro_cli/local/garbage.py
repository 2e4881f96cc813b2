"""Circles of garbage are looked for by the clock, not by the count of new objects.

Python looks every 700 new objects, which a server that makes a hundred objects per execution reaches all the time: a
quarter of the process went there. Every 100,000 still took a tenth of it at saturation (measured on line T), since
each look walks through everything that has been made since the last one and lives. By the clock the price has a
bound, and so have the circles: what a broken request or a closed socket leaves behind is gone after some seconds,
however few objects it is and however many bytes they hold.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

YOUNG_SECONDS: Final = 10.0
OLDER_EVERY: Final = 12  # Every two minutes what has lived through one look,
ALL_EVERY: Final = 120  # and every twenty minutes everything that was not there after the imports.
_AT_ONCE: Final = (1_000_000, 20, 100)


def collect_by_the_clock(
    loop: asyncio.AbstractEventLoop, *, young_seconds: float = YOUNG_SECONDS
) -> None:
    """From now on, as long as this loop runs; a million new objects are looked at at once nevertheless.

    What exists now (modules, classes, schemas) is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_AT_ONCE)
    loop.call_later(young_seconds, _look, loop, young_seconds, 1)


def _look(loop: asyncio.AbstractEventLoop, young_seconds: float, number: int) -> None:
    gc.collect(generation_of(number))
    loop.call_later(young_seconds, _look, loop, young_seconds, number + 1)


def generation_of(number: int) -> int:
    """The generation that the n-th look (from 1) walks through, with all younger ones."""
    if number % ALL_EVERY == 0:
        return 2
    return 1 if number % OLDER_EVERY == 0 else 0
