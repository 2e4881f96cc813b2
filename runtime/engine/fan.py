"""Fan: the state of one map that is open. A byte per item says how it ended; only items under way are objects.

So a map over 100,000 items is 100 kB, whatever its items are and put out: their list is rendered by who
starts them, what they put out is read from their rows when the map joins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from runtime.engine.event import StepError
from runtime.model.execution import StepStatus

# Items from the first to the one before the last number.
Range: TypeAlias = tuple[int, int]
# Where a step or an item is kept among others.
Place: TypeAlias = int | tuple[int, int]
_OPEN: Final = 0


def place_of(step: int, item: int) -> Place:
    """The key of a step, or of one of its items."""
    return step if item < 0 else (step, item)


class Item:
    """An item that has begun and not ended: `free` of its attempts made no call, `deferred` were put off in a row."""

    __slots__ = ("attempt", "deferred", "error", "free", "status")

    def __init__(self, attempt: int = 0, status: StepStatus = StepStatus.PENDING) -> None:
        self.attempt = attempt
        self.status = status
        self.free = 0
        self.deferred = 0
        self.error: StepError | None = None

    @property
    def tries(self) -> int:
        """How many attempts count."""
        return self.attempt - self.free


class Fan:
    """One open map.

    `live` are the items that have begun, `again` those among them whose call was not made and that begin once
    more. The first `fault` of a map that does not collect ends it as soon as nothing of it is under way.
    """

    __slots__ = ("_cursor", "again", "ends", "fault", "is_joining", "left", "live")

    def __init__(self, length: int, completed: Iterable[Range] = ()) -> None:
        self.ends = bytearray(length)
        self.left = length
        self.live: dict[int, Item] = {}
        self.again: list[int] = []
        self.fault: tuple[int, StepError] | None = None
        self.is_joining = False
        self._cursor = 0
        for first, behind in completed:
            for item in range(first, min(behind, length)):
                self.end(item, StepStatus.COMPLETED)

    @property
    def takes_more(self) -> bool:
        """Whether further items begin as soon as there is place."""
        return self.fault is None and not self.is_joining

    def end(self, item: int, status: StepStatus) -> None:
        """This item has ended for good."""
        self.live.pop(item, None)
        if self.ends[item] == _OPEN:
            self.ends[item] = status
            self.left -= 1

    def next(self) -> int | None:
        """The first item that has not begun, which does now; None: all have."""
        found = self.ends.find(_OPEN, self._cursor)
        while found in self.live:
            found = self.ends.find(_OPEN, found + 1)
        self._cursor = len(self.ends) if found < 0 else found + 1
        return None if found < 0 else found
