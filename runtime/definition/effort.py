"""What judging somebody's data by somebody's schema may cost: a budget that every part of the work pays into.

The unit is about a microsecond of a usual core. Who opens no budget is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

QUICK: Final = 20_000  # What may be done while others wait: some tens of milliseconds at worst.
FULL: Final = 2_000_000  # What may be done at all, in a thread: a few seconds at worst.

_left: ContextVar[list[int] | None] = ContextVar("left_of_the_budget", default=None)


class TooCostly(Exception):
    """Judging this value by this schema takes more work than it may."""


@contextmanager
def budget(units: int) -> Iterator[None]:
    """Within, `pay` raises TooCostly when more than so much has been paid in all."""
    token = _left.set([units])
    try:
        yield
    finally:
        _left.reset(token)


def pay(units: int) -> None:
    """Take from the budget that is open here, if one is."""
    left = _left.get()
    if left is not None:
        left[0] -= units
        if left[0] < 0:
            raise TooCostly
