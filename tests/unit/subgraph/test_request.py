"""Headers that are read once say what Starlette's say."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from subgraph.http.request import GraphQLRequest

RAW = [
    (b"accept", b"text/html"),
    (b"authorization", b"Bearer a"),
    (b"accept", b"application/json"),
    (b"x-purpose", b"caf\xe9"),
]


@pytest.mark.parametrize("name", ["accept", "authorization", "x-purpose", "content-type"])
def test_a_header_is_what_it_is_for_everybody_else(name: str) -> None:
    scope = {"type": "http", "method": "GET", "headers": RAW}

    headers, others = GraphQLRequest(scope).headers, Request(scope).headers

    assert headers.get(name, "none") == others.get(name, "none")
    assert (name in headers) == (name in others)
