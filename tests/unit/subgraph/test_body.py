"""Request bodies whose headers are not what servers let through, and numbers that JSON readers change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from runtime.model.errors import PayloadTooLarge
from subgraph.http.body import exact_json, read_body


@pytest.mark.parametrize("announced", ["²", "-1", "x", ""])
async def test_a_length_that_is_no_number_is_not_believed(announced: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"abc", "more_body": False}

    head = [(b"content-length", announced.encode("latin-1"))]
    request = Request({"type": "http", "method": "POST", "headers": head}, receive)

    assert await read_body(request, 3) == b"abc"
    with pytest.raises(PayloadTooLarge):
        await read_body(Request(request.scope, receive), 2)


@pytest.mark.parametrize(
    "number",
    [10**18, 10**19, 2**63 - 1, 2**64, -(2**63) - 1, 10**300, 12_345_678_901_234_567_890_123],
)
@pytest.mark.parametrize("form", ["%d", '{"a": [1, %d]}', '{"a": "1", "b": %d, "c": "%d"}'])
def test_whole_numbers_stay_what_they_are(number: int, form: str) -> None:
    text = form.replace("%d", str(number))

    assert str(number) in repr(exact_json(text.encode()))


def test_long_numbers_are_looked_for_in_no_more_time_than_the_text_is_read_in() -> None:
    """Runs of eighteen digits are the worst: each digit may be the first of nineteen."""
    text = b"[" + b",".join([b"9" * 18] * 50_000) + b"]"

    assert _seconds(exact_json, text) < 5 * _seconds(orjson.loads, text)


def _seconds(read: Callable[[bytes], Any], text: bytes) -> float:
    """Of the processor, the least of some."""
    found = []
    for _ in range(5):
        began = time.process_time()
        read(text)
        found.append(time.process_time() - began)
    return min(found)
