"""Room in one answer for what its document does not tell: large values, more objects than were assumed."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(slots=True)
class Room:
    """How much there is room for, and how much is taken; each event of a stream is an answer of its own."""

    most: int = sys.maxsize
    taken: int = 0

    def takes(self, size: int) -> bool:
        """Take so much; whether there was room for it."""
        self.taken += size
        return self.taken <= self.most

    def clear(self) -> None:
        """Begin anew."""
        self.taken = 0
