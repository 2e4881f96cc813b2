"""ExecutionUpdate: what a subscription to a list of executions tells."""

from typing import Self

import strawberry

from runtime.model import execution as model
from runtime.model.change import Change
from subgraph.compiled.declare import record_field
from subgraph.types.execution import Execution
from subgraph.types.status import UpdateKind


@strawberry.type(description="The newest state of one execution of a list that is watched.")
class ExecutionUpdate:
    """The newest state of one execution."""

    record: strawberry.Private[Change[model.Execution]]
    kind: UpdateKind = record_field(
        description="`CREATED` and `UPDATED`: it is in the list, new to those who watch it or not. `REMOVED`: it is "
        "not any more, whether or not this stream has shown it."
    )
    cursor: str = record_field(
        description="Where to go on after this update, for `after`; kept for two minutes."
    )

    @strawberry.field(description="The execution as it is now.")
    def execution(self) -> Execution:
        """The execution as it is now."""
        return Execution.of(self.record.record)

    @classmethod
    def of(cls, change: Change[model.Execution]) -> Self:
        """From its record."""
        return cls(record=change)
