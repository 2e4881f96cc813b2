"""Keyset pages: what was asked for, and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `size` items after (or, with `backward`, before) an opaque cursor."""

    size: int = 20
    cursor: str | None = None
    backward: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order with their cursors, and whether there are more on either side.

    `silent` names databases that did not answer: the page is partial, what lies there is missing.
    """

    items: tuple[T, ...]
    cursors: Sequence[str]
    has_next: bool = False
    has_previous: bool = False
    silent: tuple[str, ...] = ()
