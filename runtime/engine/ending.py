"""How a step ends in the state: what advance() decides and what replay reads from rows changes it alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from heapq import heappush
from types import MappingProxyType
from typing import Final

from runtime.engine.about import EVENT_OF, about, about_item
from runtime.engine.command import (
    CancelTasks,
    Command,
    RecordEvent,
    RecordStep,
    StopStep,
    TellChild,
)
from runtime.engine.event import Facts, StepError
from runtime.engine.routes import follow, lead_on, recover, recovery
from runtime.engine.state import COMPLETED, PENDING, RUNNING, SKIPPED, Ending, ExecutionState, Phase
from runtime.engine.undoing import was_undone
from runtime.model.blob import Stored
from runtime.model.checkpoint import InboxKind, Mark
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus, Verdict
from runtime.model.values import Json

_NO_MORE: Final[Mapping[str, Json]] = MappingProxyType({})


def complete(state: ExecutionState, step: int, status: int) -> None:
    """Mark a step as ended well (COMPLETED or SKIPPED) and release what waited for it: O(out-edges)."""
    state.status[step] = status
    plan = state.program.plan
    if step >= len(plan.steps):
        _complete_behind(state, step)
        return
    if plan.compensations and status == COMPLETED and plan.steps[step].compensation is not None:
        state.completed.append(step)
    state.open_steps -= 1
    if plan.routes is not None and step in plan.routes.followed:
        follow(state, step, plan.routes)
        return
    pending, skipped = state.pending, status == SKIPPED
    for successor in plan.successors[step]:
        state.edge_visits += 1
        pending[successor] -= 1
        if skipped:
            state.skipped_needs[successor] = state.skipped_needs.get(successor, 0) + 1
        if pending[successor] == 0 and state.status[successor] == PENDING:
            heappush(state.ready, successor)


def _complete_behind(state: ExecutionState, step: int) -> None:
    """What undoes a step leads nowhere; the output that stands for one that failed leads on from that."""
    failed = state.program.steps[step].plan.stands_for
    if failed is not None:
        state.outputs[failed] = state.outputs[step]
        lead_on(state, failed)


def end_well(
    state: ExecutionState,
    step: int,
    output: Stored,
    facts: Facts,
    out: list[Command],
    more: Mapping[str, Json] = _NO_MORE,
) -> None:
    """Record the output of a step that held a place."""
    state.busy -= 1
    state.outputs[step] = output
    state.errors.pop(step, None)
    out.append(RecordStep(step, state.attempt[step], StepStatus.COMPLETED, facts=facts))
    out.append(RecordEvent(EventKind.STEP_COMPLETED, {**about(state, step, facts), **more}))
    complete(state, step, COMPLETED)
    undone = state.program.steps[step].plan.undoes
    if undone is not None:
        out.append(RecordEvent(EventKind.STEP_COMPENSATED, was_undone(state, undone)))


def skip(state: ExecutionState, step: int, reason: str, out: list[Command]) -> None:
    """The step does not run; what waits for it goes on."""
    facts = Facts(tail=f',"reason":{json.dumps(reason)}')
    out.append(RecordStep(step, 0, StepStatus.SKIPPED, facts=facts))
    out.append(RecordEvent(EventKind.STEP_SKIPPED, {**about(state, step), "reason": reason}))
    complete(state, step, SKIPPED)


def fail(state: ExecutionState, step: int, status: StepStatus, error: StepError) -> None:
    """Mark a step as ended badly for good: the execution will fail, unless it already ends otherwise.

    Where no output could be given for a step that had failed, the end names that step.
    """
    state.status[step] = int(status)
    state.errors[step] = error
    state.open_steps -= 1
    if state.ending is None:
        state.phase = Phase.STOPPING
        stands_for = state.program.steps[step].plan.stands_for
        key = state.key(step if stands_for is None else stands_for)
        state.ending = Ending(
            ExecutionStatus.FAILED,
            EventKind.EXECUTION_FAILED,
            {"error": {**error.as_json(), "step": key}},
            error.of_execution(key),
        )


def end_badly(
    state: ExecutionState,
    step: int,
    status: StepStatus,
    error: StepError,
    facts: Facts,
    out: list[Command],
    more: Mapping[str, Json] = _NO_MORE,
) -> None:
    """Record the final failure of a step. Unless its `on_error` says how to go on, its siblings are stopped."""
    attempt, first = state.attempt[step], state.ending is None
    goes_on = recovery(state, step, status) if first else None
    is_handled = goes_on is not None
    out.append(
        RecordStep(
            step, attempt, status, error, None, facts, is_late=not first, is_handled=is_handled
        )
    )
    data = {**about(state, step, facts), **more, **(goes_on or {}), "error": error.as_json()}
    out.append(RecordEvent(EVENT_OF[status], data))
    if is_handled:
        recover(state, step, status, error)
        return
    fail(state, step, status, error)
    if first:
        stop_running(state, f"step {state.key(step)!r} failed", out)


def end_item(
    state: ExecutionState,
    step: int,
    item: int,
    status: StepStatus,
    error: StepError,
    facts: Facts,
    out: list[Command],
    more: Mapping[str, Json] = _NO_MORE,
) -> None:
    """Record the final failure of an item. Unless its map collects, the others are stopped and the map ends."""
    fan, plan = state.fans[step], state.program.steps[step].plan.map
    attempt = fan.live[item].attempt
    is_late = state.ending is not None or fan.fault is not None
    fan.end(item, status)
    out.append(RecordStep(step, attempt, status, error, None, facts, item, is_late=is_late))
    data = {**about_item(state, step, item, attempt, facts), **more, "error": error.as_json()}
    out.append(RecordEvent(EVENT_OF[status], data))
    if not is_late and plan is not None and not plan.is_collecting:
        fan.fault = (item, error)
        stop_items(state, step, f"item {item} failed", out)


def stop_items(state: ExecutionState, step: int, reason: str, out: list[Command]) -> None:
    """Tell the running items of a map to end; those that make no call now need not be waited for."""
    fan = state.fans[step]
    fan.again.clear()
    for item, one in tuple(fan.live.items()):
        doubt = state.doubts.get((step, item))
        if one.status == RUNNING:
            out.append(StopStep(step, reason, item))
        elif doubt is None:
            del fan.live[item]
        elif doubt.asks:
            del state.doubts[step, item]
            data: dict[str, Json] = _stopped(reason)
            end_item(state, step, item, StepStatus.IN_DOUBT, doubt.error, doubt.facts, out, data)


def _stopped(reason: str) -> dict[str, Json]:
    """Nobody is asked any more: what was in doubt stays so."""
    return {"verdict": Verdict.UNKNOWN.value, "by": "stop", "reason": reason}


def stop_running(state: ExecutionState, reason: str, out: list[Command]) -> None:
    """Tell the running steps to end; their ends are awaited."""
    if state.running:
        for step, status in enumerate(state.status):
            if status == RUNNING and step not in state.fans:
                out.append(StopStep(step, reason))
    for step in state.fans:
        stop_items(state, step, reason, out)
    if state.children:
        stop_children(state, reason, out)
    if state.tasks:
        # Nobody waits for an answer any more, and none counts.
        state.tasks.clear()
        out.append(CancelTasks(reason))
    for step in [one for one, doubt in state.doubts.items() if doubt.asks and type(one) is int]:
        state.busy -= 1
        doubt = state.doubts.pop(step)
        status = StepStatus.IN_DOUBT
        end_badly(state, step, status, doubt.error, doubt.facts, out, _stopped(reason))


def stop_children(state: ExecutionState, reason: str, out: list[Command]) -> None:
    """Cancel the children; their ends are awaited. Who asked for the end of the parent has asked for theirs.

    Where the parent undoes what it has done, they do so too.
    """
    undoes = state.ending is not None and state.ending.undoes
    said = {} if state.ending is None else state.ending.data
    actor = said.get("actor") or {"subject": str(state.run.id), "kind": "system"}
    for step, child in state.children.items():
        words = f"its parent stops: {reason}"
        out.append(TellChild(step, child.id, InboxKind.CANCEL, actor, words, undoes))


def ending_by(stop: Mark) -> Ending:
    """How an execution ends that something from outside of its steps began to stop."""
    data = stop.data if isinstance(stop.data, dict) else {}
    if stop.kind == EventKind.EXECUTION_CANCEL_REQUESTED:
        undoes = data.get("compensate") is True
        return Ending(ExecutionStatus.CANCELLED, EventKind.EXECUTION_CANCELLED, data, undoes=undoes)
    error = ExecutionError("deadline", "The execution did not end within the time allowed for it.")
    data = {"error": {"type": error.type, "message": error.message}}
    return Ending(ExecutionStatus.TIMED_OUT, EventKind.EXECUTION_TIMED_OUT, data, error)


def without_output(problem: str) -> Ending:
    """How an execution ends whose outputs can't be rendered."""
    error = ExecutionError("expression", f"`outputs` of the workflow: {problem}")
    data: dict[str, Json] = {"error": {"type": error.type, "message": error.message}}
    return Ending(ExecutionStatus.FAILED, EventKind.EXECUTION_FAILED, data, error)


def tries(state: ExecutionState, step: int) -> int:
    """How many attempts of the step count."""
    return state.attempt[step] - state.free.get(step, 0)


def status_of(error: StepError) -> StepStatus:
    """As what an attempt with this error ended."""
    if error.kind is StepErrorKind.TIMEOUT:
        return StepStatus.TIMED_OUT
    return StepStatus.CANCELLED if error.kind is StepErrorKind.CANCELLED else StepStatus.FAILED
