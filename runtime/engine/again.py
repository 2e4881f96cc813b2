"""The next attempt of a step: what is recorded of the one before, and when it is due."""

from __future__ import annotations

from runtime.engine.about import about
from runtime.engine.command import Command, RecordEvent, RecordStep, ScheduleRetry
from runtime.engine.ending import tries
from runtime.engine.event import Facts, StepError
from runtime.engine.retry import delay_ms
from runtime.engine.state import RETRYING, ExecutionState
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.values import Json


def repeat(
    state: ExecutionState,
    step: int,
    status: StepStatus,
    error: StepError,
    facts: Facts,
    out: list[Command],
) -> None:
    """The attempt has failed and another one follows; in between the step keeps its place."""
    state.deferred.pop(step, None)
    policy = state.program.steps[step].plan.retry
    delay = delay_ms(policy, error, tries(state, step), seed=state.seed(step))
    put_off(state, step, RecordStep(step, state.attempt[step], status, error, delay, facts), out)


def put_off(state: ExecutionState, step: int, record: RecordStep, out: list[Command]) -> None:
    """Record an attempt after which another one is due."""
    error, delay = record.error, record.retry_in_ms or 0
    data: dict[str, Json] = {**about(state, step, record.facts), "delay_ms": delay}
    if error is not None:
        state.errors[step] = error
        data["error"] = error.as_json()
    state.status[step] = RETRYING
    out.append(record)
    out.append(RecordEvent(EventKind.STEP_RETRYING, data))
    out.append(ScheduleRetry(step, record.attempt, delay))
