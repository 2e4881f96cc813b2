"""What the filters of several lists share: labels, ranges of time, directions."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

import strawberry

from resolvers.words import storable
from runtime.model.errors import BadInput

T = TypeVar("T")

MOST_LISTED: Final = 100
MOST_LABELS: Final = 16
MOST_CHARACTERS: Final = 512


@strawberry.enum(description="Which end of a list comes first.")
class SortDirection(StrEnum):
    """Which end of a list comes first."""

    ASC = "asc"
    DESC = "desc"


@strawberry.input(description="A range of instants; an open end does not restrict.")
class TimeRange:
    """A range of instants."""

    from_: datetime | None = strawberry.field(
        name="from", default=None, description="The first instant in the range."
    )
    to: datetime | None = strawberry.field(
        default=None, description="The first instant after the range."
    )


@strawberry.input(description="One label.")
class Label:
    """One label."""

    key: str = strawberry.field(description="The label's name.")
    value: str = strawberry.field(description="The label's value.")


def label_dict(labels: list[Label] | None) -> dict[str, str] | None:
    """Labels as records hold them; None when none were given."""
    return None if labels is None else {label.key: label.value for label in labels}


def label_pairs(labels: list[Label] | None) -> tuple[tuple[str, str], ...]:
    """Labels as filters hold them; each is a look-up of its own, so they are few."""
    given = listed("labels", labels, most=MOST_LABELS)
    for label in given:
        word("labels", label.key)
        word("labels", label.value)
    return tuple((label.key, label.value) for label in given)


def listed(name: str, given: Sequence[T] | None, *, most: int = MOST_LISTED) -> tuple[T, ...]:
    """The alternatives of one field of a filter; raises BadInput when they are too many."""
    if given and len(given) > most:
        raise BadInput(f"`{name}` of a filter holds at most {most}.", reason="FILTER_SIZE")
    return tuple(given or ())


def words(name: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """The same for texts, each of which could be stored somewhere."""
    found = listed(name, given)
    for each in found:
        word(name, each)
    return found


def word(name: str, given: str | None) -> str | None:
    """One text of a filter; raises BadInput when nothing could ever match it."""
    if given is None:
        return None
    if len(given) > MOST_CHARACTERS:
        raise BadInput(
            f"`{name}` of a filter is at most {MOST_CHARACTERS} characters long.",
            reason="FILTER_SIZE",
        )
    return storable(name, given)
