"""Request bodies whose headers are not what servers let through."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from runtime.model.errors import PayloadTooLarge
from subgraph.http.body import read_body


@pytest.mark.parametrize("announced", ["²", "-1", "x", ""])
async def test_a_length_that_is_no_number_is_not_believed(announced: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"abc", "more_body": False}

    head = [(b"content-length", announced.encode("latin-1"))]
    request = Request({"type": "http", "method": "POST", "headers": head}, receive)

    assert await read_body(request, 3) == b"abc"
    with pytest.raises(PayloadTooLarge):
        await read_body(Request(request.scope, receive), 2)
