"""Circles of garbage are looked for by the clock, not by the count of new objects.

Python looks every 700 new objects, which a server that makes a hundred objects per execution reaches all the time: a
quarter of the process went there. Every 100,000 still took a tenth of it at saturation (measured on line T), since
each look walks through everything that has been made since the last one and lives. By the clock the price has a
bound, and so have the circles: what a broken request or a closed socket leaves behind is gone after seconds, at most
a minute, however few objects it is and however many bytes they hold. Where much is under way a look takes long (half
a second at saturation) and finds little; the next one waits in proportion.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

SHORTEST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 60.0
SHARE: Final = 0.02  # Of the process's time, at most, between those two.
OLDER_SECONDS: Final = 120.0  # So often what has lived through one look,
ALL_SECONDS: Final = 1_200.0  # and so often everything that was not there after the imports.
_OLDEST: Final = 2
_AT_ONCE: Final = (1_000_000, 20, 100)


def collect_by_the_clock(
    loop: asyncio.AbstractEventLoop, *, shortest_seconds: float = SHORTEST_SECONDS
) -> None:
    """From now on, as long as this loop runs; a million new objects are looked at at once nevertheless.

    What exists now (modules, classes, schemas) is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_AT_ONCE)
    _Looks(loop, shortest_seconds).wait(0.0)


class _Looks:
    def __init__(self, loop: asyncio.AbstractEventLoop, shortest_seconds: float) -> None:
        self._loop = loop
        self._shortest = shortest_seconds
        self._older_at = self._all_at = loop.time()

    def wait(self, took: float) -> None:
        self._loop.call_later(pause_after(took, shortest=self._shortest), self._look)

    def _look(self) -> None:
        begin = self._loop.time()
        generation = generation_of(begin - self._older_at, begin - self._all_at)
        gc.collect(generation)
        end = self._loop.time()
        if generation:
            self._older_at = end
        if generation == _OLDEST:
            self._all_at = end
        self.wait(end - begin)


def pause_after(took: float, *, shortest: float = SHORTEST_SECONDS) -> float:
    """Seconds until the next look, after one that took so many."""
    return min(max(took / SHARE, shortest), LONGEST_SECONDS)


def generation_of(since_older: float, since_all: float) -> int:
    """The generation that a look walks through, with all younger ones, so many seconds after those of older ones."""
    if since_all >= ALL_SECONDS:
        return _OLDEST
    return 1 if since_older >= OLDER_SECONDS else 0
