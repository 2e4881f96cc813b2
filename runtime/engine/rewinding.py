"""What a rewind runs again: the step that is named, and all that rests on it; everything else keeps its end.

The event of a rewind names these steps, so that whoever reads it (a rebuild, the past, a replay) means the same ones,
whatever a later release would say. One that gives the execution another input says which it had until then: the row
has the newest, so the input of each generation is known by the events that came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from runtime.model.blob import Stored, stored
from runtime.model.checkpoint import Mark
from runtime.model.event import BEGINS_AGAIN, ExecutionEvent
from runtime.model.plan import Plan
from runtime.model.values import Json

BEFORE: Final = "input_before"
"""The member of EXECUTION_REWOUND with the input, as its row had it, of the generations up to then."""


def rests_on(plan: Plan, step: int) -> tuple[int, ...]:
    """All steps of the document behind a step, in its order: what a rewind to that one runs again with it.

    Every edge counts, whether its way was taken or not: that of a gateway, of a join, and to where `on_error` goes.
    """
    found, todo = set[int](), [step]
    while todo:
        for one in plan.successors[todo.pop()]:
            if one not in found:
                found.add(one)
                todo.append(one)
    return tuple(sorted(found))


def rewound_to(plan: Plan, step: int) -> dict[str, Json]:
    """What EXECUTION_REWOUND says of the steps: the one that is named, and those that run again with it (`again`).

    Among these is what gave outputs in the place of some of them.
    """
    again = plan.with_fallbacks((step, *rests_on(plan, step)))
    return {"step": step, "key": plan.steps[step].key, "again": [n for n in again if n != step]}


def with_input(said: Mapping[str, Json], digest: str, anew: Iterable[int]) -> dict[str, Json]:
    """The same where the execution goes on with another input, which has this digest.

    `anew` are the maps that would keep items: these were made of elements that the other input may give otherwise, so
    they run again, too. The event itself says the input of before as well, from the row that it changes.
    """
    again = said["again"]
    named = {
        *anew,
        *(one for one in (again if isinstance(again, list) else ()) if isinstance(one, int)),
    }
    return {**said, "again": [*sorted(named)], "input": digest}


def earlier_inputs(told: Iterable[Mark | ExecutionEvent]) -> dict[int, Stored]:
    """The inputs of those generations that had another one than the newest; of all events, or all marks, in order."""
    found: dict[int, Stored] = {}
    generation = first = 0
    for one in told:
        if one.kind not in BEGINS_AGAIN:
            continue
        if gives_input(one.data):
            found.update(dict.fromkeys(range(first, generation + 1), input_before(one.data)))
            first = generation + 1
        generation += 1
    return found


def gives_input(data: Json) -> bool:
    """Whether the event that begins a generation gives the execution another input."""
    return isinstance(data, Mapping) and BEFORE in data


def input_before(data: Json) -> Stored:
    """The input that it had before such an event."""
    return stored(data[BEFORE]) if isinstance(data, Mapping) else None
