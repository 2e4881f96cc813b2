"""What a retry and a rewind say, and what is refused: the same for them and for their previews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from runtime.engine.rewinding import rewound_to
from runtime.model.errors import InvalidState, MaestroError, NotFound
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.identity import Principal
from runtime.model.plan import Plan
from runtime.model.values import Json
from runtime.services.family import child_in_the_way
from runtime.services.watch import unknown
from runtime.store.execution import RETRYABLE, REWINDABLE
from runtime.store.workflow import actor_json


class Wishes(NamedTuple):
    """What else a rewind is to do: give another `input` (None: it stays), `keep` these steps as they ended."""

    input: Json = None
    keep: tuple[str, ...] = ()

    @property
    def body(self) -> list[Json]:
        """What of a request they are, for its idempotency key."""
        keep: list[Json] = [*sorted(self.keep)]
        kept: list[Json] = [{"keep": keep}] if keep else []
        return kept if self.input is None else [*kept, self.input]


NO_WISHES = Wishes()


class Beginning(NamedTuple):
    """One way in which the next generation begins: its event, and the statuses that it takes."""

    kind: EventKind
    operation: str
    statuses: Sequence[ExecutionStatus]

    def refusal(
        self, id: UUID, status: ExecutionStatus | None, child: UUID | None = None
    ) -> MaestroError:
        """Why an execution in this state does not begin again; None: there is none. `child` has not ended."""
        is_rewind = self.kind is EventKind.EXECUTION_REWOUND
        if status in self.statuses:
            return child_in_the_way(id, child, deed="rewound" if is_rewind else "retried")
        return not_rewindable(id, status) if is_rewind else not_retryable(id, status)


RETRY = Beginning(EventKind.EXECUTION_RETRIED, "retry_execution", RETRYABLE)
REWIND = Beginning(EventKind.EXECUTION_REWOUND, "rewind_execution", REWINDABLE)


def told_by_retry(who: Principal, reason: str | None, *, from_failed_step: bool) -> dict[str, Json]:
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


def told_by_rewind(
    who: Principal, plan: Plan, step_key: str, reason: str | None
) -> dict[str, Json]:
    """What the event EXECUTION_REWOUND says: who began the next generation, why, and which steps run again.

    Raises NotFound when the version has no such step.
    """
    for step in plan.steps:
        if step.key == step_key:
            return {
                "actor": actor_json(who.actor),
                "reason": reason,
                **rewound_to(plan, step.index),
            }
    raise NotFound(
        f"Its version has no step {step_key[:64]!r}; `steps` of its definition says which there are.",
        reason="STEP_NOT_FOUND",
        path=("stepKey",),
    )


def not_rewindable(id: UUID, status: ExecutionStatus | None) -> MaestroError:
    """Why an execution in this state is not rewound; None: there is none."""
    if status is None:
        return unknown(id)
    word = status.name.lower().replace("_", " ")
    return InvalidState(
        f"The execution {id} is {word}; only what completed, failed, was cancelled or timed out can be rewound: "
        "cancel what runs first, and redrive a dead letter.",
        reason="NOT_REWINDABLE",
    )
