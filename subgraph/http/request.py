"""Requests as GraphQL over HTTP meets them: their headers are looked up a dozen times in each."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope


class GraphQLRequest(Request):
    """Starlette's, with method and headers read once; of two headers of one name the first counts, as there."""

    method: Any = ""
    headers: Any = None

    def __init__(self, scope: Scope, receive: Receive | None = None) -> None:
        super().__init__(scope, *(() if receive is None else (receive,)))
        self.method = scope["method"]
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(scope["headers"])
        }
