"""What a row of an attempt says to a replay, of a step and of an item alike."""

from __future__ import annotations

import json
from typing import Final

from runtime.engine.doubt import Doubt, lost
from runtime.engine.event import StepError
from runtime.engine.state import IN_DOUBT, ExecutionState
from runtime.model.checkpoint import StepRecord
from runtime.model.execution import StepStatus
from runtime.model.values import Json

# Members of a row that tell of the call, whatever became of it.
_FACTS: Final = ("in", "cost", "code", "code_digest", "worker")


def made_no_call(row: StepRecord) -> bool:
    """Whether the engine withdrew, deferred or gave up this attempt: another one follows."""
    result = row.result
    return (
        row.status == int(StepStatus.CANCELLED)
        and isinstance(result, dict)
        and result.get("stopped") is True
    )


def was_put_off(row: StepRecord) -> bool:
    """Whether it made no call, and another attempt is due."""
    return made_no_call(row) and isinstance(row.result, dict) and "retry_in_ms" in row.result


def cause_of(row: StepRecord) -> tuple[bool, float, int, int]:
    """Of several failures the one that began the end comes first."""
    is_late = isinstance(row.result, dict) and row.result.get("late") is True
    return is_late, -row.ended_ago, row.step, row.item


def doubt_of(state: ExecutionState, row: StepRecord) -> Doubt:
    """The doubt that an open row tells of, or leaves."""
    result = row.result if isinstance(row.result, dict) else {}
    is_told = row.status == IN_DOUBT
    error = StepError.of_json(result.get("error")) if is_told else lost(state.key(row.step))
    return Doubt(error, is_told, tail=_tail_of(result))


def _tail_of(result: dict[str, Json]) -> str:
    """What a row says of a call, as it stands in the row."""
    return "".join(f',"{name}":{json.dumps(result[name])}' for name in _FACTS if name in result)
