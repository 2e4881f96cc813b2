"""Rates: how they are written."""

from __future__ import annotations

import pytest

from runtime.model.rate import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 100)),
        (" 3000 / m ", Rate(50, 3000)),
        ("3600/h burst 10", Rate(1, 10)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "100", "0/s", "100/d", "-1/s", "1.5/s", "100/s burst 0", "1/s x"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate.parse(text)
