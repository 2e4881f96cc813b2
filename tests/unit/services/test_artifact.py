"""What the inputs of one request's steps may be derived from is bounded for all of them together."""

from __future__ import annotations

import pytest

from runtime.model.errors import PayloadTooLarge
from runtime.services.artifact import Allowance


def test_an_allowance_is_used_up_by_all_who_take_from_it() -> None:
    allowance = Allowance()
    half = allowance.left // 2
    allowance.take(half)
    allowance.take(half)

    with pytest.raises(PayloadTooLarge, match="fewer steps at once") as refused:
        allowance.take(1)

    assert refused.value.reason == "STEP_INPUTS"
