"""The scalars of the graph: how a value of the model is written, and how a written one is read.

Fields are annotated with the model's own classes (`Duration`, `SemVer`, `Digest`, `datetime`), so records carry their
values into the graph unchanged; this map tells Strawberry what they look like outside.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from runtime.model.values import Digest, Duration, SemVer

BigInt = NewType("BigInt", int)
"""A counter that may pass 32 bits."""

_INT64: Final = 2**63


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset, e.g. 2026-01-31T12:00:00Z")
    return at.astimezone(UTC)


def _write_instant(at: datetime) -> str:
    if at.tzinfo is UTC:  # As the database gives them, by the thousand.
        return at.isoformat(timespec="microseconds")[:-6] + "Z"
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _big(text: str) -> int:
    number = int(text)
    if not -_INT64 <= number < _INT64:
        raise ValueError("the number does not fit 64 bits")
    return number


def _reader(name: str, parse: Callable[[str], object], form: str, *, numbers: bool = False) -> Any:
    """A parser whose refusal says the form in a sentence of ours; it never quotes the value, which may be a secret."""

    def read(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and numbers:
            value = str(value)
        if not isinstance(value, str):
            raise GraphQLError(f"{name} is written as a string.")
        try:
            return parse(value)
        # An overflow: the last day of year 9999 west of Greenwich is no instant in UTC.
        except (ValueError, ArithmeticError):
            raise GraphQLError(f"Not a {name}: write {form}.") from None

    return read


SCALARS: Final[dict[object, ScalarDefinition]] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339 instant, always with an offset.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_write_instant,
        parse_value=_reader(
            "DateTime", _instant, "an instant with its offset, e.g. 2026-01-31T12:00:00Z"
        ),
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
    Duration: strawberry.scalar(
        name="Duration",
        description="A length of time as an ISO 8601 duration, e.g. PT1M30S; `90s` and `1m30s` are read too.",
        serialize=str,
        parse_value=_reader("Duration", Duration.parse, "30s, 5m, 2h30m or PT5M"),
    ),
    SemVer: strawberry.scalar(
        name="SemVer",
        description="Semantic version, e.g. 1.4.0. An integer N reads as N.0.0.",
        specified_by_url="https://semver.org/spec/v2.0.0.html",
        serialize=str,
        parse_value=_reader("SemVer", SemVer.parse, "major.minor.patch, e.g. 1.4.0", numbers=True),
    ),
    Digest: strawberry.scalar(
        name="Digest",
        description="Lower-case hex of a SHA-256, prefixed `sha256:`.",
        serialize=str,
        parse_value=_reader("Digest", Digest, "`sha256:` and 64 lower-case hex digits"),
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="Decimal number as a string, e.g. money.",
        serialize=str,
        parse_value=_reader("Decimal", Decimal, "a decimal number, e.g. 12.50"),
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="64-bit counter as a decimal string.",
        serialize=str,
        parse_value=_reader("BigInt", _big, "an integer of at most 64 bits", numbers=True),
    ),
}
