"""What the filters of several lists share: labels, ranges of time, directions."""

from datetime import datetime
from enum import StrEnum

import strawberry


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
    """Labels as filters hold them."""
    return tuple((label.key, label.value) for label in labels or ())
