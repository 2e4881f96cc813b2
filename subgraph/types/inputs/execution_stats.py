"""Inputs of statistics: which executions are counted."""

from typing import Annotated

import strawberry

from runtime.model import execution_stats as model
from runtime.model.values import Duration, SemVer
from subgraph.types.inputs.execution import known_workflow
from subgraph.types.inputs.filters import TimeRange, listed, words

WINDOW = Annotated[
    Duration | None,
    strawberry.argument(
        description="How far back from now, or from the end of `created`: PT1H to P31D. "
        "Not looked at with a `created.from`."
    ),
]
DAY = Duration(86_400_000)


@strawberry.input(
    description="Which executions are counted: by what counters are kept for; what is left out does not restrict."
)
class ExecutionStatsFilter:
    """Which executions are counted."""

    workflow_id: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these workflows."
    )
    workflow_name: list[str] | None = strawberry.field(
        default=None, description="Of a workflow with one of these names."
    )
    version: SemVer | None = strawberry.field(
        default=None, description="Of this version; goes with a workflow."
    )
    namespace: list[str] | None = strawberry.field(
        default=None, description="In one of these namespaces."
    )
    created: TimeRange | None = strawberry.field(
        default=None,
        description="Created in this range, at most 31 days; made larger to full hours.",
    )

    @staticmethod
    def record(
        given: "ExecutionStatsFilter | None",
    ) -> model.StatsFilter:
        """As services take it."""
        if given is None:
            return model.StatsFilter()
        created = given.created or TimeRange()
        return model.StatsFilter(
            workflow_id=tuple(map(known_workflow, listed("workflowId", given.workflow_id))),
            workflow_name=words("workflowName", given.workflow_name),
            version=str(given.version) if given.version else None,
            namespace=words("namespace", given.namespace),
            created_from=created.from_,
            created_to=created.to,
        )
