"""Relay pages: what a list's arguments ask for, and what its `pageInfo` says. Every list has a most."""

from typing import Annotated, Any, Final, Self, TypeAlias

import strawberry
from strawberry.types.nodes import convert_arguments

from resolvers.context import Info
from runtime.model.errors import BadInput
from runtime.model.page import Page, PageRequest

MOST: Final = 100
MOST_ROWS: Final = 1000

FIRST: TypeAlias = Annotated[
    int | None, strawberry.argument(description="At most this many, 1 to 100.")
]
FIRST_ROWS: TypeAlias = Annotated[
    int | None, strawberry.argument(description="At most this many, 1 to 1000.")
]
AFTER: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what follows this cursor.")
]
LAST: TypeAlias = Annotated[
    int | None, strawberry.argument(description="At most this many from the end, 1 to 100.")
]
BEFORE: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what precedes this cursor.")
]


@strawberry.federation.type(shareable=True, description="Where a page lies in its list.")
class PageInfo:
    """Where a page lies in its list."""

    has_next_page: bool = strawberry.field(description="Whether more follow after `endCursor`.")
    has_previous_page: bool = strawberry.field(
        description="Whether there are more before `startCursor`."
    )
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first edge; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last edge; null on an empty page."
    )

    @classmethod
    def of(cls, page: Page[Any]) -> Self:
        """The position of a page."""
        return cls(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )


def size_of(argument: str, size: int | None, *, default: int = 20, most: int = MOST) -> int:
    """A list's size as asked for; raises BadInput when it is not between 1 and the list's most."""
    size = default if size is None else size
    if not 1 <= size <= most:
        raise BadInput(f"`{argument}` lies between 1 and {most}.", reason="PAGE_SIZE")
    return size


def one_size(info: Info) -> None:
    """Raise BadInput when a list was asked for both its first and its last items.

    What was asked stands in the document: `first` has a default, so the argument alone does not tell.
    """
    raw = info._raw_info  # noqa: SLF001 - Strawberry has no door to a field's own arguments.
    given = convert_arguments(raw, raw.field_nodes[0].arguments)
    if given.get("first") is not None and given.get("last") is not None:
        raise BadInput("Ask for `first` or for `last`, not for both.", reason="PAGE_ARGUMENTS")


def page_request(
    first: int | None, after: str | None, last: int | None = None, before: str | None = None
) -> PageRequest:
    """What the four arguments of a list ask for; raises BadInput when they contradict each other."""
    if last is None:
        if before is not None:
            raise BadInput("`before` goes with `last`.", reason="PAGE_ARGUMENTS")
        return PageRequest(size_of("first", first), after)
    if after is not None:
        raise BadInput("`after` goes with `first`, `last` with `before`.", reason="PAGE_ARGUMENTS")
    return PageRequest(size_of("last", last), before, backward=True)


def position(cursor: str | None) -> int:
    """The place that a cursor of events or log lines names: 0 is before the first."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):  # noqa: PLR2004 - a position is an int4
        raise BadInput(
            "`after` is no cursor of this list; take one from an edge or an event.", reason="CURSOR"
        )
    return int(cursor)
