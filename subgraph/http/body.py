"""Request bodies: read up to a limit and no further, and JSON that must be what it says."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request

from runtime.model.errors import BadInput, PayloadTooLarge


async def read_body(request: Request, limit: int) -> bytes:
    """The body; raises PayloadTooLarge before more than the limit was taken in."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that must be one JSON object; raises BadInput when it is something else."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The body is not JSON: {error}.", reason="MALFORMED_JSON") from None
    if not isinstance(found, dict):
        raise BadInput(
            "The body must be one JSON object; batches are not taken.", reason="MALFORMED_BODY"
        )
    return found


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request is larger than {limit} bytes.", reason="REQUEST_TOO_LARGE")
