"""Questions to a judge that nobody would ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Greedy:
    """So many bytes at once."""

    size: int

    def answer(self, _catalog: Any) -> int:
        """How many there were."""
        return len(bytearray(self.size))


@dataclass(frozen=True)
class Faulty:
    """What fails with somebody's data in its words."""

    data: str

    def answer(self, _catalog: Any) -> None:
        """It has no answer."""
        raise KeyError(self.data)
