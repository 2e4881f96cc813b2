"""Context: who asks, the doors to the services, and this request's batches. Made once per request by the face."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import strawberry

from resolvers.dataloaders import Loaders
from resolvers.room import Room
from runtime.model.identity import Principal
from runtime.services.artifact import ArtifactService
from runtime.services.breaker import BreakerService
from runtime.services.bulk import BulkService
from runtime.services.dead_letter import DeadLetterService
from runtime.services.doubt import DoubtService
from runtime.services.event_handler import EventHandlerService
from runtime.services.execution import ExecutionService
from runtime.services.execution_migration import ExecutionMigrationService
from runtime.services.execution_stats import ExecutionStatsService
from runtime.services.generation_preview import GenerationPreviewService
from runtime.services.human_task import HumanTaskService
from runtime.services.replay import ReplayService
from runtime.services.simulation import SimulationService
from runtime.services.tenant_settings import TenantSettingsService
from runtime.services.workflow import WorkflowService


@dataclass(slots=True)
class Resume:
    """Where a stream that carries its own place goes on.

    `after` is the last cursor that its client says it has seen, `at` that of what was given to it last.
    """

    after: str | None = None
    at: str | None = None


# Nobody changes it; a frozen one takes twice as long to make, once per request.
@dataclass(slots=True, kw_only=True, eq=False)
class Context:
    """One request's view of the engine, already narrowed to one caller and one tenant."""

    who: Principal
    workflows: WorkflowService
    executions: ExecutionService
    stats: ExecutionStatsService
    artifacts: ArtifactService
    dead_letters: DeadLetterService
    doubts: DoubtService
    breakers: BreakerService
    simulations: SimulationService
    replays: ReplayService
    previews: GenerationPreviewService
    migrations: ExecutionMigrationService
    handlers: EventHandlerService
    bulk: BulkService
    tenant_settings: TenantSettingsService
    human_tasks: HumanTaskService
    loaders: Loaders
    resume: Resume = field(default_factory=Resume)
    # Bytes of large values; and cost, of which the operation's estimate is taken from the beginning.
    answer_room: Room = field(default_factory=Room)
    cost_room: Room = field(default_factory=Room)
    # What one item more of a list costs, by the nodes of its field.
    item_cost: Callable[[Iterable[Any]], int] = lambda _nodes: 1


Info: TypeAlias = strawberry.Info[Context, None]
