"""How much a tenant may ask of the graph: so many requests and so much cost a second, in the long run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RATE: Final = re.compile(r"(\d{1,9})\s*/\s*([smh])(?:\s+burst\s+(\d{1,9}))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `per_second` flow in, `burst` fit."""

    per_second: float
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `100/s`, `3000/m`, `100/s burst 500`; raises ValueError otherwise.

        Without a burst, what flows in within its unit may come at once.
        """
        found = _RATE.fullmatch(text.strip())
        if found is None or not int(found[1]) or found[3] == "0":
            raise ValueError(f"{text!r} is no rate; write 100/s, 3000/m or 100/s burst 500")
        return cls(int(found[1]) / _SECONDS[found[2]], int(found[3] or found[1]))


@dataclass(frozen=True, slots=True)
class Rates:
    """The budgets of one tenant; None: not limited."""

    requests: Rate | None = None
    cost: Rate | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is limited."""
        return self.requests is None and self.cost is None


NO_LIMIT: Final = Rates()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on; if not, which budget is used up and for how many seconds."""

    used_up: str | None = None
    seconds: float = 0.0
