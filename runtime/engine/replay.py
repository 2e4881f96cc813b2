"""State from rows: what a worker does that takes an execution over, wakes it, or retries it.

Any order of the rows gives the same state. Rules: rows of the present generation decide; a step that was
COMPLETED or SKIPPED in an older one, or failed as its `on_error` provides for, still counts (and the output that this
gave it), unless a retry
since then said `from_failed_step: false`;
an attempt without a row never happened, so its step runs again under the same attempt number, and so does
one whose intent was taken back; one that the engine stopped (its row says `stopped`) runs again and does not
count, one that called itself cancelled has failed; any other open row (an at-most-once call was about to be
made) leaves its step in doubt. A wait that its events have begun goes on from then; signals that no row has
taken are still there. What ends the execution is the cancel or the deadline that its events tell of, else the
failure that is not `late`: a step that fails while the others are stopped is no cause. What was undone in an older
generation, and what rests on it, counts no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runtime.engine.ending import complete, ending_by, fail
from runtime.engine.event import Event, Facts, RetryDue, StepError, StepInDoubt, TimerDue
from runtime.engine.fan import Place
from runtime.engine.keeping import restore_kept, see_its_input
from runtime.engine.marks import (
    begun_waits,
    is_paused,
    kept_joins,
    kept_signals,
    opened_maps,
    opened_tasks,
    started_children,
)
from runtime.engine.program import Program
from runtime.engine.records import cause_of, doubt_of, made_no_call, was_put_off
from runtime.engine.replay_items import ItemRecords, restore_maps
from runtime.engine.rewinding import earlier_inputs
from runtime.engine.routes import recover, restore_seen
from runtime.engine.state import (
    COMPLETED,
    IN_DOUBT,
    PENDING,
    RETRYING,
    RUNNING,
    SKIPPED,
    WAITING,
    ExecutionState,
    Phase,
    RunInfo,
)
from runtime.engine.undoing import renewed_by, undoing_of
from runtime.engine.waiting import keep, listen
from runtime.model.blob import stored
from runtime.model.checkpoint import Mark, StepRecord, since_retry
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.values import Json

_ENDED_WELL = frozenset({COMPLETED, SKIPPED})
_STOPS = frozenset({EventKind.EXECUTION_CANCEL_REQUESTED, EventKind.EXECUTION_DEADLINE_REACHED})


@dataclass(frozen=True, slots=True)
class Due:
    """An event that follows from the rows, and in how many seconds it is due."""

    event: Event
    in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A state, and what has to be told to it (doubts at once, retries and timers when they are due).

    `waiting` says of steps that wait, and of open maps, how many seconds ago they began.
    """

    state: ExecutionState
    due: tuple[Due, ...] = ()
    waiting: Mapping[int, float] = field(default_factory=dict)


def rebuild(
    program: Program,
    run: RunInfo,
    rows: Collection[StepRecord],
    retries: Sequence[Json] = (),
    *,
    is_begun: bool = True,
    marks: Sequence[Mark] = (),
    now: datetime | None = None,
) -> Rebuilt:
    """The state that these rows and marks leave; not `is_begun`, it waits for Started."""
    state = ExecutionState(program, run)
    stops = (mark for mark in since_retry(marks) if mark.kind in _STOPS)
    undoing = undoing_of(marks)
    state.ending = undoing.ending if undoing else next((ending_by(mark) for mark in stops), None)
    first, renewed = _first_generation(retries), renewed_by(marks)
    count = len(state.pending)
    newest: dict[int, StepRecord] = {}
    taken: set[int] = set()
    tried: list[StepRecord] = []
    items: list[StepRecord] = []
    for row in _counted(rows, items):
        if row.generation == run.generation:
            tried.append(row)
        kept = row.generation == run.generation or (
            first <= row.generation < run.generation
            and (row.step < count or program.steps[row.step].plan.undoes is None)
            and _still_counts(row)
        )
        known, counts = newest.get(row.step), kept and renewed.leaves(row.step, row.generation)
        if counts and (known is None or _order(row) > _order(known)):
            newest[row.step] = row
        if kept and marks and isinstance(row.result, dict):
            number = row.result.get("signal")
            taken.update([number] if isinstance(number, int) else ())
    _count_free(state, tried)
    due: list[Due] = []
    state.is_paused = is_paused(marks)
    inputs = earlier_inputs(marks)
    restore_kept(state, marks, rows, inputs)
    # What stands for a step that has failed comes after that, whatever the clocks say.
    for row in sorted(newest.values(), key=lambda one: (one.step >= count, *cause_of(one))):
        _restore(state, row, due)
        see_its_input(state, row, inputs)
    for signal in kept_signals(marks, taken):
        keep(state, signal)
    for joined in kept_joins(marks, renewed.before):
        restore_seen(state, joined)
    waiting = _restore_waits(state, marks, now, due)
    due, begun = _restore_children(state, marks, due)
    waiting |= begun
    waiting |= _restore_tasks(state, marks)
    opened = opened_maps(marks)
    if items or opened:
        left = [row for row in items if renewed.leaves(row.step, row.generation)]
        told = restore_maps(state, ItemRecords.of(left, first, run.generation), opened)
        due += [Due(*one) for one in told]
        waiting |= {step: opened[step].ago for step in state.fans}
    if undoing is not None:
        state.phase = Phase.UNDOING
        state.undoing.extend(undoing.steps)
        state.completed[:] = reversed(undoing.steps)
        state.renewed.update(renewed.now)
    elif state.ending is not None:
        state.phase = Phase.STOPPING
    elif is_begun:
        state.phase = Phase.GOING
    return Rebuilt(state, tuple(due), waiting)


def is_in_doubt_by_rows(state: ExecutionState, place: Place, attempt: int) -> bool:
    """Whether only the rows say that this attempt is in doubt: they have its intent and no end, and nobody was told."""
    doubt = state.doubts.get(place)
    if doubt is None or doubt.is_told:
        return False
    if isinstance(place, int):
        return state.attempt[place] == attempt
    step, item = place
    return state.fans[step].live[item].attempt == attempt


def known_by_its_maker(state: ExecutionState, place: Place) -> Facts:
    """Who made the call that is in doubt by its rows knows its end: it is under way until that is told.

    What its row says of it, for the row of its end.
    """
    doubt = state.doubts.pop(place)
    if isinstance(place, int):
        state.status[place] = RUNNING
    else:
        step, item = place
        state.fans[step].live[item].status = StepStatus.RUNNING
    return doubt.facts


def _counted(rows: Iterable[StepRecord], items: list[StepRecord]) -> Iterator[StepRecord]:
    """The rows of steps; those of items are put aside, and what was withdrawn never happened."""
    for row in rows:
        if row.is_withdrawn:
            continue
        if row.item == -1:
            yield row
        else:
            items.append(row)


def _count_free(state: ExecutionState, rows: Sequence[StepRecord]) -> None:
    """The attempts of this generation that made no call; of those put off, the ones since the last call."""
    called: dict[int, int] = {}
    for row in rows:
        if made_no_call(row):
            state.free[row.step] = state.free.get(row.step, 0) + 1
        elif not row.is_open:
            called[row.step] = max(row.attempt, called.get(row.step, 0))
    for row in rows:
        if was_put_off(row) and row.attempt > called.get(row.step, 0):
            state.deferred[row.step] = state.deferred.get(row.step, 0) + 1


def _restore_waits(
    state: ExecutionState, marks: Sequence[Mark], now: datetime | None, due: list[Due]
) -> dict[int, float]:
    """Steps that wait, since when, and when their time comes."""
    waiting: dict[int, float] = {}
    for wait in begun_waits(marks):
        step = wait.step
        if state.status[step] != PENDING or state.attempt[step] >= wait.attempt:
            continue
        state.status[step], state.attempt[step] = WAITING, wait.attempt
        state.busy += 1
        waiting[step] = wait.ago
        if wait.signal is not None:
            listen(state, step, wait.signal)
        remaining = wait.remaining(now)
        if remaining is not None:
            due.append(Due(TimerDue(step, wait.attempt), remaining))
    return waiting


def _restore_children(
    state: ExecutionState, marks: Sequence[Mark], due: list[Due]
) -> tuple[list[Due], dict[int, float]]:
    """Steps whose child has not ended as far as rows tell; what was due of them is over. And since when they wait."""
    waiting: dict[int, float] = {}
    for step, started in started_children(marks).items():
        if state.attempt[step] >= started.attempt:
            continue
        state.busy += state.status[step] != RETRYING
        state.status[step], state.attempt[step] = WAITING, started.attempt
        state.children[step] = started.child
        waiting[step] = started.ago
    if waiting:
        due = [one for one in due if getattr(one.event, "step", None) not in waiting]
    return due, waiting


def _restore_tasks(state: ExecutionState, marks: Sequence[Mark]) -> dict[int, float]:
    """Steps whose task has no end as far as rows tell, and since when they wait. What ends waits for no answer."""
    waiting: dict[int, float] = {}
    for step, opened in opened_tasks(marks).items():
        if state.status[step] != PENDING or state.attempt[step] >= opened.attempt:
            continue
        state.busy += 1
        state.status[step], state.attempt[step] = WAITING, opened.attempt
        if state.ending is None:
            state.tasks[step] = opened.task
        waiting[step] = opened.ago
    return waiting


def _first_generation(retries: Sequence[Json]) -> int:
    """The oldest generation whose completed steps still count. The n-th retry began generation n."""
    for generation in range(len(retries), 0, -1):
        data = retries[generation - 1]
        if isinstance(data, dict) and data.get("from_failed_step") is False:
            return generation
    return 0


def _order(row: StepRecord) -> tuple[int, int]:
    return row.generation, row.attempt


def _restore(state: ExecutionState, row: StepRecord, due: list[Due]) -> None:
    step = row.step
    result = row.result if isinstance(row.result, dict) else {}
    state.attempt[step] = row.attempt
    if row.is_open:
        _hold(state, step, IN_DOUBT)
        state.doubts[step] = doubt_of(state, row)
        due.append(Due(StepInDoubt(step, row.attempt, row.item)))
    elif row.status in _ENDED_WELL:
        if row.status == COMPLETED:
            state.outputs[step] = stored(result.get("output"))
            if state.program.steps[step].cases:
                state.gates[step] = result.get("output")
        complete(state, step, row.status)
    elif _is_handled(row):
        recover(state, step, StepStatus(row.status), StepError.of_json(result.get("error")))
    elif made_no_call(row) and "retry_in_ms" not in result:
        state.status[step] = PENDING
    else:
        _restore_failure(state, row, result, due)


def _is_handled(row: StepRecord) -> bool:
    """Whether this failure was provided for by `on_error`."""
    return isinstance(row.result, dict) and row.result.get("handled") is True


def _still_counts(row: StepRecord) -> bool:
    return row.status in _ENDED_WELL or _is_handled(row)


def _restore_failure(
    state: ExecutionState, row: StepRecord, result: dict[str, Json], due: list[Due]
) -> None:
    error = StepError.of_json(result.get("error"))
    delay = result.get("retry_in_ms")
    if isinstance(delay, int):
        state.errors[row.step] = error
        state.status[row.step] = RETRYING
        state.busy += 1
        remaining = max(0.0, delay / 1000 - row.ended_ago)
        due.append(Due(RetryDue(row.step, row.attempt, row.item), remaining))
        return
    fail(state, row.step, StepStatus(row.status), error)


def _hold(state: ExecutionState, step: int, status: int) -> None:
    """The step's end is still awaited: it keeps its place, and the execution can't close before."""
    state.status[step] = status
    state.running += 1
    state.busy += 1
