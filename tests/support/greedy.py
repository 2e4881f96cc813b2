"""A question to a judge whose answer takes more memory than there is for one."""

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
