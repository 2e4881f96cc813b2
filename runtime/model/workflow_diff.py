"""What changed between two definitions: steps, fields, what lies outside the steps, and what it means for callers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.model.values import Digest, Json


class VersionBump(StrEnum):
    """Which part of a version's number rises; in order of weight."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


class Compatibility(StrEnum):
    """Whether those who start the workflow and read its outputs notice."""

    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    UNKNOWN = "unknown"


class ChangeKind(StrEnum):
    """What became of a field."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: its path in the canonical definition, what stood there and what stands there now."""

    path: str
    kind: ChangeKind
    before: Json = None
    after: Json = None


@dataclass(frozen=True, slots=True)
class StepHash:
    """A step's config hash on either side; None where there is no such step."""

    key: str
    before: Digest | None
    after: Digest | None


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that both have, with other content."""

    key: str
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class StepMove:
    """A step that stands elsewhere among those that both have; places count from 0."""

    key: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that callers may notice, and how grave it is."""

    rule: str
    message: str
    path: str
    compatibility: Compatibility


@dataclass(frozen=True, slots=True)
class DefinitionDiff:
    """Everything that differs; steps in order of the documents that have them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[StepChange, ...]
    moved: tuple[StepMove, ...]
    metadata: tuple[FieldChange, ...]
    hashes: tuple[StepHash, ...]
    effects: tuple[Effect, ...]
    compatibility: Compatibility
    suggested_bump: VersionBump

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, the number of the version left aside."""
        return not (self.added or self.removed or self.changed or self.moved or self.metadata)

    @property
    def unchanged(self) -> int:
        """How many steps both have with the same content."""
        return sum(one.before == one.after for one in self.hashes)
