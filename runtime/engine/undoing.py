"""Saga compensation: what steps have done is undone, the newest end first, before an execution ends badly.

It begins when nothing runs any more, with an event that names the steps in their order: whoever comes next undoes the
same ones in the same order. What undoes a step is a step of its own, behind those of the document: its attempts,
retries, doubts, rows and events are those of any other, one runs after another, and one that fails for good keeps none
of the others from being undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from runtime.engine.about import about
from runtime.engine.command import Command, RecordEvent
from runtime.engine.event import StepError
from runtime.engine.state import (
    COMPLETED,
    PENDING,
    RETRYING,
    RUNNING,
    Ending,
    ExecutionState,
    Phase,
)
from runtime.model.checkpoint import Mark, since_retry
from runtime.model.event import BEGINS_AGAIN, EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus
from runtime.model.values import Json

# So many failures are told with their errors.
MOST_ERRORS: Final = 100
_ENDS: Final = {
    ExecutionStatus.FAILED: EventKind.EXECUTION_FAILED,
    ExecutionStatus.TIMED_OUT: EventKind.EXECUTION_TIMED_OUT,
    ExecutionStatus.CANCELLED: EventKind.EXECUTION_CANCELLED,
}


def begin_undoing(state: ExecutionState, ending: Ending, out: list[Command]) -> bool:
    """Whether something is to be undone before this end: then it is said in which order, and how it ends after that."""
    if not (ending.undoes and state.completed):
        return False
    state.phase = Phase.UNDOING
    state.undoing.extend(reversed(state.completed))
    data: dict[str, Json] = {
        **ending.data,
        "status": ending.status.name.lower(),
        "steps": [*state.undoing],
        "keys": [state.key(step) for step in state.undoing],
    }
    out.append(RecordEvent(EventKind.EXECUTION_COMPENSATING, data, holds=True))
    return True


def next_to_undo(state: ExecutionState) -> int | None:
    """What undoes the next step, once what undid the one before has ended; None: all have had their turn."""
    while state.undoing:
        compensation = state.program.steps[state.undoing[0]].plan.compensation
        if compensation is not None and not _is_over(state, compensation):
            return compensation
        state.undoing.popleft()
    return None


def _is_over(state: ExecutionState, compensation: int) -> bool:
    """Whether its end is known; one that stays in doubt has ended, too."""
    return state.status[compensation] not in _NOT_OVER and compensation not in state.doubts


def was_undone(state: ExecutionState, step: int) -> dict[str, Json]:
    """What the event of a step that is undone says: also which other ones a retry therefore runs again."""
    by = state.program.steps[step].plan.compensation
    data: dict[str, Json] = {**about(state, step), "by": by}
    behind = state.program.plan.with_fallbacks(_behind(state, step))
    again = [one for one in behind if one not in state.renewed]
    state.renewed.update((step, *again))
    if again:
        data["again"] = [*again]
    return data


def _behind(state: ExecutionState, step: int) -> list[int]:
    """What rests on a step: what is not undone, but says how it could be, is not done a second time."""
    plan, found, todo = state.program.plan, set[int](), [step]
    while todo:
        for one in plan.successors[todo.pop()]:
            compensation = plan.steps[one].compensation
            stays = compensation is not None and state.status[one] == COMPLETED
            if one not in found and one not in state.renewed and not stays:
                found.add(one)
                todo.append(one)
    return sorted(found)


def outcome_of(state: ExecutionState) -> dict[str, Json]:
    """What the event of the end says of it: which steps were undone, which were not, and why the first of these.

    The errors of all are in their rows: thousands, each with what its connector said, are too much for an event.
    """
    undone: list[Json] = []
    failed: list[Json] = []
    for step in reversed(state.completed):
        compensation = state.program.steps[step].plan.compensation
        if compensation is None or state.status[compensation] == COMPLETED:
            undone.append(state.key(step))
        else:
            error = state.errors.get(compensation) if len(failed) < MOST_ERRORS else None
            failed.append(
                {"step": state.key(step), "error": None if error is None else error.as_json()}
            )
    return {"compensation": {"undone": undone, "failed": failed}}


class Undoing(NamedTuple):
    """What was decided when it began to be undone: the order, and how the execution ends after that."""

    steps: tuple[int, ...]
    ending: Ending


def undoing_of(marks: Sequence[Mark]) -> Undoing | None:
    """Whether the present generation is being undone, or was."""
    found = [mark for mark in since_retry(marks) if mark.kind == EventKind.EXECUTION_COMPENSATING]
    if not found or not isinstance(found[0].data, dict):
        return None
    data = dict(found[0].data)
    data.pop("keys", None)
    steps, status = data.pop("steps", None), str(data.pop("status", "failed"))
    numbers = steps if isinstance(steps, list) else ()
    ended = ExecutionStatus[status.upper()]
    return Undoing(
        tuple(one for one in numbers if isinstance(one, int)),
        Ending(ended, _ENDS[ended], data, _error_of(data.get("error"))),
    )


def _error_of(said: Json) -> ExecutionError | None:
    if not isinstance(said, dict):
        return None
    step = said.get("step")
    return StepError.of_json(said).of_execution(step if isinstance(step, str) else None)


class Renewed(NamedTuple):
    """The steps that were undone or rewound, and those that rest on one that was.

    Of those `before` nothing counts up to that generation; those of `now` run again if the present one is retried.
    """

    before: dict[int, int]
    now: set[int]

    def leaves(self, step: int, generation: int) -> bool:
        """Whether what a step did in this generation still counts, as far as what was undone later goes."""
        return generation > self.before.get(step, -1)


def renewed_by(marks: Sequence[Mark]) -> Renewed:
    """What was undone in each generation, and what the next one was told to run again."""
    renewed, generation = Renewed({}, set()), 0
    for mark in marks:
        if mark.kind in BEGINS_AGAIN:
            renewed.now.update(rewound_by(mark.kind, mark.data))
            renewed.before.update(dict.fromkeys(renewed.now, generation))
            renewed.now.clear()
            generation += 1
        elif mark.kind == EventKind.STEP_COMPENSATED and isinstance(mark.data, dict):
            renewed.now.update(renewed_with(mark.data))
    return renewed


def renewed_with(data: Mapping[str, Json]) -> Iterator[int]:
    """The step that such an event tells of, and those that it says run again with it."""
    again = data.get("again")
    for one in (data.get("step"), *(again if isinstance(again, list) else ())):
        if isinstance(one, int):
            yield one


def rewound_by(kind: int, data: Json) -> Iterator[int]:
    """The steps that run again because a rewind names them; none by any other event."""
    if kind == EventKind.EXECUTION_REWOUND and isinstance(data, dict):
        yield from renewed_with(data)


_NOT_OVER: Final = frozenset({PENDING, RUNNING, RETRYING})
