"""BlobRef: where a large value lies, and how a row says so.

A value of at most INLINE_BYTES stands in its row. A larger one stands in the blob store under its digest, and
the row holds `{"$blob": {"digest": ..., "size": ...}}`. A value of a user that happens to look like that is
stored as a blob whatever its size, so that what looks like a reference in a row is always one of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from runtime.model.errors import MaestroError
from runtime.model.ids import slot_of
from runtime.model.values import Json

INLINE_BYTES: Final = 32_768
# What is larger is not part of an answer of the graph.
SHOWN_BYTES: Final = 1_048_576
MARK: Final = "$blob"


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A large value, by the digest and the length of its JSON text (keys sorted)."""

    digest: str
    size: int

    def as_json(self) -> dict[str, Json]:
        """The form in a row."""
        return {MARK: {"digest": self.digest, "size": self.size}}


Stored: TypeAlias = "Json | BlobRef"


@dataclass(frozen=True, slots=True)
class BlobKey:
    """The address of a blob: nothing is shared between tenants, nor between the shards of one."""

    tenant_id: UUID
    slot: int
    digest: str

    @classmethod
    def of(cls, tenant_id: UUID, execution_id: UUID, digest: str) -> BlobKey:
        """Where an execution's blob lies: its slot is the one in the execution's id."""
        return cls(tenant_id, slot_of(execution_id), digest)

    @property
    def path(self) -> str:
        """The address as a path: `tenant/slot/ab/abcd...`."""
        hexed = self.digest.removeprefix("sha256:")
        return f"{self.tenant_id}/{self.slot:03x}/{hexed[:2]}/{hexed}"


class NotLoaded(MaestroError):
    """This needs a large value that is not in memory yet."""

    def __init__(self, ref: BlobRef) -> None:
        super().__init__()
        self.ref = ref


def stored(value: Any) -> Stored:
    """What a row holds: the value itself, or a reference to it."""
    if type(value) is dict and len(value) == 1 and MARK in value:
        inside = value[MARK]
        if type(inside) is dict and inside.keys() == {"digest", "size"}:
            digest, size = inside["digest"], inside["size"]
            if isinstance(digest, str) and isinstance(size, int):
                return BlobRef(digest, size)
    found: Json = value
    return found


def goes_out(value: Json, size: int, limit: int = INLINE_BYTES) -> bool:
    """Whether a value of this size goes to the blob store."""
    return size > limit or (type(value) is dict and len(value) == 1 and MARK in value)
