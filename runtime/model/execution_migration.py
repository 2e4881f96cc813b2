"""MigrationPreview: whether an execution that has not ended could go on with another version of its workflow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID


class MigrationVerdict(StrEnum):
    """What becomes of an execution: closed.

    SAFE: all that has begun is the same in the other version. NEEDS_MAPPING: a step that has begun has no namesake
    there. IMPOSSIBLE: what is recorded of it would mean something else.
    """

    SAFE = "safe"
    NEEDS_MAPPING = "needs_mapping"
    IMPOSSIBLE = "impossible"


class MigrationObstacle(StrEnum):
    """Why an execution can't go on with the other version: closed, stable."""

    STEP_MISSING = "step_missing"
    STEP_MOVED = "step_moved"
    STEP_KIND = "step_kind"
    STEP_CALL = "step_call"
    STEP_INPUT = "step_input"
    STEP_CONDITION = "step_condition"
    STEP_DEPENDENCIES = "step_dependencies"
    STEP_ROUTES = "step_routes"
    STEP_READS_VERSION = "step_reads_version"
    CONCURRENCY = "concurrency"
    INPUT = "input"
    ENDING = "ending"
    CHILD = "child"
    STATE = "state"


# Of these a name for the step would help; all others no name can.
_NAMED: Final = frozenset({MigrationObstacle.STEP_MISSING})


@dataclass(frozen=True, slots=True)
class MigrationFinding:
    """One obstacle, in one sentence; `step_key` is the step of the present version that it is about."""

    obstacle: MigrationObstacle
    message: str
    step_key: str | None = None


@dataclass(frozen=True, slots=True)
class MigrationPreview:
    """One execution, and what stands in its way; nothing does when it is safe."""

    execution_id: UUID
    findings: tuple[MigrationFinding, ...] = ()

    @property
    def verdict(self) -> MigrationVerdict:
        """What follows from the findings."""
        if not self.findings:
            return MigrationVerdict.SAFE
        if all(finding.obstacle in _NAMED for finding in self.findings):
            return MigrationVerdict.NEEDS_MAPPING
        return MigrationVerdict.IMPOSSIBLE
