"""How much may be done with somebody's data while others wait: a budget that our own code pays into.

What can't be bounded so, because a library does it, runs only where nobody waits: there no budget is open.
The unit is about a microsecond of a usual core.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

QUICK: Final = 20_000  # Some tens of milliseconds at worst.

_left: ContextVar[list[int] | None] = ContextVar("left_of_the_budget", default=None)


class TooCostly(Exception):
    """Judging this takes more work than may be done here."""


@contextmanager
def budget(units: int) -> Iterator[list[int]]:
    """Others wait: within, `pay` raises TooCostly when more than so much has been paid, `nobody_waits` at once.

    Gives a list with what is left.
    """
    left = [units]
    token = _left.set(left)
    try:
        yield left
    finally:
        _left.reset(token)


def pay(units: int) -> None:
    """Take from the budget that is open here, if one is."""
    left = _left.get()
    if left is not None:
        left[0] -= units
        if left[0] < 0:
            raise TooCostly


def nobody_waits() -> None:
    """Before whatever has no bound of its own; raises TooCostly where others wait."""
    if _left.get() is not None:
        raise TooCostly
