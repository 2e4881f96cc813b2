"""Actor: who did something."""

from typing import Self

import strawberry

from runtime.model import identity as model
from subgraph.types.status import ActorKind


@strawberry.type(description="Who did something.")
class Actor:
    """Who did something."""

    subject: str = strawberry.field(description="The `sub` of the token, or `system`.")
    display_name: str | None = strawberry.field(description="A name for people, when one is known.")
    kind: ActorKind = strawberry.field(description="What kind of being acted.")

    @classmethod
    def of(cls, actor: model.Actor) -> Self:
        """From its record."""
        return cls(subject=actor.subject, display_name=actor.display_name, kind=actor.kind)
