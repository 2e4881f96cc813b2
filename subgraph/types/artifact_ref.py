"""ArtifactRef: where a large value is, for whoever wants to download it."""

from typing import Self
from urllib.parse import quote
from uuid import UUID

import strawberry

from runtime.model.blob import BlobRef, Stored
from runtime.model.values import Digest
from subgraph.types.scalars import BigInt


@strawberry.type(description="A value that is too large for an answer, and where it can be had.")
class ArtifactRef:
    """Where a large value is."""

    uri: str = strawberry.field(
        description="Where this server gives it, with the same token; ranges are given too."
    )
    size_bytes: BigInt = strawberry.field(description="Its length.")
    digest: Digest = strawberry.field(description="The digest of exactly these bytes.")
    media_type: str | None = strawberry.field(description="What it is.")

    @classmethod
    def of(cls, value: Stored, uri: str) -> Self | None:
        """From what a row says; None when the value stands there itself."""
        if not isinstance(value, BlobRef):
            return None
        return cls(
            uri=uri,
            size_bytes=BigInt(value.size),
            digest=Digest(value.digest),
            media_type="application/json",
        )


def step_path(execution_id: UUID, key: str, at: int | None = None, *, item: int = -1) -> str:
    """The route of a step's output or of an item's, or of what it was at an event."""
    then = "" if at is None else f"?at={at}"
    one = f"?item={item}" if item >= 0 else then
    return f"/api/executions/{execution_id}/steps/{quote(key, safe='')}/output{one}"


def output_path(execution_id: UUID) -> str:
    """The route of an execution's output."""
    return f"/api/executions/{execution_id}/output"


def input_path(execution_id: UUID, at: int | None = None) -> str:
    """The route of an execution's input, or of what it was at an event."""
    then = "" if at is None else f"?at={at}"
    return f"/api/executions/{execution_id}/input{then}"
