"""Steps that a rewind keeps: each ends when its turn comes, with what it gave before, and calls nobody (ADR-107).

Until then it has not ended, so that nothing behind it begins before what stands before it has been done again. How long
a step is kept is read from the events; what it gave, from its row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import orjson

from runtime.engine.about import about
from runtime.engine.command import Command, RecordEvent, RecordStep
from runtime.engine.ending import complete
from runtime.engine.event import WAITED, Facts
from runtime.engine.state import COMPLETED, ExecutionState, Kept
from runtime.engine.undoing import renewed_with, rewound_by
from runtime.model.blob import BlobRef, Stored, stored
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import BEGINS_AGAIN, EventKind
from runtime.model.execution import StepStatus
from runtime.model.values import Json

SOURCE: Final = "cached_from"
"""The member of a row with the attempt whose output it was given again."""
# What its row says of the call that is kept: with what it was made, what it gave, and which code made it.
_OF_CALL: Final = ("out", "in", "code", "code_digest")


def kept_until(marks: Sequence[Mark]) -> dict[int, int]:
    """The steps that are kept and, of each, the generation up to which it may have ended.

    One is no longer kept when a later rewind takes it back, all begins anew, or it or what it rests on was undone.
    """
    found: dict[int, int] = {}
    generation = 0
    for mark in marks:
        data = mark.data if isinstance(mark.data, dict) else {}
        if mark.kind in BEGINS_AGAIN:
            if data.get("from_failed_step") is False:
                found.clear()
            for step in rewound_by(mark.kind, data):
                found.pop(step, None)
            found.update(dict.fromkeys(kept_by(data), generation))
            generation += 1
        elif mark.kind == EventKind.STEP_COMPENSATED:
            for step in renewed_with(data):
                found.pop(step, None)
    return found


def kept_by(data: Json) -> Iterable[int]:
    """The steps that the event of a rewind keeps."""
    keep = data.get("keep") if isinstance(data, dict) else None
    return [one for one in (keep if isinstance(keep, list) else ()) if isinstance(one, int)]


def restore_kept(
    state: ExecutionState,
    marks: Sequence[Mark],
    rows: Collection[StepRecord],
    inputs: Mapping[int, Stored],
) -> None:
    """Note what the steps gave that are kept; `inputs` are those of earlier generations."""
    until = kept_until(marks)
    if not until:
        return
    newest: dict[int, StepRecord] = {}
    for row in rows:
        known = newest.get(row.step)
        counts = (
            row.item < 0 and row.status == COMPLETED and row.generation <= until.get(row.step, -1)
        )
        if counts and (known is None or row[2:4] > known[2:4]):
            newest[row.step] = row
    for step, row in newest.items():
        state.given[step] = _kept(state, row)
        see_its_input(state, row, inputs)


def _kept(state: ExecutionState, row: StepRecord) -> Kept:
    said = row.result if isinstance(row.result, dict) else {}
    given = said.get(SOURCE)
    # What was itself given what another call gave says which one that was.
    source: dict[str, Json] = {
        "execution": str(state.run.id),
        "step": state.key(row.step),
        **(given if isinstance(given, dict) else {}),
        "generation": called_in(row.result, row.generation),
    }
    facts: dict[str, Json] = {name: said[name] for name in _OF_CALL if name in said}
    return Kept(stored(said.get("output")), facts, source)


def see_its_input(state: ExecutionState, row: StepRecord, inputs: Mapping[int, Stored]) -> None:
    """What undoes a step, or gives its output, sees the input with which that was called."""
    plan, generation = state.program.steps[row.step].plan, called_in(row.result, row.generation)
    if generation in inputs:
        for one in (plan.compensation, plan.fallback):
            if one is not None:
                state.inputs[one] = inputs[generation]


def called_in(result: Json, generation: int) -> int:
    """The generation whose call gave what this row of a generation says: an earlier one, of a step that was kept."""
    said = result.get(SOURCE) if isinstance(result, Mapping) else None
    found = said.get("generation") if isinstance(said, Mapping) else None
    return found if isinstance(found, int) else generation


def give(state: ExecutionState, step: int, out: list[Command]) -> None:
    """Its turn has come: it ends with what it gave."""
    kept = state.given.pop(step)
    state.attempt[step] += 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    state.outputs[step] = kept.output
    value = kept.output.as_json() if isinstance(kept.output, BlobRef) else kept.output
    more: dict[str, Json] = {SOURCE: kept.source}
    tail = "," + orjson.dumps({**kept.facts, **more}).decode()[1:-1]
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    facts = Facts(WAITED, text, tail, None, more)
    out.append(RecordStep(step, state.attempt[step], StepStatus.COMPLETED, facts=facts))
    out.append(RecordEvent(EventKind.STEP_COMPLETED, about(state, step, facts)))
    complete(state, step, COMPLETED)
