"""What the inputs of one answer's steps may be derived from is bounded for all of them together."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.model.blob import SHOWN_BYTES
from runtime.model.errors import PayloadTooLarge
from runtime.services.derived_input import Allowance, fitting


def test_an_allowance_is_used_up_by_all_who_take_from_it() -> None:
    allowance = Allowance()
    half = allowance.left // 2
    allowance.take(half)
    allowance.take(half)

    with pytest.raises(PayloadTooLarge, match="fewer steps at once") as refused:
        allowance.take(1)

    assert refused.value.reason == "STEP_INPUTS"


def test_what_is_refused_takes_nothing() -> None:
    allowance = Allowance(10)

    with pytest.raises(PayloadTooLarge):
        allowance.take(11)
    allowance.take(10)

    assert allowance.left == 0


def test_what_is_shown_has_a_mebibyte_at_most_however_deep_it_is() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]

    assert fitting("x" * (SHOWN_BYTES - 2)) is not None
    assert fitting("\u00fc" * (SHOWN_BYTES // 2)) is None
    assert fitting(deep) is deep
    assert fitting([deep, "x" * SHOWN_BYTES]) is None
