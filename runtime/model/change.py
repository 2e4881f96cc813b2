"""Changes: what a subscription to a list tells, the newest state of an object and where to go on after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class UpdateKind(StrEnum):
    """What an object is to those who look at a list: new in it, still in it, or no longer."""

    CREATED = "created"
    UPDATED = "updated"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, eq=False)
class Change(Generic[T]):
    """The newest state of one object. The same one is told to all who watch the same list."""

    kind: UpdateKind
    cursor: str
    record: T
