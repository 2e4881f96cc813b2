"""Requests as GraphQL over HTTP meets them: its headers are looked up a dozen times in each."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request


class GraphQLRequest(Request):
    """Starlette's, with its headers read once; of those that stand there twice the first one counts, as there."""

    @property
    def headers(self) -> Any:
        """By their names in lower case."""
        if not hasattr(self, "_headers"):
            raw = reversed(self.scope["headers"])
            self._headers: Any = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in raw
            }
        return self._headers
