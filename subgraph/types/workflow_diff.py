"""WorkflowDiff: what changed from one version to another, and what it means for callers."""

from typing import TYPE_CHECKING, Annotated, Self

import strawberry
from strawberry.scalars import JSON

from resolvers.context import Info
from runtime.model import workflow as model
from runtime.model import workflow_diff as diff_model
from runtime.model.values import Digest
from subgraph.directives import access
from subgraph.faces import show
from subgraph.types.status import ChangeKind, Compatibility, VersionBump
from subgraph.types.step_definition import StepDefinition, steps_of
from subgraph.types.workflow_version import WorkflowVersion

if TYPE_CHECKING:
    from subgraph.types.workflow import Workflow


@strawberry.type(description="One field that differs.")
class FieldChange:
    """One field that differs."""

    path: str = strawberry.field(
        description="Where, in the canonical definition: `with.headers['x-id']`, `retry.max_attempts`."
    )
    kind: ChangeKind = strawberry.field(description="What became of it.")
    before: JSON | None = strawberry.field(description="What stood there; null when it was added.")
    after: JSON | None = strawberry.field(
        description="What stands there now; null when it was removed."
    )

    @classmethod
    def of(cls, change: diff_model.FieldChange) -> Self:
        """From its record."""
        return cls(
            path=change.path,
            kind=change.kind,
            before=JSON(change.before) if change.before is not None else None,
            after=JSON(change.after) if change.after is not None else None,
        )


@strawberry.type(description="A step that both versions have, with other content.")
class StepDiff:
    """A step with other content."""

    key: str = strawberry.field(description="The step's id.")
    before: StepDefinition = strawberry.field(description="The step as it was.")
    after: StepDefinition = strawberry.field(description="The step as it is.")
    changes: list[FieldChange] = strawberry.field(
        description="Its fields that differ.", directives=access("StepDiff.changes")
    )


@strawberry.type(
    description="A step that stands elsewhere; together the fewest that explain the new order, which means "
    "nothing to the engine."
)
class StepMove:
    """A step that stands elsewhere."""

    key: str = strawberry.field(description="The step's id.")
    before: int = strawberry.field(description="Its place before, from 0.")
    after: int = strawberry.field(description="Its place now, from 0.")


@strawberry.type(description="The config hash of one step in both versions.")
class StepHash:
    """The config hash of one step."""

    key: str = strawberry.field(description="The step's id.")
    before: Digest | None = strawberry.field(
        description="Before; null when there was no such step."
    )
    after: Digest | None = strawberry.field(description="Now; null when there is no such step.")


@strawberry.type(description="Something that callers may notice.")
class CompatibilityEffect:
    """Something that callers may notice."""

    rule: str = strawberry.field(
        description="Stable name of the rule, e.g. step-removed, param-required."
    )
    message: str = strawberry.field(description="What happened.")
    path: str = strawberry.field(
        description="To what: `steps.charge`, `params.id`, `outputs.total`."
    )
    compatibility: Compatibility = strawberry.field(description="How grave it is.")


@strawberry.type(
    description="What changed from one version of a workflow to another, the numbers left aside."
)
class WorkflowDiff:
    """What changed from one version to another."""

    record: strawberry.Private[model.WorkflowDiff]
    from_: WorkflowVersion = strawberry.field(name="from", description="The version before.")
    to: WorkflowVersion = strawberry.field(description="The version after, or the draft.")
    compatibility: Compatibility = strawberry.field(description="The gravest of the effects.")
    suggested_bump: VersionBump = strawberry.field(
        description="Which part of the number should rise: major when something breaks, minor when "
        "something is new or can't be judged, patch otherwise."
    )
    unchanged: int = strawberry.field(description="How many steps both have with the same content.")

    @strawberry.field(description="The workflow.")
    async def workflow(
        self, info: Info
    ) -> Annotated["Workflow", strawberry.lazy("subgraph.types.workflow")]:
        """The workflow."""
        key = self.record.before.workflow_id
        workflow: Workflow = show(await info.context.loaders.workflow.load(key))
        return workflow

    @strawberry.field(
        description="What callers may notice.", directives=access("WorkflowDiff.effects")
    )
    def effects(self) -> list[CompatibilityEffect]:
        """What callers may notice."""
        return [
            CompatibilityEffect(
                rule=one.rule,
                message=one.message,
                path=one.path,
                compatibility=one.compatibility,
            )
            for one in self.record.diff.effects
        ]

    @strawberry.field(description="Steps whose id is new.", directives=access("WorkflowDiff.added"))
    async def added(self, info: Info) -> list[StepDefinition]:
        """Steps whose id is new."""
        steps = await _steps(info, self.record.after)
        return [steps[key] for key in self.record.diff.added]

    @strawberry.field(
        description="Steps whose id is gone.", directives=access("WorkflowDiff.removed")
    )
    async def removed(self, info: Info) -> list[StepDefinition]:
        """Steps whose id is gone."""
        steps = await _steps(info, self.record.before)
        return [steps[key] for key in self.record.diff.removed]

    @strawberry.field(
        description="Steps with other content.", directives=access("WorkflowDiff.changed")
    )
    async def changed(self, info: Info) -> list[StepDiff]:
        """Steps with other content."""
        before = await _steps(info, self.record.before)
        after = await _steps(info, self.record.after)
        return [
            StepDiff(
                key=one.key,
                before=before[one.key],
                after=after[one.key],
                changes=[FieldChange.of(change) for change in one.changes],
            )
            for one in self.record.diff.changed
        ]

    @strawberry.field(
        description="Steps that stand elsewhere.", directives=access("WorkflowDiff.moved")
    )
    def moved(self) -> list[StepMove]:
        """Steps that stand elsewhere."""
        return [
            StepMove(key=one.key, before=one.before, after=one.after)
            for one in self.record.diff.moved
        ]

    @strawberry.field(
        description="Changes outside the steps: params, outputs, policy, labels and so on.",
        directives=access("WorkflowDiff.metadata"),
    )
    def metadata(self) -> list[FieldChange]:
        """Changes outside the steps."""
        return [FieldChange.of(change) for change in self.record.diff.metadata]

    @strawberry.field(
        description="The config hashes of all steps.", directives=access("WorkflowDiff.hashes")
    )
    def hashes(self) -> list[StepHash]:
        """The config hashes of all steps."""
        return [
            StepHash(key=one.key, before=one.before, after=one.after)
            for one in self.record.diff.hashes
        ]

    @classmethod
    def of(cls, found: model.WorkflowDiff) -> Self:
        """From its record."""
        return cls(
            record=found,
            from_=WorkflowVersion.of(found.before),
            to=WorkflowVersion.of(found.after),
            compatibility=found.diff.compatibility,
            suggested_bump=found.diff.suggested_bump,
            unchanged=found.diff.unchanged,
        )


async def _steps(info: Info, version: model.WorkflowVersion) -> dict[str, StepDefinition]:
    """The steps of a version by their ids."""
    return {step.key: step for step in steps_of(await info.context.loaders.plan.load(version))}
