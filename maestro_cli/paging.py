"""Connections of the graph page by page, until a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_PAGE: Final = 100


def collect(fetch: Callable[[int, str | None], dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The nodes of a connection, in order, at most `limit` of them."""
    nodes: list[dict[str, Any]] = []
    after: str | None = None
    while len(nodes) < limit:
        page = fetch(min(_PAGE, limit - len(nodes)), after)
        nodes += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    return nodes
