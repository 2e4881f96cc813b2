"""What validation may know of the place where a document will run; what is None is not known, and not judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.model.values import SemVer


@dataclass(frozen=True, slots=True)
class KnownWorkflow:
    """A workflow that can be called: its published versions, and the names that the newest one calls."""

    versions: tuple[SemVer, ...] = ()
    calls: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Names that exist: secrets, agents, and the workflows that a document calls, directly or not.

    `name` is the workflow that the document is to be saved for.
    """

    secrets: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    workflows: Mapping[str, KnownWorkflow] | None = None
    name: str | None = None


NOTHING_KNOWN = Surroundings()
