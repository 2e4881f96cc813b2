"""Duration, SemVer and Digest: what they read, what they refuse, how they order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.model.values import Digest, Duration, Money, SemVer


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("2h30m", 9_000_000),
        ("1.5h", 5_400_000),
        ("2d", 172_800_000),
        ("PT1M30S", 90_000),
        ("P1DT2H", 93_600_000),
        ("PT0.25S", 250),
        ("P2W", 1_209_600_000),
        ("0ms", 0),
        ("0.4ms", 1),
        ("PT0.0001S", 1),
        ("1.4ms", 1),
    ],
)
def test_durations_are_read_in_both_spellings(text, milliseconds):
    assert Duration.parse(text).milliseconds == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 parsecs",
        "m5",
        "5m3",
        "P",
        "PT",
        "P1DT",
        "-5s",
        "9" * 200 + "s",
        "99999w",
        "٣s",
        "PT٣S",
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError):
        Duration.parse(text)


@given(st.integers(0, 10 * 365 * 86_400_000))
def test_a_duration_survives_its_own_text(milliseconds):
    assert Duration.parse(str(Duration(milliseconds))).milliseconds == milliseconds


def test_versions_order_as_semantic_versioning_says():
    ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.0",
        "1.10.0",
    ]

    assert [str(v) for v in sorted(map(SemVer.parse, reversed(ordered)))] == ordered


@pytest.mark.parametrize(
    "text", ["1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "", "latest", "9" * 300]
)
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ValueError):
        SemVer.parse(text)


@pytest.mark.parametrize("given_", [3, "3"])
def test_an_integer_reads_as_a_major_version(given_):
    assert str(SemVer.parse(given_)) == "3.0.0"


def test_a_digest_names_its_algorithm_and_refuses_others():
    assert Digest.of(b"").text.startswith("sha256:e3b0c442")
    with pytest.raises(ValueError):
        Digest("md5:abc")


@pytest.mark.parametrize(
    ("text", "written"),
    [("12.5 EUR", "12.50 EUR"), ("0USD", "0.00 USD"), ("1.000100 JPY", "1.0001 JPY"), (" 3 EUR ", "3.00 EUR")],
)  # fmt: skip
def test_money_has_one_way_to_be_written(text, written):
    assert str(Money.parse(text)) == written
    assert Money.parse(written) == Money.parse(text)


@pytest.mark.parametrize(
    "text", ["", "5", "EUR", "-1 EUR", "1.1234567 EUR", "1 eur", "1 EURO", "1,5 EUR", "9" * 16 + " EUR"]
)  # fmt: skip
def test_what_is_no_money_is_refused(text):
    with pytest.raises(ValueError):
        Money.parse(text)


def test_money_adds_and_compares_within_one_currency():
    one, two = Money.parse("1.10 EUR"), Money.parse("2.20 EUR")

    assert one + two == Money.parse("3.30 EUR")
    assert one < two
    assert two >= one
    with pytest.raises(ValueError, match="different currencies"):
        one + Money.parse("1 USD")
    with pytest.raises(ValueError):
        Money(one.amount, "euro")


@pytest.mark.parametrize(
    "value", [Duration(1), SemVer(1, 2, 3), Money.parse("1 EUR"), Digest.of(b"")], ids=lambda one: type(one).__name__
)  # fmt: skip
def test_a_value_never_changes(value):
    for one in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, one.name, None)
    assert hash(value) == hash(type(value)(*(getattr(value, one.name) for one in fields(value))))
