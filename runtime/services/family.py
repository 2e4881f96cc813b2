"""What an execution that has children is not asked for while one of them runs."""

from __future__ import annotations

from uuid import UUID

from runtime.model.errors import InvalidState


def child_in_the_way(id: UUID, child: UUID | None, *, deed: str = "retried") -> InvalidState:
    """Why an execution does not begin again: it would start a second child of the same step (ADR-084)."""
    which = "a child of it" if child is None else f"its child {child}"
    return InvalidState(
        f"The execution {id} is {deed} only when {which} has ended; cancel that one or wait for its end.",
        reason="CHILD_NOT_ENDED",
    )
