"""How much of large values one answer may bring: said before they are read, by the sizes that their rows name."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(slots=True)
class Room:
    """The bytes of large values that an answer has room for; each event of a stream is an answer of its own."""

    most: int = sys.maxsize
    taken: int = 0

    def takes(self, size: int) -> bool:
        """Take so many bytes; whether there was room for them."""
        self.taken += size
        return self.taken <= self.most

    def clear(self) -> None:
        """Begin anew."""
        self.taken = 0
