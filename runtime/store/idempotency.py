"""Idempotency keys of mutations that are not the hot path's: the same key and body, the first answer.

A key belongs to a tenant and an operation. It is inserted in the transaction of the change itself, so
key and change exist together or not at all; a second request waits for the first one's commit.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final
from uuid import UUID

import orjson
import rfc8785

from runtime.model.errors import BadInput, IdempotencyConflict
from runtime.store.statements import statements

_SQL: Final = statements("idempotency")
_LONGEST: Final = 255


def body_digest(body: Any) -> bytes:
    """SHA-256 over the canonical JSON (RFC 8785) of a request."""
    try:
        canonical = rfc8785.dumps(body)
    except rfc8785.CanonicalizationError:
        # Integers beyond 2^53 have no canonical form; sorted keys are as good within one release.
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


def check_key(key: str | None) -> str | None:
    """A key that can be stored, or none."""
    if key is not None and not (0 < len(key) <= _LONGEST and key.isprintable()):
        raise BadInput(
            f"An idempotency key has 1 to {_LONGEST} printable characters.", reason="BAD_KEY"
        )
    return key


async def claim_key(
    connection: Any,
    tenant: UUID,
    operation: str,
    key: str,
    digest: bytes,
    result: UUID,
    *,
    shard: int = 0,
) -> UUID | None:
    """Take a key for a result, inside the caller's transaction; it lies in the result's shard.

    Returns None when the key is new, else the first result; raises IdempotencyConflict when the
    first request said something else.
    """
    if await connection.fetchval(_SQL["insert"], tenant, operation, key, digest, result, shard):
        return None
    row = await connection.fetchrow(_SQL["find"], tenant, operation, key, shard)
    if row is None or bytes(row["body_digest"]) != digest:
        raise IdempotencyConflict
    first: UUID = row["result_id"]
    return first


async def find_key(
    connection: Any, tenant: UUID, operation: str, key: str
) -> tuple[UUID, bytes] | None:
    """What a key stands for, and the digest of the request that took it."""
    row = await connection.fetchrow(_SQL["find"], tenant, operation, key, None)
    return (row["result_id"], bytes(row["body_digest"])) if row else None
