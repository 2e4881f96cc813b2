"""What the mutations of dead letters answer."""

from collections.abc import Awaitable
from typing import Self

import strawberry

from runtime.model import dead_letter as model
from subgraph.directives import access
from subgraph.types.dead_letter import DeadLetter
from subgraph.types.user_error import UserError, attempt, refused


@strawberry.type(description="What became of a decision about dead letters.")
class DeadLettersPayload:
    """What became of a decision about dead letters."""

    dead_letters: list[DeadLetter] = strawberry.field(
        description="Those that were meant, as they are now; empty when it was refused.",
        directives=access("DeadLettersPayload.deadLetters"),
    )
    affected: int = strawberry.field(
        description="How many changed; what had been decided the same way before is not among them."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("DeadLettersPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[tuple[list[model.DeadLetter], int]]) -> Self:
        """Do the work and say what became of it."""
        done, error = await attempt(work)
        letters, affected = done or ([], 0)
        return cls(
            dead_letters=[DeadLetter.of(letter) for letter in letters],
            affected=affected,
            errors=refused(error) if error else [],
        )
