"""Ids as callers write them. They are opaque outside; here is what they are made of.

An execution's id is a bare UUID and what belongs to it starts with it (`runtime.model.ids`); other nouns carry a
prefix that names their kind, so that `node(id:)` knows where to look without asking every table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runtime.model.dead_letter import DeadLetterId
from runtime.model.ids import StepExecutionId

WORKFLOW: Final = "wf_"
VERSION: Final = "wfv_"
BULK: Final = "blk_"
HUMAN_TASK: Final = "task_"
_CANONICAL: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WorkflowId:
    """The id of a workflow."""

    id: UUID

    def __str__(self) -> str:
        return f"{WORKFLOW}{self.id}"


@dataclass(frozen=True, slots=True)
class VersionId:
    """The id of a version of a workflow."""

    id: UUID

    def __str__(self) -> str:
        return f"{VERSION}{self.id}"


@dataclass(frozen=True, slots=True)
class ExecutionId:
    """The id of an execution."""

    id: UUID

    def __str__(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class BulkOperationId:
    """The id of a bulk operation."""

    id: UUID

    def __str__(self) -> str:
        return f"{BULK}{self.id}"


@dataclass(frozen=True, slots=True)
class HumanTaskId:
    """The id of a human task."""

    id: UUID

    def __str__(self) -> str:
        return f"{HUMAN_TASK}{self.id}"


AnyId = (
    WorkflowId
    | VersionId
    | ExecutionId
    | StepExecutionId
    | DeadLetterId
    | BulkOperationId
    | HumanTaskId
)


def parse_id(text: str) -> AnyId | None:
    """What an id names, or None when it is no id of ours."""
    if text.startswith(VERSION):
        found = _uuid(text.removeprefix(VERSION))
        return VersionId(found) if found else None
    if text.startswith(WORKFLOW):
        found = _uuid(text.removeprefix(WORKFLOW))
        return WorkflowId(found) if found else None
    if text.startswith(BULK):
        found = bulk_operation_uuid(text)
        return BulkOperationId(found) if found else None
    if text.startswith(HUMAN_TASK):
        found = human_task_uuid(text)
        return HumanTaskId(found) if found else None
    if "." in text:
        return _step(text) or dead_letter_id(text)
    found = _uuid(text)
    return ExecutionId(found) if found else None


def workflow_uuid(text: str) -> UUID | None:
    """The key of a workflow from its id; a bare UUID is taken too where only a workflow can be meant."""
    return _uuid(text.removeprefix(WORKFLOW))


def version_uuid(text: str) -> UUID | None:
    """The key of a version from its id, with or without the prefix."""
    return _uuid(text.removeprefix(VERSION))


def execution_uuid(text: str) -> UUID | None:
    """The key of an execution from its id."""
    return _uuid(text)


def bulk_operation_uuid(text: str) -> UUID | None:
    """The key of a bulk operation from its id, which is also its preview's token."""
    return _uuid(text.removeprefix(BULK)) if text.startswith(BULK) else None


def human_task_uuid(text: str) -> UUID | None:
    """The key of a human task from its id."""
    return _uuid(text.removeprefix(HUMAN_TASK)) if text.startswith(HUMAN_TASK) else None


def dead_letter_id(text: str) -> DeadLetterId | None:
    """The key of a dead letter from its id."""
    try:
        return DeadLetterId.parse(text)
    except ValueError:
        return None


def _uuid(text: str) -> UUID | None:
    # The canonical form only: UUID() also takes braces, URNs and hyphens anywhere, which would give one thing many ids.
    return UUID(text) if _CANONICAL.fullmatch(text) else None


def _step(text: str) -> StepExecutionId | None:
    try:
        found = StepExecutionId.parse(text)
    except ValueError:
        return None
    return found if str(found) == text else None
