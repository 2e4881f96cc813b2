"""One line of `make bench`: what was measured, raw in the same run, the ratio, the target, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: the table's amounts, or little of everything (`--quick`), to see that it runs."""

    is_quick: bool = False

    def of(self, full: int, quick: int) -> int:
        """The amount for this run."""
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on one of a line's values; `is_floor` when more is better."""

    what: str
    bound: float
    is_floor: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.bound if self.is_floor else value <= self.bound

    def __str__(self) -> str:
        return f"{self.what} {'>=' if self.is_floor else '<='} {self.bound:g}"


def at_least(what: str, bound: float) -> Goal:
    """More is better."""
    return Goal(what, bound, is_floor=True)


def at_most(what: str, bound: float) -> Goal:
    """Less is better."""
    return Goal(what, bound)


@dataclass(frozen=True, slots=True)
class Line:
    """What one measurement came to. Goals name `measured`, `ratio`, or one of the facts."""

    bench: str
    letter: str
    unit: str
    measured: float
    goals: Sequence[Goal]
    raw: float | None = None
    ratio: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every goal is reached."""
        return all(goal.holds(float(self._values()[goal.what])) for goal in self.goals)

    def as_json(self) -> dict[str, Any]:
        """The line as it is printed and kept."""
        return {
            "bench": self.bench,
            "line": self.letter,
            "unit": self.unit,
            "measured": _short(self.measured),
            "raw": None if self.raw is None else _short(self.raw),
            "ratio": None if self.ratio is None else _short(self.ratio),
            "target": ", ".join(map(str, self.goals)),
            "pass": self.passed,
            **{name: _short(value) for name, value in self.facts.items()},
        }

    def _values(self) -> dict[str, Any]:
        return {"measured": self.measured, "ratio": self.ratio, **self.facts}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, tail and worst of some durations, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50_ms": at(ordered, 0.5) * 1000,
        "p95_ms": at(ordered, 0.95) * 1000,
        "p99_ms": at(ordered, 0.99) * 1000,
        "max_ms": ordered[-1] * 1000,
    }


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of an ordered list lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
