"""What events say of steps and of items, alike wherever they are made."""

from __future__ import annotations

from typing import Final

from runtime.engine.event import NO_FACTS, Facts
from runtime.engine.state import ExecutionState
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.values import Json


def about(state: ExecutionState, step: int, facts: Facts = NO_FACTS) -> dict[str, Json]:
    """What every event of a step says; that of an attempt's end also what it cost, when it cost something."""
    said: dict[str, Json] = {
        "step": step,
        "key": state.key(step),
        "item": -1,
        "attempt": state.attempt[step],
    }
    if facts.cost is not None:
        said["cost"] = facts.cost
    if facts.more is not None:
        said.update(facts.more)
    return said


def about_item(
    state: ExecutionState, step: int, item: int, attempt: int, facts: Facts = NO_FACTS
) -> dict[str, Json]:
    """The same of an item of a map."""
    said: dict[str, Json] = {
        "step": step,
        "key": state.key(step),
        "item": item,
        "attempt": attempt,
    }
    if facts.cost is not None:
        said["cost"] = facts.cost
    if facts.more is not None:
        said.update(facts.more)
    return said


EVENT_OF: Final = {
    StepStatus.FAILED: EventKind.STEP_FAILED,
    StepStatus.TIMED_OUT: EventKind.STEP_TIMED_OUT,
    StepStatus.CANCELLED: EventKind.STEP_CANCELLED,
    StepStatus.IN_DOUBT: EventKind.STEP_DOUBT_SETTLED,
}
