"""Room in one answer for what its document does not tell: large values, more objects than were assumed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


@dataclass(slots=True)
class Room:
    """How much there is room for, how much is taken, and how much of it was known before.

    Each event of a stream is an answer of its own.
    """

    most: int = sys.maxsize
    taken: int = 0
    known: int = field(init=False)

    def __post_init__(self) -> None:
        """What is taken in the beginning is what was known before."""
        self.known = self.taken

    @property
    def more(self) -> int:
        """How much more is taken than was known before."""
        return self.taken - self.known

    def takes(self, size: int) -> bool:
        """Take so much; whether there was room for it."""
        self.taken += size
        return self.taken <= self.most

    def clear(self) -> None:
        """Begin anew."""
        self.taken = self.known
