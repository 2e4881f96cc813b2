"""Scalars: what is written can be read, and what can't be read says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from graphql import GraphQLError

from runtime.model.values import Digest, Duration, SemVer
from subgraph.types.scalars import SCALARS, BigInt

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (datetime, "2026-01-31T12:00:00.000000Z", NOON),
        (Duration, "PT1M30S", Duration(90_000)),
        (SemVer, "1.4.0", SemVer(1, 4, 0)),
        (Digest, DIGEST, Digest(DIGEST)),
        (BigInt, "9007199254740993", 9007199254740993),
    ],
)
def test_what_is_written_can_be_read(kind: object, text: str, value: object) -> None:
    scalar = SCALARS[kind]
    assert scalar.serialize is not None
    assert scalar.parse_value is not None

    assert scalar.serialize(value) == text
    assert scalar.parse_value(text) == value


@pytest.mark.parametrize(
    ("kind", "written", "word"),
    [
        (datetime, "2026-01-31T12:00:00", "offset"),
        (datetime, "yesterday", "Not a DateTime"),
        (datetime, 5, "as a string"),
        (Duration, "soon", "Not a Duration"),
        (SemVer, "1.x", "Not a SemVer"),
        (SemVer, True, "as a string"),
        (Digest, "sha256:AB", "64 lower-case"),
        (BigInt, "9223372036854775808", "64 bits"),
        (BigInt, "1.5", "Not a BigInt"),
    ],
)
def test_what_cannot_be_read_says_why(kind: object, written: object, word: str) -> None:
    scalar = SCALARS[kind]
    assert scalar.parse_value is not None

    with pytest.raises(GraphQLError, match=word):
        scalar.parse_value(written)


def test_instants_of_other_offsets_become_utc() -> None:
    scalar = SCALARS[datetime]
    assert scalar.parse_value is not None
    assert scalar.serialize is not None

    read = scalar.parse_value("2026-01-31T13:00:00+01:00")

    assert read == NOON
    assert scalar.serialize(NOON.astimezone(timezone(timedelta(hours=1)))).endswith(
        "12:00:00.000000Z"
    )


def test_an_integer_reads_as_a_major_version() -> None:
    scalar = SCALARS[SemVer]
    assert scalar.parse_value is not None

    assert scalar.parse_value(3) == SemVer(3, 0, 0)
