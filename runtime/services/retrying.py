"""What a retry says, and what is refused: the same for the retry and for its preview."""

from __future__ import annotations

from uuid import UUID

from runtime.model.errors import InvalidState, MaestroError
from runtime.model.execution import ExecutionStatus
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.services.watch import unknown
from runtime.store.workflow import actor_json


def told_by_retry(who: Principal, reason: str | None, *, from_failed_step: bool) -> Json:
    """What the event EXECUTION_RETRIED says: who began the next generation, why, and whether ends are kept."""
    return {
        "actor": actor_json(who.actor),
        "reason": reason,
        "from_failed_step": from_failed_step,
    }


def not_retryable(id: UUID, status: ExecutionStatus | None) -> MaestroError:
    """Why an execution in this state is not retried; None: there is none."""
    if status is None:
        return unknown(id)
    word = status.name.lower().replace("_", " ")
    return InvalidState(
        f"The execution {id} is {word}; only what failed, was cancelled or timed out can be retried, "
        "and a dead letter is redriven.",
        reason="NOT_RETRYABLE",
    )
