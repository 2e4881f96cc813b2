"""How a field is declared once, for the plan and for the ordinary executor alike.

`record_field` reads from the record behind an object, so that the object need not be filled before anybody asks;
`later` says in a plain resolver what is loaded and what becomes of it, so that a whole level is loaded at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar, cast

from strawberry.types.field import StrawberryField

R = TypeVar("R")
T = TypeVar("T")

BEHIND: Final = "record"


class RecordField(StrawberryField):
    """A field without a place in its object: its value is read from the record behind it, when asked for.

    For everybody but a plan it is a property of the object.
    """

    read: str | Callable[[Any], Any] | None = None
    behind: str = BEHIND

    def reading(self, read: str | Callable[[Any], Any] | None, behind: str) -> RecordField:
        """Say where the value comes from: an attribute of the record, or what a function makes of it."""
        self.read, self.behind = read, behind
        self.init = self.repr = self.compare = False
        # A dataclass leaves the default of such a field in its class.
        self.default = property(lambda face: self.getter(getattr(face, self.behind)))
        return self

    def __copy__(self) -> RecordField:
        return super().__copy__().reading(self.read, self.behind)

    @cached_property
    def getter(self) -> Callable[[Any], Any]:
        """From the record to the value."""
        read = self.read or self.python_name
        return attrgetter(read) if isinstance(read, str) else read


def record_field(
    read: str | Callable[[Any], Any] | None = None,
    *,
    description: str,
    name: str | None = None,
    directives: Sequence[object] = (),
    behind: str = BEHIND,
) -> Any:
    """A field that shows an attribute of the record (its own name, or another), or what a function makes of it."""
    field = RecordField(graphql_name=name, description=description, directives=tuple(directives))
    return field.reading(read, behind)


class Later(Generic[R, T]):
    """Something that is being loaded, and what is to be made of it."""

    __slots__ = ("found", "then")

    def __init__(self, found: Awaitable[R], then: Callable[[R], T]) -> None:
        self.found = found
        self.then = then

    def __await__(self) -> Generator[Any, Any, T]:
        found = yield from self.found.__await__()
        return self.then(found)

    def close(self) -> None:
        """Let go of it: nobody will await it."""
        close = getattr(self.found, "close", None)
        if close is not None:
            close()


def later(found: Awaitable[R], then: Callable[[R], T]) -> T:
    """For a resolver that is no coroutine: what it gives once `found` is there.

    To the type checker it is that already, as it is to whoever reads the field's type. A resolver that says
    `return later(loader.load(key), Face.of)` costs no task of its own; one that awaits does.
    """
    if isinstance(found, Later):
        inner = found.then
        return cast("T", Later(found.found, lambda value: then(inner(value))))
    return cast("T", Later(found, then))
