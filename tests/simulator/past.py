"""The past as events tell it, beside the rows as they are: at every commit the two must say the same."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

from runtime.engine.history import ExecutionAt, StepAt, fold
from runtime.engine.program import Program
from runtime.model.blocker import Standing
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import (
    STEP_TRANSITIONS,
    ExecutionStatus,
    StepExecution,
    StepStatus,
    TriggerKind,
    WaitKind,
)
from runtime.model.execution import Execution as Record
from runtime.model.identity import SYSTEM
from runtime.model.values import Money, total
from runtime.services.past import Past, past_of
from runtime.services.step_view import steps_by_rows, steps_of
from runtime.store.execution_record import AttemptRow
from runtime.store.execution_row import error_of
from tests.simulator.blockers import unexplained
from tests.simulator.loop import START
from tests.simulator.rewinds import inputs_of
from tests.simulator.tables import Execution


def differences(e: Execution, program: Program, seen: int = 0) -> list[str]:
    """What the fold of an execution's events says that its rows don't; which new events may not follow."""
    events = _events_of(e)
    at, last = fold(events), len(events)
    found = []
    # What parks with an unread message is queued at once: the message has no event yet.
    is_woken = bool(e.messages) and (at.status, e.status) == (
        ExecutionStatus.WAITING,
        ExecutionStatus.QUEUED,
    )
    if (at.status, at.generation) != (e.status, e.generation) and not is_woken:
        found.append(f"{at.status.name} in generation {at.generation}, not {e.status}")
    if at.status is ExecutionStatus.WAITING and not is_woken and at.wait != e.wait:
        found.append(f"waiting for {at.wait}, not {e.wait}")
    if _words(at.error) != _words(e.error):
        found.append(f"failed with {at.error}, not {e.error}")
    costs = [row["cost"] for _, _, row in e.steps.values() if "cost" in row]
    if at.costs != total(map(Money.parse, costs)):
        found.append(f"paid {at.costs}, not {costs}")
    return (
        found
        + _of_steps(e, program, at, events)
        + [words for number in range(seen + 1, last + 1) for words in _illegal(events, number)]
    )


def _illegal(events: list[ExecutionEvent], last: int) -> list[str]:
    """Steps that the newest event took from one status to another that may not follow it."""
    before, after = fold(events, last - 1), fold(events, last)
    if before.generation != after.generation:
        return []
    return [
        f"step {key[0]} going from {old.status.name} to {step.status.name}"
        for key, step in after.steps.items()
        if (old := before.steps.get(key, _NEW)).status is not step.status
        and step.status not in STEP_TRANSITIONS[old.status]
    ]


def view(e: Execution, program: Program, at: int | None = None) -> list[Any]:
    """The execution and its steps as people see them now, or saw them at an event."""
    events = [event for event in _events_of(e) if _is_of_step(event)]
    stored = Past(_record_of(e), _rows_of(e), events)
    if at is not None:
        stored = past_of(stored, at, max(e.events))
    execution, now = stored.execution, Standing(START)
    steps = steps_of(execution, program, None, "t", stored.rows, stored.events)
    state = (execution.status, execution.wait, execution.generation, execution.error)
    return [state, *((step, step.input, step.blocked(now)) for step in steps)]


def _events_of(e: Execution) -> list[ExecutionEvent]:
    return [
        ExecutionEvent(e.id, e.tenant, number, EventKind(kind), START, data)
        for number, (kind, data) in sorted(e.events.items())
    ]


def _of_steps(
    e: Execution, program: Program, at: ExecutionAt, events: list[ExecutionEvent]
) -> list[str]:
    record, rows = _record_of(e), _rows_of(e)
    statuses = at.step_statuses(program.plan)
    of_steps = [one for one in events if _is_of_step(one)]
    steps = steps_of(record, program, None, "t", rows, of_steps)
    undoes = tuple(step.compensation for step in steps if step.compensation is not None)
    found = unexplained(steps + undoes, of_steps, record.status, START)
    found += _of_undoing(undoes, at)
    found += _of_inputs(e, steps)
    found += _by_rows_alone(record, program, rows, steps)
    for step, status in zip(steps, statuses, strict=True):
        told = at.steps.get((step.index, -1))
        if step.status is not status:
            found.append(f"step {step.index} was {status.name}, not {step.status.name}")
        elif told is not None and status in _ENDED:
            error = None if step.error is None else (step.error.type, step.error.message)
            if (told.attempt, _words(told.error)) != (step.attempt, error):
                found.append(f"step {step.index} ended as {told}, not as {step}")
    return found


def _of_undoing(undoes: tuple[StepExecution, ...], at: ExecutionAt) -> list[str]:
    """What undoes steps is shown as the events tell it; what they do not tell of has not begun."""
    found = []
    for step in undoes:
        told = at.steps.get((step.index, -1), _NEW)
        if told.status is not step.status:
            found.append(f"step {step.key} was {told.status.name}, not {step.status.name}")
    return found


def _of_inputs(e: Execution, steps: tuple[StepExecution, ...]) -> list[str]:
    """Each step is shown with the input of the generation that called it."""
    given = inputs_of(e)
    return [
        f"step {step.index} was shown with {step.input}"
        for step in steps
        if isinstance(step.input, dict)
        and step.input.get("given") not in (None, given[step.generation])
    ]


def _by_rows_alone(
    record: Record, program: Program, rows: list[AttemptRow], steps: tuple[StepExecution, ...]
) -> list[str]:
    """Where the short ways to the steps of what is over, which read no event, say something else."""
    shown = steps_by_rows(record, program, None, "t", rows)
    found = []
    if shown is not None:
        LOOKED_AT["records"] += 1
        found += [
            f"step {step.index} was by its rows {short}, not {step}"
            for short, step in zip(shown, steps, strict=True)
            if (short, short.input, short.blocked(Standing(START)))
            != (step, step.input, step.blocked(Standing(START)))
        ]
    # As the statement `settled` chooses them.
    is_settled = (
        record.ended_at_the_first_go
        and sorted(row.step for row in rows) == list(range(len(program.plan.steps)))
        and all(row.status in _WELL and not row.is_open and not row.generation for row in rows)
    )
    if is_settled:
        LOOKED_AT["tables"] += 1
        found += [
            f"step {row.step} had {row} in its columns, and is {steps[row.step]}"
            for row in rows
            if _columns(row) != _columns_of(steps[row.step])
        ]
    return found


def _columns(row: AttemptRow) -> list[Any]:
    texts = ("worker", "reason", "in", "out", "code", "code_digest")
    return [row.status, row.attempt, row.started_at, row.finished_at, *map(row.result.get, texts)]


def _columns_of(step: StepExecution) -> list[Any]:
    at = [step.status, step.attempt, step.started_at, step.finished_at]
    said = [step.worker_id, step.skip_reason, step.input_hash, step.output_hash]
    return [*at, *said, step.code, step.code_hash]


def _is_of_step(event: ExecutionEvent) -> bool:
    """As the statement leaves those of items out."""
    return event.field("item") in {None, -1}


def _record_of(e: Execution) -> Record:
    return Record(
        e.id, e.tenant, e.workflow, e.version, ExecutionStatus(e.status), "default", e.generation,
        e.priority, START, SYSTEM, TriggerKind.API, input=e.input,
        error=error_of(e.error),
        wait=None if e.wait is None else WaitKind(e.wait),
    )  # fmt: skip


def _rows_of(e: Execution) -> list[AttemptRow]:
    return [
        AttemptRow(
            step, item, generation, attempt, StepStatus(status), START,
            None if ended == inf else START, result,
        )
        for (step, item, generation, attempt), (status, ended, result) in e.steps.items()
        if item < 0
    ]  # fmt: skip


def _words(error: Any) -> tuple[Any, Any] | None:
    return None if error is None else (error.get("type"), error.get("message"))


# How often the short ways were compared with the long one.
LOOKED_AT: Counter[str] = Counter()
_WELL = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_ENDED = frozenset(
    {StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.TIMED_OUT}
)
_NEW = StepAt(StepStatus.PENDING)
