"""Inputs about workflows: the filter and order of lists, and one input per mutation."""

import strawberry

from runtime.model import workflow as model
from runtime.model.values import Digest, SemVer
from subgraph.types.inputs.filters import (
    Label,
    SortDirection,
    TimeRange,
    label_pairs,
    listed,
    word,
    words,
)
from subgraph.types.status import (
    DefinitionFormat,
    VersionBump,
    WorkflowOrderField,
    WorkflowStatus,
)


@strawberry.input(description="Which workflows a list shows; what is left out does not restrict.")
class WorkflowFilter:
    """Which workflows a list shows."""

    status: list[WorkflowStatus] | None = strawberry.field(
        default=None, description="In one of these statuses."
    )
    name_contains: str | None = strawberry.field(
        default=None, description="With this text in the name, in any case."
    )
    labels: list[Label] | None = strawberry.field(
        default=None, description="With all of these labels."
    )
    namespace: list[str] | None = strawberry.field(
        default=None, description="In one of these namespaces."
    )
    updated: TimeRange | None = strawberry.field(
        default=None, description="Last changed in this range."
    )

    @staticmethod
    def record(given: "WorkflowFilter | None") -> model.WorkflowFilter:
        """As services take it."""
        if given is None:
            return model.WorkflowFilter()
        updated = given.updated or TimeRange()
        return model.WorkflowFilter(
            status=listed("status", given.status),
            name_contains=word("nameContains", given.name_contains),
            labels=label_pairs(given.labels),
            namespace=words("namespace", given.namespace),
            updated_from=updated.from_,
            updated_to=updated.to,
        )


@strawberry.input(description="Order of a list of workflows.")
class WorkflowOrder:
    """Order of a list of workflows."""

    field: WorkflowOrderField = strawberry.field(
        default=model.WorkflowOrderField.UPDATED_AT, description="What is compared."
    )
    direction: SortDirection = strawberry.field(
        default=SortDirection.DESC, description="Which end comes first."
    )

    @staticmethod
    def record(given: "WorkflowOrder | None") -> model.WorkflowOrder:
        """As services take it; the last changed come first unless asked otherwise."""
        if given is None:
            return model.WorkflowOrder()
        return model.WorkflowOrder(given.field, descending=given.direction is SortDirection.DESC)


@strawberry.input(description="A new workflow, as a draft.")
class CreateWorkflowInput:
    """A new workflow."""

    name: str = strawberry.field(
        description="Unique within the namespace; the document must carry the same or none."
    )
    namespace: str | None = strawberry.field(
        default=None,
        description="The division of the tenant that it lives in; the document's, or `default`.",
    )
    display_name: str | None = strawberry.field(default=None, description="A name for people.")
    description: str | None = strawberry.field(default=None, description="What it is for.")
    source: str = strawberry.field(description="The definition document.")
    format: DefinitionFormat | None = strawberry.field(
        default=None, description="The spelling of the document; seen from it unless given."
    )
    labels: list[Label] | None = strawberry.field(default=None, description="Labels.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and body give the first answer again."
    )


@strawberry.input(description="What changes of a workflow; what is left out stays.")
class UpdateWorkflowInput:
    """What changes of a workflow."""

    workflow_id: strawberry.ID = strawberry.field(description="Which one.")
    source: str | None = strawberry.field(default=None, description="The new draft.")
    format: DefinitionFormat | None = strawberry.field(
        default=None, description="The spelling of the new draft; seen from it unless given."
    )
    display_name: str | None = strawberry.field(default=None, description="A name for people.")
    description: str | None = strawberry.field(default=None, description="What it is for.")
    labels: list[Label] | None = strawberry.field(
        default=None, description="Labels, in place of all present ones."
    )
    expected_digest: Digest | None = strawberry.field(
        default=None, description="Refused with CONFLICT when the draft has another digest."
    )


@strawberry.input(description="Make the draft an immutable version.")
class PublishWorkflowInput:
    """Make the draft an immutable version."""

    workflow_id: strawberry.ID = strawberry.field(description="Which one.")
    version: SemVer | None = strawberry.field(
        default=None,
        description="The version's number; must equal the document's, if that has one.",
    )
    bump: VersionBump | None = strawberry.field(
        default=None,
        description="Instead of a number: which part of the highest release rises. Without both, the one "
        "that the changes since then ask for.",
    )
    allow_smaller: bool = strawberry.field(
        default=False,
        description="Publish although the number tells of less than has changed; refused otherwise with CONFLICT, "
        "reason VERSION_TOO_SMALL.",
    )
    expected_digest: Digest | None = strawberry.field(
        default=None, description="Refused with CONFLICT when the draft has another digest."
    )
    changelog: str | None = strawberry.field(default=None, description="What changed, for people.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and body give the first answer again."
    )


@strawberry.input(description="One published version.")
class WorkflowVersionRefInput:
    """One published version."""

    workflow_id: strawberry.ID = strawberry.field(description="Of which workflow.")
    version: SemVer = strawberry.field(description="Its number.")
    reason: str | None = strawberry.field(
        default=None, description="Why, for people; stands on the event."
    )


@strawberry.input(description="One workflow.")
class WorkflowRefInput:
    """One workflow."""

    workflow_id: strawberry.ID = strawberry.field(description="Which one.")
    reason: str | None = strawberry.field(
        default=None, description="Why, for people; stands on the event."
    )
