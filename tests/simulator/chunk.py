"""Items of a map that are lent, as the database has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Chunk:
    """A row of `map_chunks`."""

    generation: int
    step: int
    items: list[int]
    attempts: list[int]
    created_at: float
    helper: tuple[int, int] | None = None
    stop: str | None = None
    outcomes: str | None = None
