"""Changes of workflows: create, update, publish, and the end of versions and workflows."""

from __future__ import annotations

from uuid import UUID

from resolvers.context import Context
from resolvers.ids import workflow_uuid
from resolvers.words import reason_of, storable
from runtime.model.errors import NotFound
from runtime.model.values import Digest, SemVer
from runtime.model.workflow import DefinitionFormat, Workflow, WorkflowChange
from runtime.model.workflow_diff import VersionBump
from runtime.services.publishing import Number


async def create_workflow(
    context: Context,
    *,
    name: str,
    source: str,
    format: DefinitionFormat | None,
    display_name: str | None,
    description: str | None,
    labels: dict[str, str],
    namespace: str | None,
    idempotency_key: str | None,
) -> WorkflowChange:
    """A new workflow with a draft."""
    return await context.workflows.create(
        context.who,
        name=storable("name", name),
        source=source,
        format=format,
        display_name=storable("displayName", display_name),
        description=storable("description", description),
        labels=labels,
        namespace=storable("namespace", namespace),
        idempotency_key=idempotency_key,
    )


async def update_workflow(
    context: Context,
    *,
    id: str,
    source: str | None,
    format: DefinitionFormat | None,
    display_name: str | None,
    description: str | None,
    labels: dict[str, str] | None,
    expected_digest: Digest | None,
) -> WorkflowChange:
    """Change what is given; the rest stays."""
    return await context.workflows.update(
        context.who,
        _key(id),
        source=source,
        format=format,
        display_name=storable("displayName", display_name),
        description=storable("description", description),
        labels=labels,
        expected_digest=expected_digest,
    )


async def publish_workflow(
    context: Context,
    *,
    id: str,
    version: SemVer | None,
    bump: VersionBump | None,
    allow_smaller: bool,
    expected_digest: Digest | None,
    changelog: str | None,
    idempotency_key: str | None,
) -> WorkflowChange:
    """Make the draft an immutable version."""
    return await context.workflows.publish(
        context.who,
        _key(id),
        number=Number(version, bump, may_be_smaller=allow_smaller),
        expected_digest=expected_digest,
        changelog=storable("changelog", changelog),
        idempotency_key=idempotency_key,
    )


async def deprecate_version(
    context: Context, *, id: str, version: SemVer, reason: str | None
) -> WorkflowChange:
    """New executions take the version only when they name it."""
    return await context.workflows.deprecate(context.who, _key(id), version, reason_of(reason))


async def archive_version(
    context: Context, *, id: str, version: SemVer, reason: str | None
) -> WorkflowChange:
    """The version starts no executions any more."""
    return await context.workflows.archive_version(
        context.who, _key(id), version, reason_of(reason)
    )


async def archive_workflow(context: Context, *, id: str, reason: str | None) -> WorkflowChange:
    """The workflow is changed, published and started no more."""
    return await context.workflows.archive(context.who, _key(id), reason_of(reason))


async def delete_workflow(context: Context, *, id: str, reason: str | None) -> Workflow:
    """A draft that was never published is gone."""
    return await context.workflows.delete(context.who, _key(id), reason_of(reason))


def _key(id: str) -> UUID:
    key = workflow_uuid(id)
    if key is None:
        raise NotFound(
            f"There is no workflow {id[:64]!r}.", reason="WORKFLOW_NOT_FOUND", path=("workflowId",)
        )
    return key
