"""CircuitBreaker: a target that the workers leave alone for a while."""

from typing import Self

import strawberry

from runtime.model import breaker as model
from runtime.model.values import Duration
from subgraph.types.status import BreakerState


@strawberry.type(
    description="A target of a connector that keeps failing, so it is not called for a while."
)
class CircuitBreaker:
    """A target of a connector that keeps failing."""

    connector: str = strawberry.field(description="The connector and its version.")
    target: str = strawberry.field(description="What it calls, e.g. scheme, host and port.")
    state: BreakerState = strawberry.field(
        description="OPEN, or HALF_OPEN: probes are let through."
    )
    failures: int = strawberry.field(description="After how many failures it opened.")
    next_probe_in: Duration = strawberry.field(description="When it is tried again; 0 s: now.")
    open_for: Duration = strawberry.field(description="Since when it has not been called as usual.")

    @classmethod
    def of(cls, one: model.OpenBreaker) -> Self:
        """From its record."""
        return cls(
            connector=one.key.connector,
            target=one.key.target,
            state=one.state,
            failures=one.failures,
            next_probe_in=Duration(round(max(0.0, one.seconds_left) * 1000)),
            open_for=Duration(round(one.open_for_seconds * 1000)),
        )
