"""What an operator has set for a tenant or one of its workflows."""

from collections.abc import Awaitable
from typing import Self

import strawberry

from resolvers.ids import WorkflowId
from runtime.model import tenant_settings as model
from subgraph.directives import access
from subgraph.types.user_error import UserError, attempt, refused


@strawberry.type(
    description="What an operator has set for the tenant, or for one of its workflows; null is what holds where "
    "nothing is set."
)
class TenantSettings:
    """What an operator has set."""

    workflow_id: strawberry.ID | None = strawberry.field(
        description="The workflow that these are of; null for those of the tenant."
    )
    max_running: int | None = strawberry.field(
        description="How many executions may run at once; null: as many as there is room for."
    )
    max_queued: int | None = strawberry.field(
        description="Of a tenant: how many executions may wait before no more are taken; null: without a bound."
    )
    dispatch_weight: int | None = strawberry.field(
        description="Of a tenant: how many executions it has in each round of all tenants; null: one."
    )
    retention_days: int | None = strawberry.field(
        description="How many days executions are kept after their end; null: as the tenant, or the installation, says."
    )

    @classmethod
    def of(cls, found: model.TenantSettings) -> Self:
        """From its record."""
        workflow = found.workflow_id
        return cls(
            workflow_id=strawberry.ID(str(WorkflowId(workflow))) if workflow else None,
            max_running=found.max_running,
            max_queued=found.max_queued,
            dispatch_weight=found.dispatch_weight,
            retention_days=found.retention_days,
        )


@strawberry.type(description="What became of a change of settings.")
class TenantSettingsPayload:
    """What became of a change of settings."""

    settings: TenantSettings | None = strawberry.field(
        description="All of them after the change; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("TenantSettingsPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.TenantSettings]) -> Self:
        """Do the work and say what became of it."""
        found, error = await attempt(work)
        return cls(
            settings=TenantSettings.of(found) if found else None,
            errors=refused(error) if error else [],
        )
