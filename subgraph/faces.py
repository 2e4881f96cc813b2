"""Record class to GraphQL type, for types that point at each other.

Type files import forward edges only (Execution imports Workflow). A back edge (Workflow.executions) can't import, so
it asks here; each type registers itself when its module is read, which the schema package does for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from runtime.model.page import Page

T = TypeVar("T")

_FACES: Final[dict[type, Any]] = {}
_CONNECTIONS: Final[dict[type, Any]] = {}


def face(record: type) -> Callable[[type[T]], type[T]]:
    """Register a GraphQL type as the face of a record class."""

    def register(cls: type[T]) -> type[T]:
        _FACES[record] = cls
        return cls

    return register


def connection_face(record: type) -> Callable[[type[T]], type[T]]:
    """Register a connection type as the face of a page of a record class."""

    def register(cls: type[T]) -> type[T]:
        _CONNECTIONS[record] = cls
        return cls

    return register


def show(record: object | None) -> Any:
    """The GraphQL object of a record, or None."""
    return None if record is None else _face_of(type(record)).of(record)


def _face_of(record: type) -> Any:
    """The face of a record class, or of the one that it is a view of."""
    found = _FACES.get(record)
    if found is None:
        found = _FACES[record] = next(_FACES[base] for base in record.__mro__ if base in _FACES)
    return found


def show_page(record: type, page: Page[Any], **more: object) -> Any:
    """The connection of a page of records."""
    return _CONNECTIONS[record].of(page, **more)
