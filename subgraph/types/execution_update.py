"""ExecutionUpdate: what a subscription to a list of executions tells."""

from typing import Self

import strawberry

from runtime.model import execution as model
from runtime.model.change import Change
from subgraph.types.execution import Execution
from subgraph.types.status import UpdateKind


@strawberry.type(description="The newest state of one execution of a list that is watched.")
class ExecutionUpdate:
    """The newest state of one execution."""

    kind: UpdateKind = strawberry.field(
        description="`CREATED`: this stream shows it for the first time. `UPDATED`: it was shown, and may have "
        "changed. `REMOVED`: it was shown and is not in the list any more."
    )
    cursor: str = strawberry.field(
        description="Where to go on after this update, for `after`; kept for two minutes."
    )
    execution: Execution = strawberry.field(description="The execution as it is now.")

    @classmethod
    def of(cls, change: Change[model.Execution]) -> Self:
        """From its record."""
        return cls(kind=change.kind, cursor=change.cursor, execution=Execution.of(change.record))
