"""How a field is declared once, for the plan and for the ordinary executor alike.

`record_field` reads from the record behind an object, so that the object need not be filled before anybody asks;
`column` reads a field of a whole list, so that there need not be objects at all; `later` says in a plain resolver
what is loaded and what becomes of it, so that a whole level is loaded at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from strawberry.types.field import StrawberryField

R = TypeVar("R")
T = TypeVar("T")

BEHIND: Final = "record"


class Column(NamedTuple):
    """How a plan reads a field from columns: the ones that it needs, and the field's value for each object.

    Values are as they stand in the answer: nothing is checked or written any more.
    """

    read: Callable[[Any], Iterable[Any]]
    names: frozenset[str]


def column(read: Callable[[Any], Iterable[Any]], *names: str) -> Column:
    """Read from the table behind `Columns`, which has to hold the columns of these names."""
    return Column(read, frozenset(names))


class Columns:
    """A list in columns, for a resolver that `columns_of` told that a plan reads nothing else of its objects."""

    __slots__ = ("table",)

    def __init__(self, table: Any) -> None:
        self.table = table


def columns_of(info: Any) -> frozenset[str] | None:
    """The columns that are read of a list's objects; None when objects are asked for, as the library always does."""
    return getattr(info._raw_info, "columns", None)  # noqa: SLF001 - Strawberry has no door to it.


def nodes_of(info: Any) -> Sequence[Any]:
    """The nodes of the field that is asked for."""
    nodes: Sequence[Any] = info._raw_info.field_nodes  # noqa: SLF001 - Strawberry has no door to it.
    return nodes


class RecordField(StrawberryField):
    """A field without a place in its object: its value is read from the record behind it, when asked for.

    For everybody but a plan it is a property of the object.
    """

    read: str | Callable[[Any], Any] | None = None
    behind: str = BEHIND
    column: Column | None = None

    def reading(
        self, read: str | Callable[[Any], Any] | None, behind: str, column: Column | None
    ) -> RecordField:
        """Say where the value comes from: an attribute of the record, or what a function makes of it."""
        self.read, self.behind, self.column = read, behind, column
        self.init = self.repr = self.compare = False
        # A dataclass leaves the default of such a field in its class.
        self.default = property(lambda face: self.getter(getattr(face, self.behind)))
        return self

    def __copy__(self) -> RecordField:
        return super().__copy__().reading(self.read, self.behind, self.column)

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
    column: Column | None = None,
) -> Any:
    """A field that shows an attribute of the record (its own name, or another), or what a function makes of it.

    With a `column` a plan can read it of a whole list, where the list's resolver has columns.
    """
    field = RecordField(graphql_name=name, description=description, directives=tuple(directives))
    return field.reading(read, behind, column)


F = TypeVar("F", bound=Callable[..., Any])


def as_declared(from_input: F) -> F:
    """For an input type's `from_input`: it gives what the library would without it, so a plan need not call it."""
    from_input.is_as_declared = True  # type: ignore[attr-defined]
    return from_input


def is_as_declared(definition: Any) -> bool:
    """Whether an input type is what its fields say, also where it builds itself."""
    own = definition.from_input
    return own is None or getattr(own, "is_as_declared", False)


def batched(load: Callable[..., Awaitable[list[Any]] | None]) -> Callable[[F], F]:
    """For a plain resolver: how a plan asks it for all objects of a level at once.

    `load` takes a list of the objects and what the resolver takes, and gives an awaitable of their values, in order; or
    None when it would rather have the resolver called for each.
    """

    def mark(resolver: F) -> F:
        resolver.batch = load  # type: ignore[attr-defined]
        return resolver

    return mark


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


class Whole:
    """The values of a whole level, awaited as one, in the place of its first."""

    __slots__ = ("found",)

    def __init__(self, found: Awaitable[list[Any]]) -> None:
        self.found = found

    def __await__(self) -> Generator[Any, Any, list[Any]]:
        return self.found.__await__()

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
