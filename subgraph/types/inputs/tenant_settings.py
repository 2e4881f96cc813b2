"""What is set for a tenant or one of its workflows."""

import strawberry

from runtime.model import tenant_settings as model
from subgraph.types.status import SettingName


@strawberry.input(
    description="What is set for the caller's tenant, or for one of its workflows; what is left out stays."
)
class UpdateTenantSettingsInput:
    """What is set."""

    workflow_id: strawberry.ID | None = strawberry.field(
        default=None, description="Of this workflow; left out: of the tenant."
    )
    max_running: int | None = strawberry.field(
        default=None, description="How many executions may run at once; 1 to 1,000,000."
    )
    max_queued: int | None = strawberry.field(
        default=None,
        description="Of a tenant: how many executions may wait before no more are taken; 1 to 1,000,000,000.",
    )
    dispatch_weight: int | None = strawberry.field(
        default=None,
        description="Of a tenant: how many executions it has in each round of all tenants; 1 to 100.",
    )
    retention_days: int | None = strawberry.field(
        default=None,
        description="How many days executions are kept after their end; 1 to 36,500. A smaller number deletes "
        "what is older.",
    )
    unset: list[SettingName] | None = strawberry.field(
        default=None, description="These are taken away: what holds without them holds again."
    )
    reason: str | None = strawberry.field(
        default=None, description="Why; stands on the event. At most 2,000 characters."
    )

    def values(self) -> dict[model.SettingName, int]:
        """What is set, by its name."""
        given = {name: getattr(self, name.value) for name in model.SettingName}
        return {name: value for name, value in given.items() if value is not None}
