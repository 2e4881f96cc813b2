"""Saga compensation of a program: what undoes which steps, which steps a retry runs again, and a judge of the log.

Nothing here asks the engine. The order is judged by when rows were committed; who is undone, by how the calls of its
compensation end as the program says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind as Kind
from runtime.model.execution import StepStatus
from tests.simulator.rewinds import AGAIN, taken_back

_USES: Final = ("sim.inline", "sim.call", "sim.call", "sim.once", "sim.found")
# What begins an end; while it goes on, a worker is lost at the worst moment.
STOPS: Final = {
    Kind.EXECUTION_CANCEL_REQUESTED,
    Kind.EXECUTION_DEADLINE_REACHED,
    Kind.EXECUTION_COMPENSATING,
}
_GOOD: Final = {StepStatus.COMPLETED, StepStatus.SKIPPED}


def undoes_in(seed: int) -> bool:
    """In one seed of four steps say how they are undone; the others tell the stories that they always told."""
    return seed % 4 == 1


def with_undoing(steps: tuple[Any, ...], seed: int, draw: Callable[[Random, str], Any]) -> Any:
    """The same steps, of which some say how they are undone; `draw` makes a step of a connector."""
    if not undoes_in(seed):
        return steps
    random = Random(f"undoing {seed} {len(steps)}")
    found: list[Any] = []
    for index, step in enumerate(steps):
        is_task = (step.calls or step.child is not None) and step.many is None
        if not is_task or random.random() < 0.25:
            found.append(step)
            continue
        undo = replace(draw(random, random.choice(_USES)), needs=(index,))
        found.append(replace(step, undo=undo))
    return tuple(_failing(random, found))


def _failing(random: Random, steps: list[Any]) -> list[Any]:
    """In most of these seeds the last step fails at first, and often once more: else little would be undone."""
    last = steps[-1]
    if not last.calls or random.random() < 0.3:
        return steps
    bad = [
        replace(script, kind="permanent") if random.random() < likely else script
        for script, likely in zip(last.scripts, (1.0, 0.6, 0.3), strict=True)
    ]
    return [*steps[:-1], replace(last, scripts=tuple(bad))]


@dataclass
class Generation:
    """What the log tells of one generation."""

    events: list[tuple[int, Kind, Any]] = field(default_factory=list)

    def of(self, *kinds: Kind) -> list[Any]:
        return [data for _, kind, data in self.events if kind in kinds]

    def taken_back(self, steps: Sequence[Any], ended: Collection[int]) -> set[int]:
        """The steps whose ends count no more, because it began with a rewind; `ended` had a good end before."""
        _, kind, data = self.events[0]
        return taken_back(steps, kind, data, ended)

    @property
    def undone(self) -> list[int]:
        return [data["step"] for data in self.of(Kind.STEP_COMPENSATED)]


def generations(e: Any) -> list[Generation]:
    """The log, one generation after another."""
    found = [Generation()]
    for n, (number, data) in sorted(e.events.items()):
        kind = Kind(number)
        if kind in AGAIN:
            found.append(Generation())
        found[-1].events.append((n, kind, data or {}))
    return found


def counting(e: Any, steps: Sequence[Any]) -> list[dict[int, int]]:
    """For each generation, the steps that had a good end before it began, and the generation of that end."""
    count, kept, found = len(steps), dict[int, int](), list[dict[int, int]]()
    for number, one in enumerate(generations(e)):
        retried = one.of(Kind.EXECUTION_RETRIED)
        if retried and retried[0].get("from_failed_step", True) is False:
            kept = {}
        for step in one.taken_back(steps, kept):
            kept.pop(step, None)
        found.append(dict(kept))
        kept |= dict.fromkeys(_good_in(e, number, count), number)
        completed = {step for step in kept if _status(e, step, kept[step]) == StepStatus.COMPLETED}
        for step in again(steps, one.undone, completed):
            kept.pop(step, None)
    return found


def renewed_since(e: Any, steps: Sequence[Any]) -> dict[int, int]:
    """The steps that ran, or run, again because of what was undone, and the generation since when they do."""
    found: dict[int, int] = {}
    kept = counting(e, steps)
    for number, one in enumerate(generations(e)[:-1]):
        ends = {**kept[number], **dict.fromkeys(_good_in(e, number, len(steps)), number)}
        completed = {s for s in ends if _status(e, s, ends[s]) == StepStatus.COMPLETED}
        found |= dict.fromkeys(again(steps, one.undone, completed), number + 1)
    for number, one in enumerate(generations(e)):
        for step in one.taken_back(steps, kept[number]):
            found[step] = max(number, found.get(step, 0))
    return found


def _good_in(e: Any, number: int, count: int) -> set[int]:
    return {
        step
        for (step, item, generation, _), (status, ended, result) in e.steps.items()
        if generation == number
        and item < 0
        and step < count
        and ended != inf
        and (status in _GOOD or result.get("handled"))
    }


def _status(e: Any, step: int, generation: int) -> int:
    rows = [
        (attempt, status)
        for (one, item, at, attempt), (status, _, _) in e.steps.items()
        if (one, item, at) == (step, -1, generation)
    ]
    return max(rows)[1] if rows else 0


def again(steps: Sequence[Any], undone: Sequence[int], completed: set[int]) -> set[int]:
    """What was undone, and what rests on it; what could not be undone keeps what rests on it as it is."""
    found = set(undone)
    for index, step in enumerate(steps):
        stays = step.undo is not None and index in completed and index not in undone
        if not stays and found.intersection(step.needs):
            found.add(index)
    return found


class UndoJudge:
    """Reads the log and the rows of one execution."""

    def __init__(
        self, e: Any, steps: Sequence[Any], excused: set[Any], say: Callable[[str], None]
    ) -> None:
        self._e = e
        self._steps = steps
        self._excused = excused
        self._say = say
        undoers = [i for i, step in enumerate(steps) if step.undo is not None]
        self._by = {len(steps) + n: step for n, step in enumerate(undoers)}

    def look(self) -> None:
        """Every generation that is over."""
        if not self._by:
            return
        kept = counting(self._e, self._steps)
        all_of_it = generations(self._e)
        for number, one in enumerate(all_of_it):
            self._turns(number, one)
            is_over = number + 1 < len(all_of_it) or self._e.status in {2, 4, 5, 7}
            if is_over:
                self._ended(number, one, kept[number])

    def _turns(self, number: int, one: Generation) -> None:
        """One after another, in the order that was told, each step once."""
        begun = one.of(Kind.EXECUTION_COMPENSATING)
        order = begun[0]["steps"] if begun else []
        if len(begun) > 1 or len(set(order)) != len(order):
            self._say(f"undo: {self._e.id} was begun to be undone twice, or {order} in {number}")
        turns = [
            self._by[data["step"]] for data in one.of(Kind.STEP_STARTED) if data["step"] in self._by
        ]
        firsts = list(dict.fromkeys(turns))
        if firsts != order[: len(firsts)]:
            self._say(f"undo: {self._e.id} undid {firsts} in {number}, told was {order}")
        if turns != sorted(turns, key=firsts.index):
            self._say(f"undo: {self._e.id} undid {turns} in {number}, not one after another")
        if len(set(one.undone)) != len(one.undone):
            self._say(f"undo: {self._e.id} undid {one.undone} in {number}, some of them twice")

    def _ended(self, number: int, one: Generation, kept: Mapping[int, int]) -> None:
        wanted = self._wanted(number, one, kept)
        begun = one.of(Kind.EXECUTION_COMPENSATING)
        order: list[int] = begun[0]["steps"] if begun else []
        if set(order) != set(wanted):
            self._say(f"undo: {self._e.id} undoes {order} in {number}, wanted was {[*wanted]}")
            return
        ends = [wanted[step] for step in order]
        if ends != sorted(ends, reverse=True):
            self._say(f"undo: {self._e.id} undoes {order} in {number}, which ended at {ends}")
        if not order:
            return
        said = next(
            (data["compensation"] for data in one.of(*_BAD_ENDS) if "compensation" in data), None
        )
        if said is None:
            self._say(f"undo: the end of {self._e.id} in {number} does not say what was undone")
            return
        told = {f"s{step}" for step in one.undone}
        failed = {entry["step"] for entry in said["failed"]}
        if set(said["undone"]) != told or failed != {f"s{step}" for step in order} - told:
            self._say(f"undo: {self._e.id} in {number} says {said}, and undid {told}")
        for step in order:
            should = self._steps[step].undo.succeeds(number)
            if should != (step in one.undone) and (self._e.id, number) not in self._excused:
                self._say(
                    f"undo: of {self._e.id} in {number} step {step} was to be undone: {should}"
                )

    def _wanted(self, number: int, one: Generation, kept: Mapping[int, int]) -> dict[int, float]:
        """The steps to be undone, and when each of them ended."""
        kinds = {kind for _, kind, _ in one.events}
        asked = any(data.get("compensate") for data in one.of(Kind.EXECUTION_CANCEL_REQUESTED))
        is_bad = kinds & {Kind.EXECUTION_FAILED, Kind.EXECUTION_TIMED_OUT} or (
            Kind.EXECUTION_CANCELLED in kinds and asked
        )
        if not is_bad:
            return {}
        found = {}
        for (step, item, generation, _), (status, ended, _) in self._e.steps.items():
            if item >= 0 or status != StepStatus.COMPLETED or step not in self._by.values():
                continue
            if generation == number or kept.get(step) == generation:
                found[step] = ended
        return found


_BAD_ENDS: Final = (Kind.EXECUTION_FAILED, Kind.EXECUTION_TIMED_OUT, Kind.EXECUTION_CANCELLED)
