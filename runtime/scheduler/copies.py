"""Copies: a database that does not hold the catalog gets what its work needs of it, so that it can go on alone."""

from __future__ import annotations

from runtime.store.catalog_copy import CatalogCopies


class Copies:
    """Brings new versions, retention settings and holds from the catalog."""

    name = "copies"
    every_seconds = 5.0

    def __init__(self, copies: CatalogCopies) -> None:
        self._copies = copies

    async def run(self) -> int:
        """How many rows changed."""
        return await self._copies.refresh()
