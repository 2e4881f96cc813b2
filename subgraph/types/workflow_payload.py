"""What the mutations of workflows answer, and what a validation found."""

from collections.abc import Awaitable
from typing import Self

import strawberry

from resolvers.ids import WorkflowId
from runtime.definition import Validation
from runtime.model import errors
from runtime.model import workflow as model
from runtime.model.values import Digest
from subgraph.directives import access
from subgraph.types.user_error import DefinitionError, UserError, attempt, findings, refused
from subgraph.types.workflow import Workflow
from subgraph.types.workflow_diff import WorkflowDiff
from subgraph.types.workflow_version import WorkflowVersion


@strawberry.type(description="What a validation found, without saving anything.")
class WorkflowValidation:
    """What a validation found."""

    valid: bool = strawberry.field(
        description="Whether it has no error. What this version does not run, what is not installed and "
        "workflows that are not published are warnings here, and refused when publishing."
    )
    findings: list[DefinitionError] = strawberry.field(
        description="Errors and warnings, in order of the document.",
        directives=access("WorkflowValidation.findings"),
    )
    digest: Digest | None = strawberry.field(
        description="Digest of the canonical definition; null when it is not valid."
    )

    @classmethod
    def of(cls, validation: Validation) -> Self:
        """From its record."""
        return cls(
            valid=validation.ok,
            findings=findings(validation.problems),
            digest=validation.digest if validation.ok else None,
        )


@strawberry.type(description="What became of a change of a workflow.")
class WorkflowPayload:
    """What became of a change of a workflow."""

    workflow: Workflow | None = strawberry.field(
        description="The workflow after the change; null when it was refused or deleted."
    )
    deleted_id: strawberry.ID | None = strawberry.field(
        description="The id of a workflow that is gone; null otherwise."
    )
    findings: list[DefinitionError] = strawberry.field(
        description="What validation found in the document, warnings included.",
        directives=access("WorkflowPayload.findings"),
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("WorkflowPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.WorkflowChange]) -> Self:
        """Do the work and say what became of it."""
        change, error = await attempt(work)
        if change is None or error is not None:
            return cls(
                workflow=None, deleted_id=None, findings=found_in(error), errors=refusals(error)
            )
        workflow = Workflow.of(change.workflow) if change.workflow else None
        return cls(
            workflow=workflow, deleted_id=None, findings=findings(change.findings), errors=[]
        )

    @classmethod
    async def deleted(cls, work: Awaitable[model.Workflow]) -> Self:
        """Delete a workflow and say what became of it."""
        gone, error = await attempt(work)
        key = strawberry.ID(str(WorkflowId(gone.id))) if gone else None
        return cls(workflow=None, deleted_id=key, findings=[], errors=refusals(error))


@strawberry.type(description="What became of publishing a workflow, or of a published version.")
class PublishWorkflowPayload:
    """What became of publishing a workflow, or of a published version."""

    workflow: Workflow | None = strawberry.field(
        description="The workflow afterwards; null when it was refused."
    )
    version: WorkflowVersion | None = strawberry.field(
        description="The version; null when it was refused."
    )
    created: bool = strawberry.field(
        description="False when nothing changed: this very definition was published before, the key was known, "
        "or the version was in that state."
    )
    diff: WorkflowDiff | None = strawberry.field(
        description="What changed since the highest release below it; null when there is none, and when "
        "nothing was published."
    )
    findings: list[DefinitionError] = strawberry.field(
        description="What validation found in the document, warnings included.",
        directives=access("PublishWorkflowPayload.findings"),
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("PublishWorkflowPayload.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[model.WorkflowChange]) -> Self:
        """Do the work and say what became of it."""
        change, error = await attempt(work)
        if change is None or error is not None:
            return cls(
                workflow=None,
                version=None,
                created=False,
                diff=None,
                findings=found_in(error),
                errors=refusals(error),
            )
        return cls(
            workflow=Workflow.of(change.workflow) if change.workflow else None,
            version=WorkflowVersion.of(change.version) if change.version else None,
            created=change.created,
            diff=WorkflowDiff.of(change.diff) if change.diff else None,
            findings=findings(change.findings),
            errors=[],
        )


def found_in(error: errors.MaestroError | None) -> list[DefinitionError]:
    """The findings that a refusal carries."""
    return findings(error.problems) if isinstance(error, errors.Invalid) else []


def refusals(error: errors.MaestroError | None) -> list[UserError]:
    """The `errors` of a refusal whose problems lie in a document."""
    return [] if error is None else refused(error, definition=True)
