"""Workflow (a draft that can be edited and a name) and WorkflowVersion (an immutable snapshot)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from uuid import UUID

from runtime.model.errors import Problem
from runtime.model.identity import Actor
from runtime.model.values import Digest, Json, SemVer
from runtime.model.workflow_diff import DefinitionDiff


class WorkflowStatus(IntEnum):
    """As stored. Published: at least one version was published and it is not archived."""

    DRAFT = 0
    PUBLISHED = 1
    ARCHIVED = 2


class VersionState(IntEnum):
    """As stored; DRAFT stands only for the unpublished snapshot shown as `Workflow.draft`."""

    DRAFT = 0
    PUBLISHED = 1
    DEPRECATED = 2
    ARCHIVED = 3


class DefinitionFormat(StrEnum):
    """The spelling a document came in."""

    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A named definition of a tenant.

    `current_version_id` is the highest published one that is not deprecated.
    """

    id: UUID
    tenant_id: UUID
    namespace: str
    name: str
    status: WorkflowStatus
    created_at: datetime
    created_by: Actor
    updated_at: datetime
    display_name: str | None = None
    description: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    region: str | None = None
    current_version_id: UUID | None = None
    draft_digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """What runs: never changed after publication.

    A draft is shown in the same shape with state DRAFT.
    """

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version: SemVer
    state: VersionState
    digest: Digest
    source: str
    source_format: DefinitionFormat
    definition: Json
    published_at: datetime | None = None
    published_by: Actor | None = None
    changelog: str | None = None


@dataclass(frozen=True, slots=True)
class WorkflowDiff:
    """The difference between two versions of a workflow; either may be the draft."""

    before: WorkflowVersion
    after: WorkflowVersion
    diff: DefinitionDiff


@dataclass(frozen=True, slots=True)
class WorkflowChange:
    """What a change of a workflow came to, and what validation found (warnings included)."""

    workflow: Workflow | None
    version: WorkflowVersion | None = None
    findings: tuple[Problem, ...] = ()
    created: bool = True
    diff: WorkflowDiff | None = None


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """Which workflows a list shows; empty fields do not restrict."""

    status: tuple[WorkflowStatus, ...] = ()
    name_contains: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    namespace: tuple[str, ...] = ()
    updated_from: datetime | None = None
    updated_to: datetime | None = None


class WorkflowOrderField(StrEnum):
    """What a list of workflows can be sorted by."""

    NAME = "name"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True)
class WorkflowOrder:
    """Order of a list of workflows."""

    field: WorkflowOrderField = WorkflowOrderField.UPDATED_AT
    descending: bool = True
