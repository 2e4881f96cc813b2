"""Cursors of keyset pages: opaque to clients, and refused when they were changed or belong elsewhere.

A cursor holds the sort key and the id of a row, so a page costs the same at any depth and rows that
come or go in between shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, overload

import orjson

from runtime.model.errors import BadInput
from runtime.model.page import Page, PageRequest

T = TypeVar("T")

_CHECK_BYTES: Final = 6
MOST: Final = 1_000


def encode(listing: str, *values: object) -> str:
    """A cursor of a listing (its name and its order) at these values."""
    payload = orjson.dumps(values)
    return base64.urlsafe_b64encode(_check(listing, payload) + payload).decode().rstrip("=")


def decode(listing: str, text: str, width: int) -> list[Any]:
    """The values in a cursor; raises BadInput for any other text."""
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        payload = raw[_CHECK_BYTES:]
        values = orjson.loads(payload)
    except (ValueError, binascii.Error):
        raise refused() from None
    if raw[:_CHECK_BYTES] != _check(listing, payload) or not isinstance(values, list):
        raise refused()
    if len(values) != width:
        raise refused()
    return values


class Cursors(Sequence[str]):
    """The cursors of rows, each written when it is looked at: of most pages only the first and the last are."""

    __slots__ = ("_rows", "_write")

    def __init__(self, rows: Sequence[Any], write: Callable[[Any], str]) -> None:
        self._rows = rows
        self._write = write

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Cursors: ...
    def __getitem__(self, place: int | slice) -> str | Cursors:
        if isinstance(place, slice):
            return Cursors(self._rows[place], self._write)
        return self._write(self._rows[place])


def check_size(request: PageRequest, most: int = MOST) -> int:
    """The size of a page, if it is one that we serve."""
    if not 0 <= request.size <= most:
        raise BadInput(f"A page holds 0 to {most} items, not {request.size}.", reason="PAGE_SIZE")
    return request.size


def page_of(request: PageRequest, items: Sequence[T], cursors: Sequence[str]) -> Page[T]:
    """A page from one row more than was asked for, in the order in which they were read."""
    more = len(items) > request.size
    marks = cursors if isinstance(cursors, Cursors) else tuple(cursors)
    shown, marks = tuple(items[: request.size]), marks[: request.size]
    if request.backward:
        return Page(shown[::-1], marks[::-1], request.cursor is not None, more)
    return Page(shown, marks, more, request.cursor is not None)


def _check(listing: str, payload: bytes) -> bytes:
    return hashlib.blake2b(listing.encode() + b"\0" + payload, digest_size=_CHECK_BYTES).digest()


def refused() -> BadInput:
    """What is said of a text that is no cursor of its list."""
    return BadInput(
        "This is not a cursor of this list; pass one that the list has returned.",
        reason="BAD_CURSOR",
    )
