"""The maps of an execution that count: how each was opened, and since which generation what its items did counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from runtime.engine.undoing import renewed_with, rewound_by
from runtime.engine.waiting_facts import number_of
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent


class Opening(NamedTuple):
    """A map, opened by an event of a generation over so many items.

    Items that completed from the generation `first` on still count. Those before it are done again: all was begun
    anew, or the map was undone, or rests on a step that was.
    """

    event: ExecutionEvent
    generation: int
    first: int

    @property
    def items(self) -> int:
        """How long its list is."""
        return number_of(self.event.field("items"))


def openings(events: Iterable[ExecutionEvent]) -> dict[int, Opening]:
    """The newest opening of each map that is not to be done again since; of all events, in order."""
    found: dict[int, Opening] = {}
    since: dict[int, int] = {}
    undone: set[int] = set()
    generation = first = 0
    for event in events:
        if event.kind is EventKind.MAP_OPENED:
            step = number_of(event.field("step"))
            found[step] = Opening(event, generation, max(first, since.get(step, 0)))
        elif event.kind is EventKind.STEP_COMPENSATED and isinstance(event.data, dict):
            undone.update(renewed_with(event.data))
        elif event.kind in BEGINS_AGAIN:
            generation += 1
            undone.update(rewound_by(event.kind, event.data))
            if event.field("from_failed_step") is False:
                first, found = generation, {}
            since.update(dict.fromkeys(undone, generation))
            for step in undone:
                found.pop(step, None)
            undone.clear()
    return found
